"""What the plots of a laboratory share: one look, colours that colour-blind readers tell apart, and axes.

A plot is a file of its own with a white ground, so that it reads the same on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from markupsafe import Markup

from fissile.reports.svg import Scale, drawing, tag

BLUE, VERMILLION, GREEN, PURPLE, ORANGE = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#b37400"
GREY = "#8c959f"
"""Of what is compared with."""

PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE)
"""After Okabe and Ito, the light ones darkened for thin lines on white."""

WIDTH = 880
"""Of every plot, in px."""

HEAD = 66
"""Height of title, note and legend, in px."""

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a }
.title { font-size: 14px; font-weight: 600; fill: #24292f }
.name { font-size: 12px; font-weight: 600; fill: #24292f }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #e1e4e8; stroke-width: 1 }
.zero { stroke: #57606a; stroke-width: 1 }
"""


def canvas(height: float, title: str, note: str, legend: Mapping[str, str], parts: Iterable[Markup]) -> Markup:
    """A whole plot.

    Args:
        height: in px, the head included.
        title: of the plot; also what a screen reader says.
        note: one line under it.
        legend: name to colour; one name or none needs no legend.
        parts: what is drawn below the head.
    """
    shown = [
        tag("style", Markup(STYLE)),
        tag("rect", width=WIDTH, height=height, rx=6, fill="#ffffff"),
        tag("text", title, x=12, y=20, class_="title"),
        tag("text", note, x=12, y=37),
        *(_legend(legend) if len(legend) > 1 else ()),
        *parts,
    ]
    told = f"{title} ({note})"
    return drawing(WIDTH, height, told, shown, xmlns="http://www.w3.org/2000/svg", style=f"max-width: {WIDTH}px")


def share_text(value: float) -> str:
    """A tick of an axis of shares."""
    return f"{100 * value:.3g}%"


def amount_text(value: float) -> str:
    """A large count in few characters: `950`, `12.5k`, `3.2M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def horizontal_grid(y: Scale, values: Sequence[float], left: float, right: float, texts: Sequence[str]) -> list[Markup]:
    """Lines across a panel with their values at the left."""
    return [
        part
        for value, text in zip(values, texts, strict=True)
        for part in (
            tag("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"),
            tag("text", text, x=left - 5, y=y(value) + 3.5, class_="end"),
        )
    ]


def vertical_grid(x: Scale, values: Sequence[float], top: float, bottom: float, texts: Sequence[str]) -> list[Markup]:
    """Lines down a panel with their values below."""
    return [
        part
        for value, text in zip(values, texts, strict=True)
        for part in (
            tag("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="zero" if value == 0 else "grid"),
            tag("text", text, x=x(value), y=bottom + 14, class_="middle"),
        )
    ]


def _legend(legend: Mapping[str, str]) -> Iterator[Markup]:
    left = 12.0
    for name, colour in legend.items():
        yield tag("rect", x=left, y=47, width=14, height=4, fill=colour)
        yield tag("text", name, x=left + 19, y=53)
        left += 34 + 6.2 * len(name)
