"""One job after another, each a process of the own command line: one that goes down costs nothing but itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fissile.errors import InputError
from fissile.journal import read_object
from fissile.machine import usable_cores

COMMAND = (sys.executable, "-c", "from fissile.cli import main; main()", "lab", "work")
"""What does a job: it is told the kind and the place for the reason of a failure, and the settings on stdin."""

GRACE_SECONDS = 5.0
"""Between the request to end and the end."""


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        kind: "run", "start" or "simulator"; see `fissile.lab.execution`.
        settings: JSON-ready, of that kind.
        log: file that everything it prints is appended to.
    """

    kind: str
    settings: Mapping[str, Any]
    log: Path

    @property
    def failure(self) -> Path:
        """Why it failed, with the traceback; it exists exactly when it did and said so."""
        return self.log.with_suffix(".failure.json")


@dataclass(frozen=True)
class JobEnd:
    """What became of a job.

    Attributes:
        error: one message; "" where it did not fail.
        traceback: where it failed; "" where the process died.
    """

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


class LabWorker:
    """Does jobs, one at a time.

    Args:
        cores: numbers of those that it may use; as many threads, unless the user has said how many by OMP_NUM_THREADS.
        command: what does a job.
    """

    def __init__(self, cores: tuple[int, ...], command: Sequence[str] = COMMAND) -> None:
        self._cores = cores
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, job: Job) -> None:
        """Start a job; the one before is done. Ctrl-C does not reach it: who started it decides."""
        self._job = job
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.failure.unlink(missing_ok=True)
        threads = {"OMP_NUM_THREADS": str(len(self._cores)), "PYTHONFAULTHANDLER": "1"}
        with job.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, job.kind, str(job.failure)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**threads, **os.environ},
                start_new_session=True,
            )
        with suppress(psutil.Error, AttributeError, ValueError):  # no affinity on this system, or it is gone already
            psutil.Process(self._process.pid).cpu_affinity(list(self._cores))
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job.settings).encode() + b"\n")
            self._process.stdin.flush()  # and it stays open: when it closes, the process ends

    def poll(self) -> JobEnd | None:
        """What became of the job; None while it goes on."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return None
        self.end()
        if code == 0:
            return JobEnd()
        with suppress(OSError, ValueError, KeyError):
            told = read_object(self._job.failure)
            return JobEnd(told["error"], told["traceback"])
        return JobEnd(f"the process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})")

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process = None
