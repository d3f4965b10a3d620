"""A curve of a laboratory: points with bands, lines of points, and a figure with a panel for each arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """A mean over seeds at `x`, with its band; no band with one seed."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; lines of one name have one colour in all panels of a figure."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """Small multiples: a panel for each arm.

    Attributes:
        name: of its file.
        title: of the figure.
        note: how it was made.
        x: what the horizontal axis counts.
        is_share: the values are shares of 1.
        panels: (label of the arm, its lines).
        shared: a line that stands behind those of every panel; None where there is none.
    """

    name: str
    title: str
    note: str
    x: str
    is_share: bool
    panels: tuple[tuple[str, tuple[Line, ...]], ...]
    shared: Line | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict: arm to line to [x, y, low, high] of each point."""
        return {
            "title": self.title,
            "note": self.note,
            "x": self.x,
            "arms": {
                label: {line.name: [[p.x, p.y, p.low, p.high] for p in line.points] for line in lines}
                for label, lines in self.panels
            },
        }
