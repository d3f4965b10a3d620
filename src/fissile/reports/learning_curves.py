"""Learning curves: small multiples over the optimizer steps, every step thin and a running mean strong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fissile.reports.run_lines import LoggedStep
from fissile.reports.svg import Scale, drawing, path, tag, ticks
from fissile.reports.wording import figure, percent, plain, tick_text

WIDTH, HEIGHT = 340, 168
LEFT, RIGHT, TOP, BOTTOM = 42, 6, 8, 22
"""Drawing and margins, in px."""

SMOOTHED_SHARE = 8
"""The running mean spans one of so many parts of a line's points."""

KINDS_SHOWN = 6
"""Kinds of training errors with a chart of their own, the most frequent ones."""

PHASES = {"explore": "explore steps", "fission": "fission steps"}
"""Which steps a line is about; also its CSS class."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: what it shows and where it reads it.

    Attributes:
        title: of the chart.
        sources: (phase, key of `metrics.jsonl`) of each line.
        is_share: drawn from 0 to 100 %.
        note: a few words under the title.
        absent: stands where a step lacks the key; None leaves the step out.
    """

    title: str
    sources: tuple[tuple[str, str], ...]
    is_share: bool = False
    note: str = ""
    absent: float | None = None


def _both(key: str) -> tuple[tuple[str, str], ...]:
    return (("explore", key), ("fission", key))


def _both_phases(name: str) -> tuple[tuple[str, str], ...]:
    return (("explore", f"explore/{name}"), ("fission", f"fission/{name}"))


PANELS = (
    Panel("Reward", _both("reward"), note="mean of the step; its weights follow their schedule"),
    Panel(
        "Right attempts",
        (("explore", "explore/correct"), ("fission", "fission/correct")),
        is_share=True,
        note="of the attempts of a step",
    ),
    Panel("Repeats", (("fission", "fission/repeat"),), is_share=True, note="recoveries that are the failed call again"),
    Panel(
        "Groups without variance",
        (("explore", "explore/zero_variance_groups"), ("fission", "fission/zero_variance_groups")),
        is_share=True,
        note="they teach nothing",
    ),
    Panel(
        "Cut at the step limit",
        _both_phases("step_limit"),
        is_share=True,
        note="rollouts with a turn of more than world.steps_per_turn; they count as wrong",
    ),
    Panel(
        "Cut at the end of the context",
        _both_phases("context_limit"),
        is_share=True,
        note="rollouts without room for another answer; they count as wrong",
    ),
    Panel("Gradient norm", _both("grad_norm"), note="before clipping"),
    Panel("Entropy", _both("entropy"), note="nats per sampled token"),
    Panel("Response length", _both("completions/mean_length"), note="tokens, mean of the step"),
    Panel("Time per step", _both("step_time"), note="seconds"),
)


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """The points of one phase, in order of the steps."""

    phase: str
    points: tuple[Point, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The mean over the first and over the last quarter of the points."""
        values = [value for _, value in self.points]
        quarter = max(1, len(values) // 4)
        return sum(values[:quarter]) / quarter, sum(values[-quarter:]) / quarter

    @property
    def smoothed(self) -> tuple[Point, ...]:
        """The centred running mean; its window ends where the points end."""
        half = max(1, round(len(self.points) / SMOOTHED_SHARE / 2))
        values = [value for _, value in self.points]
        means = []
        for index, (step, _) in enumerate(self.points):
            window = values[max(0, index - half) : index + half + 1]
            means.append((step, sum(window) / len(window)))
        return tuple(means)


@dataclass(frozen=True, slots=True)
class Curve:
    """A finished chart. `ends` has (phase, first quarter, last quarter) of each line, written out."""

    title: str
    note: str
    drawing: Markup
    ends: tuple[tuple[str, str, str], ...]


def learning_curves(steps: Sequence[LoggedStep]) -> list[Curve]:
    """The panels that have at least one point."""
    return list(_curves(PANELS, steps))


def error_curves(steps: Sequence[LoggedStep]) -> list[Curve]:
    """Errors per step of the most frequent kinds in training."""
    counts: dict[str, float] = defaultdict(float)
    for step in steps:
        for key, count in step.figures.items():
            if key.startswith("errors/"):
                counts[key] += count
    ranked = sorted(counts, key=lambda key: -counts[key])
    panels = (Panel(plain(key.removeprefix("errors/")), _both(key), absent=0.0) for key in ranked[:KINDS_SHOWN])
    return list(_curves(panels, steps))


def _curves(panels: Iterator[Panel] | Sequence[Panel], steps: Sequence[LoggedStep]) -> Iterator[Curve]:
    for panel in panels:
        lines = [line for line in (_line(panel, *source, steps) for source in panel.sources) if line.points]
        if lines:
            written = percent if panel.is_share else figure
            ends = tuple((line.phase, written(line.ends[0]), written(line.ends[1])) for line in lines)
            yield Curve(panel.title, panel.note, _draw(panel, lines, steps, ends), ends)


def _line(panel: Panel, phase: str, key: str, steps: Sequence[LoggedStep]) -> PhaseLine:
    found = ((float(step.step), step.figures.get(key, panel.absent)) for step in steps if step.phase == phase)
    return PhaseLine(phase, tuple((step, value) for step, value in found if value is not None))


def _draw(
    panel: Panel, lines: Sequence[PhaseLine], steps: Sequence[LoggedStep], ends: Sequence[tuple[str, str, str]]
) -> Markup:
    values = [value for line in lines for _, value in line.points]
    low, high = (0.0, 1.0) if panel.is_share else (min(values), max(values))
    if 0 <= low < high / 2:
        low = 0.0
    y_ticks = ticks(low, high)
    x = Scale(steps[0].step, steps[-1].step, LEFT, WIDTH - RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    label = f"{panel.title} by step. " + " ".join(
        f"{PHASES[phase]}: {first} in the first quarter, {last} in the last." for phase, first, last in ends
    )
    parts = [*_axes(x, y, y_ticks, panel.is_share)]
    for line in lines:
        parts += _strokes(line, x, y)
    return drawing(WIDTH, HEIGHT, label, parts, class_="chart")


def _axes(x: Scale, y: Scale, y_ticks: Sequence[float], is_share: bool) -> Iterator[Markup]:
    for value in y_ticks:
        yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_="grid")
        text = f"{100 * value:.0f}%" if is_share else tick_text(value)
        yield tag("text", text, x=LEFT - 6, y=y(value) + 3.5, class_="tick end")
    marks = [value for value in ticks(x.low, x.high, 5) if value >= 1 and x.low <= value <= x.high and value % 1 == 0]
    for value in dict.fromkeys([x.low, *(mark for mark in marks if x(mark) - x(x.low) > 24)]):
        anchor = "tick" if value == x.low else "tick end" if x(value) > WIDTH - RIGHT - 12 else "tick middle"
        yield tag("text", tick_text(value), x=x(value), y=HEIGHT - 6, class_=anchor)


def _strokes(line: PhaseLine, x: Scale, y: Scale) -> Iterator[Markup]:
    """The raw line and the running mean; few points are dots, since a line through two of them says nothing."""
    raw = [(x(step), y(value)) for step, value in line.points]
    if len(raw) < 4:
        for step, height in raw:
            yield tag("circle", cx=step, cy=height, r=3, class_=f"dot {line.phase}")
        return
    yield tag("path", d=path(raw), class_=f"raw {line.phase}")
    smoothed = [(x(step), y(value)) for step, value in line.smoothed]
    yield tag("path", d=path(smoothed), class_=f"mean {line.phase}")
