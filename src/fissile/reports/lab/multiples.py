"""Small multiples: a panel for each arm, all on the same scales, each line with its band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from fissile.reports.lab.canvas import (
    GREY,
    HEAD,
    PALETTE,
    WIDTH,
    amount_text,
    canvas,
    horizontal_grid,
    share_text,
)
from fissile.reports.lab.curves import CurveFigure, Line, Point
from fissile.reports.svg import Scale, path, tag, ticks
from fissile.reports.wording import shortened, tick_text

COLUMNS = 4
PANEL_HEIGHT = 158
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 22, 30
"""Margins inside a panel, in px."""

NAME_CHARACTERS = 28
"""A longer label of an arm is cut."""


def multiples(figure: CurveFigure) -> Markup:
    """The figure with `COLUMNS` panels a row."""
    lines = [line for _, held in figure.panels for line in held]
    shared = () if figure.shared is None else (figure.shared,)
    points = [point for line in (*lines, *shared) for point in line.points]
    names = dict.fromkeys(line.name for line in lines)
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}
    colours |= {line.name: GREY for line in shared}
    x_end = max(point.x for point in points)
    y_ticks = _y_ticks(points, figure.is_share)
    rows = -(-len(figure.panels) // COLUMNS)
    parts: list[Markup] = []
    for index, (label, held) in enumerate(figure.panels):
        left, top = (index % COLUMNS) * WIDTH / COLUMNS, HEAD + (index // COLUMNS) * PANEL_HEIGHT
        x = Scale(0, x_end, left + LEFT, left + WIDTH / COLUMNS - RIGHT)
        y = Scale(y_ticks[0], y_ticks[-1], top + PANEL_HEIGHT - BOTTOM, top + TOP)
        parts += _panel(label, (*shared, *held), x, y, y_ticks, figure.is_share, colours)
    height = HEAD + rows * PANEL_HEIGHT + 6
    return canvas(height, figure.title, f"{figure.note}; across: {figure.x}", colours, parts)


def _y_ticks(points: Sequence[Point], is_share: bool) -> list[float]:
    """Ticks that cover the points and their bands; from 0 where that costs little room, never beyond 100 %."""
    low = min(point.y if point.low is None else point.low for point in points)
    high = max(point.y if point.high is None else point.high for point in points)
    values = ticks(0.0 if 0 <= low < 0.6 * high else low, high, 3)
    return [value for value in values if value <= 1 + 1e-9] if is_share and high <= 1 else values


def _panel(
    label: str,
    lines: Sequence[Line],
    x: Scale,
    y: Scale,
    y_ticks: Sequence[float],
    is_share: bool,
    colours: Mapping[str, str],
) -> Iterator[Markup]:
    written = share_text if is_share else tick_text
    yield tag("text", shortened_name(label), x=x.start, y=y.end - 8, class_="name")
    yield from horizontal_grid(y, y_ticks, x.start, x.end, [written(value) for value in y_ticks])
    for value in (value for value in ticks(0, x.high, 2) if value <= x.high):
        yield tag("text", amount_text(value), x=x(value), y=y.start + 15, class_="middle")
    for line in lines:
        yield from _stroke(line, x, y, colours[line.name])


def _stroke(line: Line, x: Scale, y: Scale, colour: str) -> Iterator[Markup]:
    """The band, then the line over it; a point alone is a dot."""
    upper = [(x(point.x), y(point.high)) for point in line.points if point.high is not None]
    lower = [(x(point.x), y(point.low)) for point in line.points if point.low is not None]
    if len(upper) > 1:
        yield tag("path", d=f"{path([*upper, *reversed(lower)])}Z", fill=colour, fill_opacity=0.16)
    middle = [(x(point.x), y(point.y)) for point in line.points]
    if len(middle) > 1:
        yield tag("path", d=path(middle), stroke=colour, stroke_width=1.8, fill="none")
    else:
        yield from (tag("circle", cx=across, cy=height, r=3, fill=colour) for across, height in middle)


def shortened_name(label: str) -> str:
    """A label that fits over a panel."""
    return label if len(label) <= NAME_CHARACTERS else f"{shortened(label[: NAME_CHARACTERS - 1])}…"
