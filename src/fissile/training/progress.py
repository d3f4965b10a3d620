"""What a person sees while something goes on: how far it is, at what rate, and an honest remaining time.

On a terminal that is one live line; into a file or a pipe go lines, at intervals that grow with the time that it takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from fissile.console import Part, PlainConsole
from fissile.engines.injection import told_injection

RECENT_STEPS = 10
"""The rate of steps is the mean over so many: the first, slow ones are soon forgotten."""

SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two lines in a file: a twentieth of the time so far, within these bounds."""

SILENCE = 30.0
"""Where nothing is told for so many seconds, a file gets a line that says so."""

FIGURES = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.2f}",
    "explore/correct": "right {:.0%}",
    "fission/correct": "recovered {:.0%}",
    "fission/repeat": "repeated {:.0%}",
}
"""Log entries worth a place on the line, and how they are written."""

HEADLINE = {
    "first_attempt_accuracy": "first attempt right",
    "final_accuracy": "right in the end",
    "recovery_rate": "tasks recovered",
    "next_attempt_recovery_rate": "next attempt right",
    "repeat_rate": "same call repeated",
}
"""Rows of the recovery table."""

Count = Callable[[int, int], None]
"""Called with (done, all) as often as one likes."""


class LiveLine:
    """One line about what goes on: rewritten in place on a terminal, else repeated when it is due."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._began: float | None = None
        self._told = -LONGEST_PAUSE

    def start(self, text: str = "") -> None:
        """Show it, on a terminal."""
        self._began = time.perf_counter()
        if self._console.is_terminal and self._status is None:
            self._status = self._console.status(Text(text))
            self._status.start()

    def stop(self) -> None:
        """Take it away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    @property
    def text(self) -> str:
        """What it says on a terminal; "" elsewhere."""
        return str(self._status.status) if self._status is not None else ""

    def show(self, text: str, now: float, always: bool = False) -> None:
        """Bring it up to date, at this second of the performance counter; `always`: into a file even if none is due."""
        if self._status is not None:
            self._status.update(Text(text))
        elif always or self.is_due(now):
            self._told = now
            self._began = now if self._began is None else self._began
            self._console.print(Text(f"  {text}"), soft_wrap=True)

    def is_due(self, now: float) -> bool:
        """Whether a file has waited long enough for a line."""
        if self._began is None:
            return True
        return now - self._told >= min(max((now - self._began) / 20, SHORTEST_PAUSE), LONGEST_PAUSE)

    def silence(self, now: float) -> float:
        """Seconds since a file was told anything."""
        return now - max(self._told, self._began or self._told)


@dataclass
class Pace:
    """How fast something goes."""

    unit: str
    recent: int | None = None  # the rate is that of so many counts; None for all since the first
    _marks: deque[tuple[int, float]] = field(init=False)

    def __post_init__(self) -> None:
        self._marks = deque(maxlen=None if self.recent is None else self.recent + 1)

    def mark(self, done: int, now: float) -> None:
        """So many are done at this second."""
        if self.recent is None and len(self._marks) == 2:
            self._marks.pop()
        self._marks.append((done, now))

    def left(self, total: int) -> Iterator[str]:
        """The seconds that one takes, and how long the rest takes at that rate; nothing before a second mark."""
        (before, began), (done, now) = self._marks[0], self._marks[-1]
        if done > before:
            rate = (now - began) / (done - before)
            left = f", about {duration(rate * (total - done))} left" if done < total or self.recent else ""
            yield f"{rate:{'.1f' if rate >= 1 else '.2g'}} s {self.unit}{left}"


class Progress:
    """Writes to a console: lines that stay, and one about what goes on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole()
        self._line = LiveLine(self.console)

    def say(self, *parts: Part) -> None:
        """One line that stays."""
        self.console.print(Text.assemble(*parts), soft_wrap=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase, keep a live line during it, and say how long it took."""
        title = name.replace("_", " ")
        started = time.perf_counter()
        self.say((title, "bold"))
        with self.waiting(title):
            yield
        self.say(f"  {title} took {duration(time.perf_counter() - started)}")

    @contextmanager
    def waiting(self, title: str) -> Iterator[None]:
        """Keep a live line during something, and tell a file of it where it takes long."""
        over = threading.Event()
        self._line.start(title)
        asked = (title, time.perf_counter(), over)
        threading.Thread(target=self._break_silence, args=asked, daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self._line.stop()

    def step(self, name: str) -> Callable[[int, int, Mapping[str, Any]], None]:
        """A function to call with (step, steps in all, logged figures) after every step; each has its line."""
        pace = Pace("a step", RECENT_STEPS)

        def advance(step: int, total: int, logs: Mapping[str, Any]) -> None:
            if "train_runtime" in logs:
                return
            pace.mark(step, now := time.perf_counter())
            figures = [text.format(float(logs[key])) for key, text in FIGURES.items() if logs.get(key) is not None]
            self._line.show(" · ".join([f"{name} {step}/{total}", *figures, *pace.left(total)]), now, always=True)

        return advance

    def count(self, what: str, one: str, many: str) -> Count:
        """A function to call with (done, all known so far), the first time before anything is done.

        `what` goes on; of what is counted there is `one` ("an attempt"), and there are `many` ("attempts").
        """
        pace = Pace(one)

        def tell(done: int, total: int) -> None:
            pace.mark(done, now := time.perf_counter())
            line = " · ".join([f"{what}: {done} of {total} {many}", *pace.left(total)])
            self._line.show(line, now, always=done == total)

        return tell

    def report(self, stage: str, report: Mapping[str, Any]) -> None:
        """The recovery table of a stage."""
        self.table(recovery_table({stage: report}))

    def table(self, table: Table) -> None:
        """A table, whole."""
        if isinstance(self.console, PlainConsole):
            self.console.table(table)
        else:
            self.console.print(table)

    def _break_silence(self, title: str, started: float, over: threading.Event) -> None:
        """Tell a file now and then that the phase still goes on, where nothing else is told."""
        while not over.wait(1.0):
            now = time.perf_counter()
            if self._line.silence(now) >= SILENCE and self._line.is_due(now) and not self.console.is_terminal:
                self._line.show(f"{title}: {duration(now - started)} so far", now)


def recovery_table(stages: Mapping[str, Mapping[str, Any]]) -> Table:
    """Stages side by side; every rate with its numerator, denominator and 95 % interval."""
    injections = {told_injection(report) for report in stages.values()}
    title = "; ".join(["held-out tasks, 95 % intervals clustered by task", *sorted(injections - {""})])
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for stage in stages:
        table.add_column(stage.replace("_", " "), justify="right")
    for key, title in HEADLINE.items():
        table.add_row(title, *(ratio_text(report[key]) for report in stages.values()))
    return table


def ratio_text(ratio: Mapping[str, Any]) -> str:
    """`12.5 % (5/40), 5.5 to 26.1`, or `none (0/0)`."""
    if ratio["rate"] is None:
        return f"none ({ratio['num']}/{ratio['den']})"
    rate, low, high = (100 * ratio[key] for key in ("rate", "low", "high"))
    return f"{rate:.1f} % ({ratio['num']}/{ratio['den']}), {low:.1f} to {high:.1f}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 5 s` or `2 h 10 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
