"""Ctrl-C and SIGTERM: the first ends a command tidily and says what is kept, a second one ends it at once."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from fissile.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)

AT_ONCE = "ended at once; what was written whole before is kept"


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, the first signal is an `Interrupted`, which ends the process here: with what is kept and how to go on.

    The exit codes are 130 and 143. A second signal ends the process and its children without waiting for anything.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_second = False

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal is_second
        if is_second:
            _end_at_once(number)
        is_second = True
        raise Interrupted(number)

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup and & ask for that
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    except Interrupted as interruption:
        _say("interrupted:", interruption.kept or f"Nothing is left half-written. Start again with: {again()}")
        _leave(128 + interruption.number)
    finally:
        for number, handler in before.items() if not is_second else ():
            signal.signal(number, handler)


@contextmanager
def keeping(kept: Callable[[], str], resume: bool = False) -> Iterator[None]:
    """Within it, an interruption knows what is kept.

    Args:
        kept: says it, as a sentence; asked after the interruption.
        resume: the command takes --resume.
    """
    try:
        yield
    except Interrupted as interruption:
        with suppress(Exception):  # the interruption counts, not its wording
            interruption.kept = interruption.kept or f"{kept()} Go on with: {again(resume)}"
        raise


def again(resume: bool = False) -> str:
    """The command as it was given, with --resume where it takes that."""
    arguments = sys.argv[1:]
    return shlex.join(["fissile", *arguments, *(["--resume"] if resume and "--resume" not in arguments else [])])


def _say(title: str, message: str) -> None:
    """Write to stderr, whatever state it is in."""
    line = f"\n{title} {message}\n" if sys.stderr.isatty() else f"{title} {message}\n"
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.write(line)
        sys.stderr.flush()


def _leave(code: int) -> None:
    """End the process as at its exit, but wait for no thread that still hangs in a request.

    The interpreter is not taken down: it would let go of the signals first, and a second one would look like a crash.
    """
    with suppress(Exception):
        atexit._run_exitfuncs()
    os._exit(code)


def _end_at_once(number: int) -> None:
    import psutil  # noqa: PLC0415

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(OSError):
        os.write(2, f"{AT_ONCE}\n".encode())
    os._exit(128 + number)
