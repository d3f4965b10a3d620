"""What a person sees while a run goes on: one live line with a rate and an honest remaining time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table

from fissile.rollouts import told_injection

RECENT_STEPS = 10
"""The rate is the mean over so many steps: the first, slow ones are soon forgotten."""

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


class Progress:
    """Writes to a rich console: a live line on a terminal, one plain line a step elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase, keep a live line during it, and say how long it took."""
        title = name.replace("_", " ")
        started = time.perf_counter()
        self.console.print(f"[bold]{title}[/bold]")
        if self.console.is_terminal:
            self._status = self.console.status(title)
            self._status.start()
        try:
            yield
        finally:
            if self._status is not None:
                self._status.stop()
                self._status = None
        self.console.print(f"  {title} took {duration(time.perf_counter() - started)}")

    def step(self, name: str) -> Callable[[int, int, Mapping[str, Any]], None]:
        """A function to call with (step, steps in all, logged figures) after every step."""
        marks: deque[tuple[int, float]] = deque(maxlen=RECENT_STEPS + 1)  # steps done, seconds

        def advance(step: int, total: int, logs: Mapping[str, Any]) -> None:
            if "train_runtime" in logs:
                return
            marks.append((step, time.perf_counter()))
            figures = [text.format(float(logs[key])) for key, text in FIGURES.items() if logs.get(key) is not None]
            self._show(" · ".join([f"{name} {step}/{total}", *figures, *_left(marks, total)]))

        return advance

    def evaluation(self, stage: str) -> Callable[[int, int], None]:
        """A function to call with (attempts made, attempts known so far) after every round."""
        return lambda done, total: self._show(f"{stage}: {done} of {total} attempts")

    def tenths(self, what: str) -> Callable[[int, int], None]:
        """A function to call with (done, all) as often as one likes; it speaks after every tenth of the way."""
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            if total and 10 * done // total > told:
                told = 10 * done // total
                self._show(f"{what}: {done} of {total}")

        return tell

    def report(self, stage: str, report: Mapping[str, Any]) -> None:
        """The recovery table of a stage."""
        self.console.print(recovery_table({stage: report}))

    def _show(self, line: str) -> None:
        if self._status is not None:
            self._status.update(line)
        else:
            self.console.print(f"  {line}", soft_wrap=True)


def _left(marks: Sequence[tuple[int, float]], total: int) -> Iterator[str]:
    """The seconds of a recent step, and how long the rest takes at that rate; nothing before a second mark."""
    (before, began), (step, now) = marks[0], marks[-1]
    if step > before:
        rate = (now - began) / (step - before)
        yield f"{rate:{'.1f' if rate >= 1 else '.2g'}} s a step, about {duration(rate * (total - step))} left"


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
