"""What a person sees while a laboratory runs: one line a finished run, what is running, an honest remaining time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.text import Text

from fissile.console import Part
from fissile.feedback.diagnoser import stood_in
from fissile.lab.lab_folder import RunKey
from fissile.training.progress import LiveLine, duration

LINE_BYTES = 1000
"""No line of progress is longer."""

FIGURES = {
    "first_attempt_accuracy": "right at first",
    "final_accuracy": "in the end",
    "recovery_rate": "recovered",
    "repeat_rate": "repeated",
}
"""Figures of a run's last stage that stand on its line."""


def expected_seconds(
    taken: Mapping[str, Sequence[float]], left: Iterable[tuple[str, float]], workers: int
) -> float | None:
    """Seconds until the last run ends; None where no run has shown yet how long one takes.

    Args:
        taken: seconds of the finished runs of each arm; an arm without any takes as long as the mean of all runs.
        left: arm, and seconds that it has been running, of every run that is not finished.
        workers: how many run side by side.
    """
    known = [seconds for runs in taken.values() for seconds in runs]
    if not known:
        return None
    rest = [max(0.0, fmean(taken.get(arm) or known) - elapsed) for arm, elapsed in left]
    return sum(rest) / max(1, min(workers, len(rest)))


@dataclass
class Display:
    """Writes to a console: lines that stay, and one about what goes on.

    Attributes:
        console: where to.
        workers: how many runs go on side by side.
    """

    console: Console
    workers: int = 1
    _taken: dict[str, list[float]] = field(default_factory=dict, init=False)
    _left: list[RunKey] = field(default_factory=list, init=False)
    _total: int = field(default=0, init=False)
    _began: dict[RunKey, float] = field(default_factory=dict, init=False)
    _line: LiveLine = field(init=False)
    _making: Path | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._line = LiveLine(self.console)

    def open(self, title: str, left: Sequence[RunKey], finished: Mapping[RunKey, Mapping[str, Any]]) -> None:
        """Say what is to be done.

        Args:
            title: of the laboratory.
            left: the runs that are to be made.
            finished: summaries of those that are there.
        """
        self._left, self._total = list(left), len(left) + len(finished)
        for key, summary in finished.items():
            self._learn(key, summary, 0.0)
        self.say((title or "laboratory", "bold"))
        self.say(f"{self._total} runs, {len(finished)} finished before, {len(left)} to do")
        self._line.start()

    def say(self, *parts: Part) -> None:
        """One line that stays."""
        self.console.print(Text.assemble(*parts), soft_wrap=True)

    @contextmanager
    def making(self, what: str, log: Path) -> Iterator[None]:
        """Something that all runs wait for is made meanwhile; the live line says what its log says."""
        self.say(f"making {what} (log: {log})")
        self._making = log
        try:
            yield
        finally:
            self._making = None

    def began(self, key: RunKey) -> None:
        """A run has begun."""
        self._began[key] = time.monotonic()
        self.tick()

    def finished(self, key: RunKey, summary: Mapping[str, Any]) -> None:
        """A run is done: its line."""
        seconds = self._end(key)
        self._learn(key, summary, seconds)
        told: list[Part] = [(str(key), "bold"), duration(seconds), *figures(summary)]
        if summary.get("stopped"):
            told.append((f"stopped early: {summary['stopped']}", "yellow"))
        self.say(*(piece for part in told for piece in (part, " · ")), self.standing())

    def failed(self, key: RunKey, reason: str, log: Path) -> None:
        """A run failed: its line."""
        seconds = self._end(key)
        told = f" after {duration(seconds)}: {reason} (log: {log}) · {self.standing()}"
        self.say((f"{key} failed", "bold red"), told)

    def tick(self) -> None:
        """Bring the line about what goes on up to date."""
        now = time.monotonic()
        running = ", ".join(f"{key} ({duration(now - began)})" for key, began in self._began.items())
        current = running if self._making is None else last_line(self._making)
        self._line.show(" · ".join(filter(None, (current, self.standing()))), time.perf_counter())

    def standing(self) -> str:
        """`3 of 24 · about 20 min left`."""
        now = time.monotonic()
        left = [(key.arm, now - self._began.get(key, now)) for key in self._left]
        seconds = expected_seconds(self._taken, left, self.workers)
        time_left = f" · about {duration(seconds)} left" if left and seconds is not None else ""
        return f"{self._total - len(self._left)} of {self._total}{time_left}"

    def close(self) -> None:
        """Take the live line away."""
        self._line.stop()

    def _end(self, key: RunKey) -> float:
        """A run has ended; the seconds since it began."""
        if key in self._left:
            self._left.remove(key)
        return time.monotonic() - self._began.pop(key, time.monotonic())

    def _learn(self, key: RunKey, summary: Mapping[str, Any], seconds: float) -> None:
        """Remember how long a run takes; its summary includes earlier parts, each up to its last checkpoint."""
        measured = sum(summary.get("seconds", {}).values()) or seconds
        if measured:
            self._taken.setdefault(key.arm, []).append(measured)


def last_line(log: Path) -> str:
    """The last line that is not blank; "" where there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LINE_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def figures(summary: Mapping[str, Any]) -> list[str]:
    """The headline figures of the last stage of a run, as texts; none where it was not evaluated.

    Behind them, where most diagnoses were those of another source than the arm's: how many.
    """
    stages = list(summary.get("stages", {}).values())
    last = stages[-1] if stages else {}
    rates = {name: last[key]["rate"] for key, name in FIGURES.items() if key in last}
    told = [f"{name} {'none' if rate is None else f'{rate:.0%}'}" for name, rate in rates.items()]
    feedback = summary.get("feedback") or {}
    missing, diagnosed = stood_in(feedback)
    if 2 * missing > diagnosed:
        told.append(f"{missing} of {diagnosed} diagnoses not those of '{feedback['source']}'")
    return told
