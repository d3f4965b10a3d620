"""One job after another in a process of its own, so that a job that takes its process down costs nothing but itself."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fissile.errors import InputError
from fissile.machine import usable_cores

CONTEXT = multiprocessing.get_context("spawn")
"""A fresh interpreter: nothing of the parent's state, and no lock that a thread of it held."""

LOOK_SECONDS = 1.0
"""A process that died is found within so many seconds."""

GRACE_SECONDS = 5.0
"""Between the request to end and the end."""


@dataclass(frozen=True)
class Job:
    """A call that can be sent to another process.

    Attributes:
        call: a function of a module; what it returns can be sent, too.
        arguments: of the call.
        log: file that everything it prints is appended to.
    """

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    log: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        result: what the call returned.
        error: one message; "" where it did not fail.
        traceback: where it failed; "" where the process died.
    """

    result: Any = None
    error: str = ""
    traceback: str = ""


def shares(jobs: int) -> list[tuple[int, ...]]:
    """The numbers of the cores that this process may use, dealt out to so many workers.

    All get equally many, so that a run gives the same figures whichever worker makes it; what is left over stays idle.

    Raises:
        InputError: there are fewer cores than jobs.
    """
    cores = usable_cores()
    if jobs > len(cores):
        raise InputError(f"--jobs {jobs}: this process may use {len(cores)} cores. Give at most --jobs {len(cores)}.")
    each = len(cores) // jobs
    return [tuple(cores[index * each : (index + 1) * each]) for index in range(jobs)]


class Worker:
    """A process that does jobs, one at a time; after one that died or failed comes a new one.

    Args:
        cores: numbers of those that it may use.
        prepare: called with the number of cores when the process starts, for example to limit threads.
    """

    def __init__(self, cores: tuple[int, ...], prepare: Callable[[int], None] | None = None) -> None:
        self._cores = cores
        self._prepare = prepare
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def begin(self, job: Job) -> None:
        """Start a job; the one before is done."""
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        with suppress(BrokenPipeError):  # it has just died: `poll` will tell
            self._pipe.send(job)

    def poll(self) -> Outcome | None:
        """What became of the job; None while it goes on."""
        assert self._pipe is not None
        assert self._process is not None
        alive = self._process.is_alive()  # asked first: what a process says before it ends is heard
        try:
            if self._pipe.poll():
                outcome: Outcome = self._pipe.recv()
                if outcome.error:
                    self.end()  # what the failed job left in memory goes with its process
                return outcome
            if alive:
                return None
        except (EOFError, OSError):
            pass
        self._process.join()
        reason = _death(self._process.exitcode)
        self.end()
        return Outcome(error=reason)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.join(GRACE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    @property
    def pipe(self) -> Connection:
        """It becomes readable when there is news."""
        assert self._pipe is not None
        return self._pipe

    def _start(self) -> None:
        self.end()
        self._pipe, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(other, self._cores, self._prepare))
        with _deaf_to_interrupts():
            self._process.start()
        other.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within it never hears of Ctrl-C, which reaches the whole group; this process does afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would let signals in again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for_news(workers: list[Worker]) -> None:
    """Return when one of the busy workers has news, and at least every `LOOK_SECONDS`."""
    wait([worker.pipe for worker in workers], LOOK_SECONDS)


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the process died (signal {-exitcode})"
    return f"the process died (exit code {exitcode})"


# --- in the process of the worker --------------------------------------------------------------------------------


def _serve(pipe: Connection, cores: tuple[int, ...], prepare: Callable[[int], None] | None) -> None:
    """Do jobs until the parent closes the pipe."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the whole group; the parent decides
    _end_with_parent()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    prepared = prepare is None
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        with _printing_to(job.log):
            outcome = _do(job, None if prepared or prepare is None else lambda: prepare(len(cores)))
        prepared = True
        pipe.send(outcome)


def _do(job: Job, prepare: Callable[[], None] | None) -> Outcome:
    try:
        if prepare is not None:
            prepare()
        return Outcome(result=job.call(*job.arguments))
    except Exception as error:
        traceback.print_exc()
        message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return Outcome(error=message.strip(), traceback=traceback.format_exc())


def _end_with_parent() -> None:
    """End this process at once when its parent ends, however it does: a run goes on from its last checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Everything that this process and the libraries in it print goes to a file, the trace of a crash as well."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    faulthandler.enable()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
