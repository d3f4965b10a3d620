"""Inline SVG from Python: elements whose content is always escaped, a linear scale, and round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from fissile.reports.wording import visible

Value = str | float


def tag(name: str, *children: str, **attributes: Value) -> Markup:
    """An element. Children that are not markup already are text, and are escaped like attribute values.

    Args:
        name: of the element; ours, never the model's.
        children: text and elements.
        attributes: `class_` is `class`; an underscore inside a name is a hyphen.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
    )
    content = Markup("").join(escape(visible(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, content)


def drawing(width: float, height: float, label: str, parts: Iterable[str], **attributes: Value) -> Markup:
    """An `svg` element that fills its column and is read out as `label`."""
    return tag("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, **attributes)


def path(points: Iterable[tuple[float, float]]) -> str:
    """The `d` of a line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to [start, end] linearly; a constant domain maps to the start."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of a value."""
        span = self.high - self.low
        return self.start if span == 0 else self.start + (value - self.low) / span * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values that cover [low, high]: the first is at most `low`, the last at least `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _attribute(value: Value) -> str:
    if isinstance(value, str):
        return str(visible(value))
    return f"{value:.2f}".rstrip("0").rstrip(".")
