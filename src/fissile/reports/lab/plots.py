"""The plots of a laboratory from what its `results.json` holds: SVG, the same bytes from the same figures.

They are files of their own with a white ground, so that they read the same on a light and on a dark page.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from fissile.reports.lab.lab_results import COMPARED
from fissile.reports.wording import visible

Fields = Mapping[str, Any]
"""What a part of `results.json` holds."""

BLUE, ORANGE, GREY = "#0072b2", "#b37400", "#8c959f"
PALETTE = (BLUE, "#d55e00", "#009e73", "#aa4499", ORANGE)
"""After Okabe and Ito, the light ones darkened for thin lines on white; grey is what is compared with."""

STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.hashsalt": "fissile",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e1e4e8",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "lines.linewidth": 1.5,
    "legend.frameon": False,
}

WIDTH = 9.2
"""Of every plot, in inches."""

COLUMNS = 4
"""Panels of curves side by side."""

DRAWN = COMPARED[:3]
"""Metrics of the differences."""

COSTS = {
    "tokens of the training: contexts, samples": ("context_tokens", "sampled_tokens"),
    "seconds: training, evaluations": ("training_seconds", "evaluation_seconds"),
}
"""Title of a chart of costs to its parts: the first blue, the second orange."""


SPENT = ("steps", "rollouts", "context_tokens", "sampled_tokens", "training_seconds")
"""Costs that show that an arm was trained."""


def lab_plots(results: Fields) -> dict[str, str]:
    """Name without suffix to SVG, in the order of the page; a plot without anything to show is left out."""
    with rc_context(STYLE):
        return {name: _svg(figure) for name, figure in _figures(results)}


def _figures(results: Fields) -> Iterator[tuple[str, Figure]]:
    arms, baseline = results["arms"], results["baseline"]
    main = [name for name, arm in arms.items() if not arm["group"] and arm["seeds"]]
    compared = [name for name in main if name != baseline]
    if baseline in main and compared:
        title = f"Differences to {arms[baseline]['label']}"
        yield "differences", _differences(title, results["differences"], arms, compared)
    varied = list(dict.fromkeys(one["arm"] for one in results["variations"]))
    if varied:
        title = "Differences of the variations to their references"
        yield "variations", _differences(title, results["variations"], arms, varied)
    for name, curves in results["curves"].items():
        yield name, _multiples(curves)
    paid = [arms[name] for name in main if any(_cost(arms[name], part) for part in SPENT)]
    if paid:
        yield "costs", _costs(paid)


def _svg(figure: Figure) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return " ".join(drawn.getvalue().split())  # indentation and lines say nothing in it


def _fitting(label: str, characters: int) -> str:
    told = str(visible(label))
    return told if len(told) <= characters else f"{told[: characters - 1]}…"


def _titled(height: float, title: str, note: str) -> Figure:
    figure = Figure((WIDTH, height), layout="constrained")
    figure.suptitle(f"{_fitting(title, 120)}\n{note}", x=0.01, ha="left", fontsize=9)
    return figure


def _rows(figure: Figure, columns: int, labels: Sequence[str]) -> list[Axes]:
    """Charts side by side with a row for each arm, the first on top."""
    charts: list[Axes] = list(figure.subplots(1, columns, sharey=True, squeeze=False)[0])
    charts[0].set_yticks(range(len(labels)), [_fitting(label, 46) for label in labels])
    charts[0].set_ylim(len(labels) - 0.5, -0.5)
    return charts


def _differences(title: str, held: Sequence[Fields], arms: Fields, names: Sequence[str]) -> Figure:
    """A chart for each metric with a dot and a whisker for each arm; filled where the interval excludes 0."""
    note = "points, paired by seed, 95 % intervals over seeds; filled where the interval excludes 0"
    figure = _titled(1.1 + 0.25 * len(names), title, note)
    by_place = {(one["arm"], one["metric"]): one for one in held}
    charts = _rows(figure, len(DRAWN), [arms[name]["label"] for name in names])
    for chart, metric in zip(charts, DRAWN, strict=True):
        chart.set_title(metric.title)
        chart.axvline(0, color=GREY, linewidth=1)
        chart.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.3g}".replace("-", "−") if value else "0")
        for row, name in enumerate(names):
            one = by_place.get((name, metric.key))
            if one is None or (mean := one["mean"]) is None:
                chart.text(0, row, "no common seed", ha="center", va="center", color=GREY)
                continue
            colour = BLUE if one["excludes_zero"] else GREY
            if mean["low"] is not None:
                chart.hlines(row, mean["low"], mean["high"], color=colour)
            chart.plot(mean["value"], row, "o", color=colour, mfc=colour if one["excludes_zero"] else "white")
    for chart in charts[1:]:
        chart.sharex(charts[0])
    return figure


def _multiples(curves: Fields) -> Figure:
    """A panel for each arm, all on the same scales, each line with its band."""
    rows = -(-len(curves["arms"]) // COLUMNS)
    figure = _titled(0.9 + 1.6 * rows, curves["title"], f"{curves['note']}; across: {curves['x']}")
    panels = list(figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
    names = dict.fromkeys(name for lines in curves["arms"].values() for name in lines)
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}
    behind_label = curves.get("behind", "")
    behind = curves["arms"].get(behind_label, {})
    for panel, (label, lines) in zip(panels, curves["arms"].items(), strict=False):
        panel.set_title(_fitting(label, 28))
        for points in behind.values():
            _line(panel, points, GREY)
        for name, points in lines.items():
            _line(panel, points, colours[name])
    for panel in panels[len(curves["arms"]) :]:
        panel.set_visible(False)
    first = panels[0]
    first.xaxis.set_major_formatter(EngFormatter(sep=""))
    first.xaxis.set_major_locator(MaxNLocator(3))
    if curves["is_share"]:
        first.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    first.set_xlim(left=0)
    low, high = first.get_ylim()
    first.set_ylim(0 if 0 < low < 0.6 * high else low, high)
    if shown := {**({behind_label: GREY} if behind else {}), **colours}:
        _legend(figure, shown)
    return figure


def _line(panel: Axes, points: Sequence[Sequence[float | None]], colour: str) -> None:
    x, mean, low, high = zip(*points, strict=True)
    panel.plot(x, mean, "o-" if len(points) == 1 else "-", color=colour)
    banded = [point for point in points if point[2] is not None]
    if len(banded) > 1:
        x, _, low, high = zip(*banded, strict=True)
        panel.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    if len(colours) > 1:
        handles = [
            figure.axes[0].plot([], [], color=colour, label=_fitting(name, 28))[0] for name, colour in colours.items()
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))


def _cost(arm: Fields, part: str) -> float:
    return float(arm["costs"].get(part, {}).get("value", 0.0))


def _costs(arms: Sequence[Fields]) -> Figure:
    """Stacked bars of the means of a run."""
    figure = _titled(1.1 + 0.25 * len(arms), "What a run cost", "means of a run; first part blue, second orange")
    for chart, (title, parts) in zip(
        _rows(figure, len(COSTS), [arm["label"] for arm in arms]), COSTS.items(), strict=True
    ):
        chart.set_title(title)
        chart.xaxis.set_major_formatter(EngFormatter(sep=""))
        for row, arm in enumerate(arms):
            first, second = (_cost(arm, part) for part in parts)
            chart.barh(row, first, 0.5, color=BLUE)
            chart.barh(row, second, 0.5, first, color=ORANGE)
            chart.text(first + second, row, f" {EngFormatter(places=1, sep='')(first + second)}", va="center")
        chart.margins(x=0.15)
    return figure
