"""How cost grows with each dimension: one figure a table, one panel a dimension, from `results/*.json`.

python -m benchmarks.plot

Both axes are logarithmic, so that a straight line is a power law and equal ratios are equally far apart.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from benchmarks.report import Record, Results
from benchmarks.table import RESULTS
from fissile.reports.svg import Scale, drawing, path, tag

DIMENSIONS = {
    "prompt_tokens": "tokens of a prompt",
    "group_size": "completions of a prompt",
    "completion": "tokens of a completion",
}

TITLES = {
    "generation": "Sampling: seconds of a call",
    "update": "Update of one group: seconds of forward and backward",
    "step": "A whole training step: seconds",
    "outside": "A whole training step, as in training: seconds",
}

COLOURS = ("#1f6feb", "#8250df", "#9a6700", "#57606a")
"""Of the rows, in their order; ours come first."""

PANEL, GAP, HEIGHT = 190, 92, 196
LEFT, TOP, BOTTOM = 40, 56, 36
"""Widths and margins, in px. The gap holds the labels at the ends of the lines."""

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a }
.title { font-size: 13px; font-weight: 600; fill: #24292f }
.grid { stroke: #d0d7de; stroke-width: 1 }
"""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """The cost of each row of a table against one dimension: label -> (value, median seconds), values ascending."""

    dimension: str
    lines: Mapping[str, tuple[Point, ...]]


def panels(records: Sequence[Record]) -> list[Panel]:
    """A panel for each dimension with two values or more, over the cases that agree in the other dimensions.

    The number of prompts may differ where larger groups are fewer.
    """
    found = []
    for dimension in DIMENSIONS:
        alike: dict[tuple[object, ...], list[Record]] = {}
        for held in records:
            fixed = tuple(held["case"][name] for name in (*DIMENSIONS, "adapter") if name != dimension)
            alike.setdefault(fixed, []).append(held)
        chosen = max(alike.values(), key=len, default=[])
        lines = _lines(dimension, chosen)
        if any(len(line) > 1 for line in lines.values()):
            found.append(Panel(dimension, lines))
    return found


def _lines(dimension: str, records: Sequence[Record]) -> dict[str, tuple[Point, ...]]:
    ordered = sorted(records, key=lambda held: held["case"][dimension])
    labels = dict.fromkeys(label for held in records for label in held["rows"])
    return {
        label: tuple(
            (held["case"][dimension], held["rows"][label]["seconds"]["median"])
            for held in ordered
            if label in held["rows"]
        )
        for label in labels
    }


def figure(name: str, shown: Sequence[Panel]) -> Markup:
    """A table's figure; one scale of seconds for all its panels."""
    title = TITLES.get(name, name)
    seconds = [value for panel in shown for line in panel.lines.values() for _, value in line]
    marks = log_marks(min(seconds), max(seconds))
    y = Scale(math.log(marks[0]), math.log(marks[-1]), HEIGHT - BOTTOM, TOP)
    width = LEFT + len(shown) * (PANEL + GAP)
    parts = [tag("style", Markup(STYLE)), tag("rect", width=width, height=HEIGHT, fill="#ffffff")]
    parts.append(tag("text", title, x=LEFT, y=18, class_="title"))
    labels = list(dict.fromkeys(label for panel in shown for label in panel.lines))
    colours = {label: COLOURS[min(index, len(COLOURS) - 1)] for index, label in enumerate(labels)}
    for number, panel in enumerate(shown):
        parts += _panel(panel, LEFT + number * (PANEL + GAP), y, marks, colours)
    return drawing(width, HEIGHT, title, parts, xmlns="http://www.w3.org/2000/svg", style=f"max-width: {width}px")


def _panel(panel: Panel, left: float, y: Scale, marks: Sequence[float], colours: Mapping[str, str]) -> Iterator[Markup]:
    values = sorted({value for line in panel.lines.values() for value, _ in line})
    x = Scale(math.log(values[0]), math.log(values[-1]), left + 8, left + PANEL - 8)
    yield tag("text", DIMENSIONS[panel.dimension], x=left, y=TOP - 14)
    for mark in marks:
        height = y(math.log(mark))
        yield tag("line", x1=left, x2=left + PANEL, y1=height, y2=height, class_="grid")
        if left == LEFT:
            yield tag("text", f"{mark:g}", x=left - 6, y=height + 4, text_anchor="end")
    for value in values:
        yield tag("text", f"{value:g}", x=x(math.log(value)), y=HEIGHT - BOTTOM + 18, text_anchor="middle")
    ends = {}
    for label, line in panel.lines.items():
        dots = [(x(math.log(value)), y(math.log(seconds))) for value, seconds in line]
        yield tag("path", d=path(dots), stroke=colours[label], stroke_width=2, fill="none")
        for across, height in dots:
            yield tag("circle", cx=across, cy=height, r=3, fill=colours[label])
        if dots:
            ends[label] = dots[-1][1]
    for label, height in apart(ends, 13).items():
        yield tag("text", label, x=left + PANEL + 2, y=height + 4, style=f"fill: {colours[label]}")


def log_marks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from the last one at or below `low` to the first one at or above `high`."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = [float(f"{factor}e{exponent}") for exponent in exponents for factor in (1, 2, 5)]
    first = max(mark for mark in marks if mark <= low)
    last = min(mark for mark in marks if mark >= high and mark > first)
    return [mark for mark in marks if first <= mark <= last]


def apart(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """The same heights, pushed downwards where two are closer than `gap`."""
    placed: dict[str, float] = {}
    for label in sorted(heights, key=heights.__getitem__):
        placed[label] = max([heights[label], *(height + gap for height in placed.values())])
    return placed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description="Draw the results as SVG.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files and of the figures")
    folder = parser.parse_args().results
    for name in TITLES:
        shown = panels(Results(folder / f"{name}.json").records())
        if shown:
            file = folder / f"{name}.svg"
            file.write_text(f"{figure(name, shown)}\n", encoding="utf-8")
            print(f"{name}.svg: {', '.join(DIMENSIONS[panel.dimension] for panel in shown)}")


if __name__ == "__main__":
    main()
