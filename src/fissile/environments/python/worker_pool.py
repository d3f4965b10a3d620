"""Worker processes: started when needed, shared by all episodes of the same tools, replaced when they die."""

from __future__ import annotations

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, LifoQueue, SimpleQueue
from threading import Lock, Thread
from typing import IO

from fissile.environments.python.call_limits import CallLimits
from fissile.environments.python.frames import Frame, read_frame, write_frame
from fissile.environments.python.origins import ToolOrigin
from fissile.errors import DataError, ErrorKind, InfrastructureError

START_SECONDS = 120.0
"""How long a worker may take to import the tools."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fissile.environments.python.worker import main; main()"
)
"""A fresh interpreter that finds what this one finds, and imports neither this one's script nor its torch."""


class LostCallError(Exception):
    """A call that its worker did not survive. `kind` is TIMEOUT or EXCEPTION; the message says what the tool did."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Worker:
    """One worker process, from outside.

    Raises:
        DataError: the tools cannot be imported there.
        InfrastructureError: the process cannot be started.
    """

    def __init__(self, source: ToolOrigin, limits: CallLimits) -> None:
        self._seconds = limits.seconds
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # sets are told in the same order by every worker
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._replies: SimpleQueue[Frame | None] = SimpleQueue()
        Thread(target=_listen, args=(self._process.stdout, self._replies), daemon=True).start()
        self._shake_hands(source, limits)

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def ask(self, request: Frame) -> Frame:
        """The reply to a request.

        Raises:
            LostCallError: there is none in time, or the process ended. The worker must be stopped.
        """
        try:
            write_frame(self._requests, request)
            reply = self._replies.get(timeout=self._seconds)
        except Empty:
            message = f"was stopped: it took longer than {self._seconds:g} s."
            raise LostCallError(ErrorKind.TIMEOUT, message) from None
        except OSError:
            reply = None
        if reply is None:
            raise LostCallError(ErrorKind.EXCEPTION, f"ended the process that ran it{self._last_words()}.")
        return reply

    def stop(self) -> None:
        """End the process and what it started; the listener closes its own pipe when that ends."""
        _kill(self._process)
        self._process.wait()
        with suppress(OSError):  # what was left to write has no reader
            self._requests.close()

    def _shake_hands(self, source: ToolOrigin, limits: CallLimits) -> None:
        try:
            write_frame(self._requests, Frame({}, (pickle.dumps((source, limits)),)))
            greeting = self._replies.get(timeout=START_SECONDS)
        except (Empty, OSError):
            greeting = None
        if greeting is None:
            self.stop()
            raise InfrastructureError("worker", "A worker process for the Python tools could not be started.")
        if "failed" in greeting.header:
            self.stop()
            raise DataError(greeting.header["failed"])

    def _last_words(self) -> str:
        """How the process ended, for a person."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return ""
        if code >= 0:
            return f" (exit code {code})"
        return f" (signal {signal.Signals(-code).name})" if -code in set(signal.Signals) else f" (signal {-code})"


def _listen(stream: IO[bytes], replies: SimpleQueue[Frame | None]) -> None:
    """Hand on the frames of a stream, and None at its end."""
    with stream, suppress(OSError, ValueError):  # cut or garbled: that ends it, too
        while (frame := read_frame(stream)) is not None:
            replies.put(frame)
    replies.put(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    with suppress(OSError):  # gone already
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: see start_new_session
        else:
            process.kill()


@dataclass(frozen=True, eq=False)
class WorkerPool:
    """At most `size` workers. Safe to use from many threads; who finds all of them busy waits.

    Attributes:
        source: where the workers find the tools.
        limits: of each call.
        size: the number of workers.
    """

    source: ToolOrigin
    limits: CallLimits
    size: int
    _places: LifoQueue[Worker | None] = field(default_factory=LifoQueue)  # the last used is the next: few are started

    def __post_init__(self) -> None:
        for _ in range(self.size):
            self._places.put(None)

    def ask(self, request: Frame) -> Frame:
        """The reply of a worker.

        Raises:
            LostCallError: the worker did not survive the request. There will be another.
            DataError: the tools cannot be imported in a worker.
            InfrastructureError: no worker can be started.
        """
        worker = self._places.get()
        try:
            if worker is None or not worker.alive:
                worker = self._started(worker)
            return worker.ask(request)
        except BaseException:  # an interrupt, too, leaves a reply behind that is no one's
            if worker is not None:
                worker.stop()
            worker = None
            raise
        finally:
            self._places.put(worker)

    def stop(self) -> None:
        """End the workers that are not busy; the next request starts another."""
        free: list[Worker | None] = []
        with suppress(Empty):
            while True:
                free.append(self._places.get_nowait())
        for worker in free:
            if worker is not None:
                worker.stop()
            self._places.put(None)

    def _started(self, dead: Worker | None) -> Worker:
        if dead is not None:
            dead.stop()
        return Worker(self.source, self.limits)


_POOLS: dict[tuple[ToolOrigin, CallLimits, int, int], WorkerPool] = {}
_LOCK = Lock()


def shared_pool(source: ToolOrigin, limits: CallLimits, size: int) -> WorkerPool:
    """The one pool of this process for these tools, limits and size. A forked process has its own."""
    key = (source, limits, size, os.getpid())
    with _LOCK:
        if key not in _POOLS:
            _POOLS[key] = WorkerPool(source, limits, size)
        return _POOLS[key]


@atexit.register
def stop_workers() -> None:
    """End the worker processes of all tools. It happens by itself at exit; worlds that go on start new ones."""
    with _LOCK:
        pools = [pool for (*_, process), pool in _POOLS.items() if process == os.getpid()]
    for pool in pools:
        pool.stop()
