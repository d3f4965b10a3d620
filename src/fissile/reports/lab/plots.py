"""The plots of a laboratory by the name of their file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from fissile.reports.lab.forest import FIRST, SECOND, Bar, costs, forest
from fissile.reports.lab.multiples import multiples
from fissile.reports.lab.record import Arm
from fissile.reports.lab.results import COMPARED, ArmResults, LabResults

DRAWN = COMPARED[:3]
"""Metrics of the forest plots."""


def lab_plots(results: LabResults) -> dict[str, Markup]:
    """Name without suffix to plot, in the order of the page; a plot without anything to show is left out."""
    return dict(_plots(results))


def _plots(results: LabResults) -> Iterator[tuple[str, Markup]]:
    lab = results.lab
    baseline = lab.find(lab.baseline)
    compared = [arm for arm in lab.main if arm is not baseline and arm.finished]
    if baseline is not None and baseline.finished and compared:
        yield "differences", _forest(results, f"Differences to {baseline.label}", compared)
    varied = [arm for arms in lab.variations.values() for arm in arms if results.difference(arm.name, DRAWN[0].key)]
    if varied:
        yield "variations", _forest(results, "Differences of the variations to their references", varied)
    for figure in results.curves:
        yield figure.name, multiples(figure)
    paid = [held for held in results.arms.values() if not held.arm.group and _has_cost(held)]
    if paid:
        yield "costs", _costs(paid)


def _forest(results: LabResults, title: str, arms: Sequence[Arm]) -> Markup:
    rows = []
    for arm in arms:
        held = [results.difference(arm.name, metric.key) for metric in DRAWN]
        rows.append((arm.label, [None if one is None else one.mean for one in held]))
    note = "points, paired by seed, 95 % intervals over seeds; filled where the interval excludes 0"
    return forest(title, note, [metric.title for metric in DRAWN], rows)


def _has_cost(results: ArmResults) -> bool:
    return any(cost.value for name, cost in results.costs.items() if name != "evaluation_seconds")


def _costs(arms: Sequence[ArmResults]) -> Markup:
    tokens = ("context_tokens", "sampled_tokens")
    seconds = ("training_seconds", "evaluation_seconds")
    note = "means of a run; tokens: contexts (blue), then samples (orange); seconds: training, then evaluations"
    return costs(
        "What a run cost",
        note,
        [("Tokens of the training", _bars(arms, tokens)), ("Seconds", _bars(arms, seconds))],
    )


def _bars(arms: Sequence[ArmResults], names: Sequence[str]) -> list[Bar]:
    return [
        Bar(
            held.arm.label,
            tuple(
                (colour, held.costs[name].value)
                for name, colour in zip(names, (FIRST, SECOND), strict=True)
                if name in held.costs
            ),
        )
        for held in arms
    ]
