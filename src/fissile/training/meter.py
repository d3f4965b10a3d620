"""Seconds and peak memory of each phase of a run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from fissile.journal import write_json

SAMPLE_SECONDS = 0.2
"""Interval at which resident memory is read."""


@dataclass
class _Running:
    """A phase that is measured at the moment; `inner` are the seconds of the ended phases within it."""

    name: str
    started: float
    inner: float = 0.0


@dataclass
class Meter:
    """Accumulates over phases, and over the parts of an interrupted run.

    Attributes:
        seconds: phase to wall-clock seconds.
        peak_memory_bytes: phase to the largest resident set of the process, plus what the accelerator held.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    _running: list[_Running] = field(default_factory=list, init=False)  # the outermost first

    @classmethod
    def read(cls, path: Path) -> Meter:
        """What an earlier part of the run wrote; a new meter where there is none."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """Keep it for a later part, with what the running phases took so far."""
        write_json(path, {"seconds": self._so_far(), "peak_memory_bytes": dict(self.peak_memory_bytes)})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the block under `name`; a phase entered twice adds its seconds and keeps the larger peak.

        The seconds of a phase within another are its own, not the other's.
        """
        self._running.append(_Running(name, time.perf_counter()))
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(name, done), daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
            phase = self._running.pop()
            took = time.perf_counter() - phase.started
            self.seconds[name] = self.seconds.get(name, 0.0) + took - phase.inner
            if self._running:
                self._running[-1].inner += took

    def _so_far(self) -> dict[str, float]:
        """Seconds of every phase, the running ones included."""
        seconds, within, now = dict(self.seconds), 0.0, time.perf_counter()
        for phase in reversed(self._running):
            took = now - phase.started
            seconds[phase.name] = seconds.get(phase.name, 0.0) + took - phase.inner - within
            within = took
        return seconds

    def _watch(self, name: str, done: threading.Event) -> None:
        process = psutil.Process()
        while True:
            peak = process.memory_info().rss + _accelerator_bytes()
            self.peak_memory_bytes[name] = max(self.peak_memory_bytes.get(name, 0), peak)
            if done.wait(SAMPLE_SECONDS):
                return


def _accelerator_bytes() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
