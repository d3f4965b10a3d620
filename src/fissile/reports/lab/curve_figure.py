"""Curves of a laboratory: a panel for each arm, lines of means over seeds with their bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Banded = tuple[float, float, float | None, float | None]
"""A mean over seeds, and its band: (x, mean, low, high); no band with one seed."""


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """Small multiples, as `results.json` holds them.

    Attributes:
        title: of the figure.
        note: how it was made.
        x: what the horizontal axis counts.
        arms: label of an arm to the lines of its panel, by their names: one name has one colour in all panels.
        is_share: the values are shares of 1.
        behind: label of the arm whose lines stand behind those of every panel; "" for none.
    """

    title: str
    note: str
    x: str
    arms: Mapping[str, Mapping[str, tuple[Banded, ...]]]
    is_share: bool
    behind: str = ""
