"""Charts that set the stages of a run side by side: intervals, kinds of errors; and plain bars for counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fissile.reports.definitions import METRICS, Metric
from fissile.reports.run_lines import StageReport
from fissile.reports.svg import Scale, drawing, tag, ticks
from fissile.reports.wording import count_text, percent, plain, ratio_text, stage_title
from fissile.statistics import Ratio

WIDTH, ROW = 340, 26
LABEL, LONGEST_LABEL, VALUE = 100, 178, 66
"""Columns for the stage on the left, as it is short or long, and for the figure on the right, in px."""

CHARACTER = 6.1
"""Mean width of a label's character, in px."""

BAR_ROW = 18
KINDS_SHOWN = 9
"""Kinds of errors with bars; the table has them all."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished chart with its title, and what to look for."""

    title: str
    note: str
    drawing: Markup


def interval_charts(stages: Sequence[StageReport]) -> list[Comparison]:
    """A dot with whiskers for each stage, one chart for each share. Every axis begins at 0 and has its own end."""
    charts = []
    for metric in METRICS:
        rows = [(stage.stage, stage.ratios[metric.key]) for stage in stages if metric.key in stage.ratios]
        if metric.is_share and any(ratio.rate is not None for _, ratio in rows):
            note = f"{metric.better} is better" if metric.better else ""
            charts.append(Comparison(metric.title, note, _intervals(metric, rows)))
    return charts


def kind_charts(stages: Sequence[StageReport]) -> list[Comparison]:
    """For each kind of error, the share of first attempts that have it, by stage; one common scale."""
    attempts = {stage.stage: _first_attempts(stage) for stage in stages}
    shown = [stage for stage in stages if attempts[stage.stage]]
    shares = {
        kind: [
            (stage.stage, stage.kinds[kind].first_attempts if kind in stage.kinds else 0, attempts[stage.stage])
            for stage in shown
        ]
        for kind in dict.fromkeys(kind for stage in shown for kind in stage.kinds)
    }
    ranked = sorted(shares, key=lambda kind: -max(count / total for _, count, total in shares[kind]))
    largest = max((count / total for rows in shares.values() for _, count, total in rows), default=0.0)
    return [Comparison(plain(kind), "", _bars(plain(kind), shares[kind], largest)) for kind in ranked[:KINDS_SHOWN]]


