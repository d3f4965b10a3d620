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
class Meter:
    """Accumulates over phases, and over the parts of an interrupted run.

    Attributes:
        seconds: phase to wall-clock seconds.
        peak_memory_bytes: phase to the largest resident set of the process, plus what the accelerator held.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    _inner: float = field(default=0.0, init=False)  # seconds of the phases within the one at hand

    @classmethod
    def read(cls, path: Path) -> Meter:
        """What an earlier part of the run wrote; a new meter where there is none."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """Keep it for a later part."""
        write_json(path, {"seconds": self.seconds, "peak_memory_bytes": self.peak_memory_bytes})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the block under `name`; a phase entered twice adds its seconds and keeps the larger peak.

        The seconds of a phase within another are its own, not the other's.
        """
        started = time.perf_counter()
        outer, self._inner = self._inner, 0.0
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(name, done), daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
            took = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + took - self._inner
            self._inner = outer + took

    def _watch(self, name: str, done: threading.Event) -> None:
        process = psutil.Process()
        while True:
            peak = process.memory_info().rss + _accelerator_bytes()
            self.peak_memory_bytes[name] = max(self.peak_memory_bytes.get(name, 0), peak)
            if done.wait(SAMPLE_SECONDS):
                return


def _accelerator_bytes() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
