"""Rows of arms: paired differences with their intervals, and what the arms cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fissile.reports.lab.bootstrap import Estimate
from fissile.reports.lab.canvas import BLUE, GREY, HEAD, ORANGE, WIDTH, amount_text, canvas, vertical_grid
from fissile.reports.lab.multiples import shortened_name
from fissile.reports.svg import Scale, tag, ticks

ROW = 24
LABELS = 206
"""Column of the arms' names, in px."""

GAP = 36
FOOT = 24
VALUE = 50
"""Room for a bar's figure at its right, in px."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Parts of a cost, one behind the other: (colour, amount) each."""

    label: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(amount for _, amount in self.parts)


def forest(
    title: str, note: str, metrics: Sequence[str], rows: Sequence[tuple[str, Sequence[Estimate | None]]]
) -> Markup:
    """A panel for each metric with a dot and a whisker for each arm; strong where the interval excludes 0.

    Args:
        title: of the plot.
        note: under it.
        metrics: titles of the panels.
        rows: (label of the arm, its mean difference in each metric, a share of 1).
    """
    bottom = HEAD + ROW * len(rows)
    parts = _names([label for label, _ in rows])
    x_ticks = _common_ticks([held for _, row in rows for held in row if held is not None])
    width = (WIDTH - LABELS - GAP * len(metrics)) / len(metrics)
    for index, metric in enumerate(metrics):
        left = LABELS + index * (width + GAP)
        x = Scale(x_ticks[0], x_ticks[-1], left, left + width)
        parts.append(tag("text", metric, x=left, y=HEAD - 8, class_="name"))
        parts += vertical_grid(x, x_ticks, HEAD, bottom, [_signed(value) for value in x_ticks])
        for number, (_, row) in enumerate(rows):
            parts += _whisker(row[index], x, HEAD + ROW * (number + 0.5))
    return canvas(bottom + FOOT, title, note, {}, parts)


def costs(title: str, note: str, charts: Sequence[tuple[str, Sequence[Bar]]]) -> Markup:
    """Stacked bars, one chart beside the other: (title, a bar for each arm), the same arms in each."""
    labels = [bar.label for bar in charts[0][1]]
    bottom = HEAD + ROW * len(labels)
    parts = _names(labels)
    width = (WIDTH - LABELS - (GAP + VALUE) * len(charts)) / len(charts)
    for index, (name, bars) in enumerate(charts):
        left = LABELS + index * (width + GAP + VALUE)
        marks = ticks(0, max((bar.total for bar in bars), default=1.0), 3)
        x = Scale(0, marks[-1], left, left + width)
        parts.append(tag("text", name, x=left, y=HEAD - 8, class_="name"))
        parts += vertical_grid(x, marks, HEAD, bottom, [amount_text(mark) for mark in marks])
        for number, bar in enumerate(bars):
            parts += _bar(bar, x, HEAD + ROW * (number + 0.5))
    return canvas(bottom + FOOT, title, note, {}, parts)


FIRST, SECOND = BLUE, ORANGE
"""Colours of the first and the second part of a bar."""


def _names(labels: Sequence[str]) -> list[Markup]:
    return [
        tag("text", shortened_name(label), x=12, y=HEAD + ROW * (number + 0.5) + 4)
        for number, label in enumerate(labels)
    ]


def _common_ticks(estimates: Sequence[Estimate]) -> list[float]:
    """Ticks over all estimates and their intervals, 0 included."""
    ends = [end for held in estimates for end in (held.value, held.low, held.high) if end is not None]
    return ticks(min([0.0, *ends]), max([0.0, *ends]), 4)


def _signed(value: float) -> str:
    """A tick in points."""
    return f"{100 * value:+.3g}".replace("-", "−") if value else "0"


def _whisker(estimate: Estimate | None, x: Scale, y: float) -> Iterator[Markup]:
    if estimate is None:
        yield tag("text", "no common seed", x=(x.start + x.end) / 2, y=y + 4, class_="middle")
        return
    colour = BLUE if estimate.excludes_zero else GREY
    if estimate.low is not None and estimate.high is not None:
        yield tag("line", x1=x(estimate.low), x2=x(estimate.high), y1=y, y2=y, stroke=colour, stroke_width=2)
    hint = tag("title", f"{100 * estimate.value:+.1f} points, {estimate.n} seeds")
    fill = colour if estimate.excludes_zero else "#ffffff"
    yield tag("circle", hint, cx=x(estimate.value), cy=y, r=4.5, fill=fill, stroke=colour, stroke_width=2)


def _bar(bar: Bar, x: Scale, y: float) -> Iterator[Markup]:
    begin = 0.0
    for colour, amount in bar.parts:
        yield tag("rect", x=x(begin), y=y - 6, width=x(begin + amount) - x(begin), height=12, fill=colour)
        begin += amount
    yield tag("text", amount_text(bar.total), x=x(bar.total) + 5, y=y + 4)
