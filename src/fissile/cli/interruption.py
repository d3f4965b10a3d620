"""Ctrl-C and SIGTERM: the first ends a command tidily and says what was kept, the second ends it at once."""

from __future__ import annotations

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

AT_ONCE = b"\nended at once; what was written whole before is kept\n"


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it, a signal that ends is an `Interrupted`, and a second one ends the process and its children."""
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

    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]  # as nohup and & ask for
    before = {number: signal.signal(number, interrupt) for number in SIGNALS if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
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


def leave(code: int) -> None:
    """End the process, waiting for no thread that still hangs in a request."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        os._exit(code)
    sys.exit(code)


def _end_at_once(number: int) -> None:
    import psutil  # noqa: PLC0415

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(OSError):
        os.write(2, AT_ONCE)
    os._exit(128 + number)