def histogram(counts: Sequence[int], label: str, axis: str) -> Markup:
    """One bar for each index of `counts`, which holds how often the index occurred."""
    height, left, bottom, top = 150, 42, 34, 8
    y_ticks = [value for value in ticks(0, max(counts), 3) if value % 1 == 0]
    y = Scale(0, y_ticks[-1], height - bottom, top)
    slot = min(36.0, (WIDTH - left - 6) / len(counts))
    every = -(-len(counts) // 12)
    parts = [
        part
        for value in y_ticks
        for part in (
            tag("line", x1=left, x2=WIDTH - 6, y1=y(value), y2=y(value), class_="grid"),
            tag("text", f"{value:,.0f}", x=left - 6, y=y(value) + 3.5, class_="tick end"),
        )
    ]
    for index, count in enumerate(counts):
        middle = left + slot * (index + 0.5)
        bar = {"x": middle - slot * 0.38, "width": slot * 0.76, "y": y(count), "height": y(0) - y(count)}
        parts.append(tag("rect", tag("title", f"{index}: {count:,}"), class_="bar fission", **bar))
        if index % every == 0:
            parts.append(tag("text", str(index), x=middle, y=height - bottom + 14, class_="tick middle"))
    parts.append(tag("text", axis, x=left, y=height - 4, class_="tick"))
    return drawing(WIDTH, height, label, parts, class_="chart")


def meter(value: float, largest: float) -> Markup:
    """A thin bar beside a figure in a table; the figure itself stands in the table."""
    share = max(0.0, min(1.0, value / largest)) if largest > 0 else 0.0
    bar = tag("rect", x=0, y=2, width=80 * share, height=6, class_="bar")
    rail = tag("rect", x=0, y=2, width=80, height=6, class_="rail")
    return tag("svg", rail, bar, viewBox="0 0 80 10", class_="meter", aria_hidden="true")


def _first_attempts(stage: StageReport) -> int:
    accuracy = stage.ratios.get("first_attempt_accuracy")
    return accuracy.den if accuracy else 0


def _intervals(metric: Metric, rows: Sequence[tuple[str, Ratio]]) -> Markup:
    height = ROW * len(rows) + 24
    highest = max((ratio.high for _, ratio in rows if ratio.high is not None), default=1.0)
    x_ticks = [value for value in ticks(0, min(1.0, highest or 0.01), 3) if value <= 1]
    x_ticks = x_ticks if x_ticks[-1] >= min(1.0, highest) else [*x_ticks, 1.0]
    x = Scale(0, x_ticks[-1], _label_width([stage for stage, _ in rows]), WIDTH - VALUE - 8)
    parts = list(_share_axis(x, x_ticks, height))
    for index, (stage, ratio) in enumerate(rows):
        is_last = index == len(rows) - 1
        parts += _interval(stage, ratio, x, ROW * index + ROW / 2, is_last)
    label = f"{metric.title}: " + "; ".join(
        f"{stage_title(stage)} {ratio_text(ratio)} ({count_text(ratio)})" for stage, ratio in rows
    )
    return drawing(WIDTH, height, label, parts, class_="chart")


def _label_width(stages: Sequence[str]) -> float:
    longest = max((len(stage_title(stage)) for stage in stages), default=0)
    return min(LONGEST_LABEL, max(LABEL, CHARACTER * longest + 12))


def _share_axis(x: Scale, values: Sequence[float], height: float) -> Iterator[Markup]:
    for value in values:
        yield tag("line", x1=x(value), x2=x(value), y1=2, y2=height - 20, class_="grid")
        yield tag("text", f"{100 * value:.3g}%", x=x(value), y=height - 6, class_="tick middle")


def _interval(stage: str, ratio: Ratio, x: Scale, y: float, is_last: bool) -> Iterator[Markup]:
    strength = "last" if is_last else "before"
    yield tag("text", stage_title(stage), x=0, y=y + 4, class_=f"label {strength}")
    yield tag("text", ratio_text(ratio), x=WIDTH, y=y + 4, class_=f"label end {strength}")
    if ratio.rate is None or ratio.low is None or ratio.high is None:
        return
    yield tag("line", x1=x(ratio.low), x2=x(ratio.high), y1=y, y2=y, class_=f"whisker {strength}")
    for end in (ratio.low, ratio.high):
        yield tag("line", x1=x(end), x2=x(end), y1=y - 4, y2=y + 4, class_=f"whisker {strength}")
    hint = tag("title", f"{percent(ratio.rate)}, {percent(ratio.low)} to {percent(ratio.high)}, {count_text(ratio)}")
    yield tag("circle", hint, cx=x(ratio.rate), cy=y, r=4.5, class_=f"point {strength}")


def _bars(title: str, rows: Sequence[tuple[str, int, int]], largest: float) -> Markup:
    height = BAR_ROW * len(rows) + 4
    left = _label_width([stage for stage, _, _ in rows])
    x = Scale(0, largest or 1.0, left, WIDTH - VALUE)
    parts = []
    for index, (stage, count, total) in enumerate(rows):
        y = BAR_ROW * index + BAR_ROW / 2 + 2
        strength = "last" if index == len(rows) - 1 else "before"
        parts += [
            tag("text", stage_title(stage), x=0, y=y + 4, class_=f"label {strength}"),
            tag("rect", x=left, y=y - 5, width=x(count / total) - left, height=10, class_=f"bar {strength}"),
            tag("line", x1=left, x2=left, y1=y - 8, y2=y + 8, class_="axis"),
            tag("text", f"{count:,}/{total:,}", x=WIDTH, y=y + 4, class_=f"label end {strength}"),
        ]
    label = f"{title}: " + "; ".join(
        f"{stage_title(stage)} {count} of {total} first attempts" for stage, count, total in rows
    )
    return drawing(WIDTH, height, label, parts, class_="chart")
