"""What the training steps logged, in windows: the figures that tell why an arm learns, or does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from fissile.reports.lab.bootstrap import BAND_RESAMPLES, mean_over_seeds
from fissile.reports.lab.curves import CurveFigure, Line, Point
from fissile.reports.lab.record import Arm, LabRun
from fissile.reports.records import Step
from fissile.reports.wording import plain, plural

WINDOWS = 20
"""The steps are averaged in about so many windows."""

KINDS = 5
"""Kinds of errors with a line of their own, the most frequent ones."""

EXPLORE, FISSION = "explore steps", "fission steps"

Read = Callable[[LabRun, Step], float | None]
"""A figure of a step; None where the step has none."""


def training_figures(arms: Sequence[Arm], with_accuracy: bool) -> Iterator[CurveFigure]:
    """The figures over the steps, those without any point included.

    Args:
        arms: with at least one step.
        with_accuracy: begin with the accuracy in training, for runs that were not evaluated on the way.
    """
    window = _window(arms)
    if with_accuracy:
        right = {EXPLORE: _of("explore/correct", "explore")}
        yield _figure("training_accuracy", "Right rollouts in training", arms, window, right, is_share=True)
    varied = {EXPLORE: _varied("explore"), FISSION: _varied("fission")}
    yield _figure("informative_groups", "Groups whose rewards vary: those that teach", arms, window, varied, True)
    norms = {EXPLORE: _of("grad_norm", "explore"), FISSION: _of("grad_norm", "fission")}
    yield _figure("gradient_norm", "Gradient norm before clipping", arms, window, norms)
    repeats = {FISSION: _of("fission/repeat", "fission")}
    yield _figure("repeats", "Recoveries that are the failed call again", arms, window, repeats, is_share=True)
    kinds = {plain(key.removeprefix("errors/")): _errors(key) for key in _frequent_kinds(arms)}
    yield _figure("error_kinds", "Errors for each rollout of an explore step, by kind", arms, window, kinds)
    stale = {FISSION: _of("fission/staleness", "fission")}
    yield _figure("staleness", "Age of the corrections when used, in steps", arms, window, stale)


def training_line(runs: Sequence[LabRun], read: Read, window: int) -> tuple[Point, ...]:
    """The mean over seeds of each seed's mean in windows of `window` steps, at the middle of the window.

    A seed without a value in a window is left out of that window.
    """
    means: dict[int, list[float]] = {}
    for run in runs:
        held: dict[int, list[float]] = {}
        for step in run.steps:
            if (figure := read(run, step)) is not None:
                held.setdefault((step.step - 1) // window, []).append(figure)
        for index, values in held.items():
            means.setdefault(index, []).append(math.fsum(values) / len(values))
    points = []
    for index in sorted(means):
        estimate = mean_over_seeds(means[index], BAND_RESAMPLES)
        if estimate is not None:
            middle = index * window + (window + 1) / 2
            points.append(Point(middle, estimate.value, estimate.low, estimate.high))
    return tuple(points)


def _window(arms: Sequence[Arm]) -> int:
    longest = max((run.steps[-1].step for arm in arms for run in arm.finished if run.steps), default=1)
    return max(1, math.ceil(longest / WINDOWS))


def _of(key: str, phase: str) -> Read:
    """A figure of the steps of one phase."""
    return lambda run, step: step.figures.get(key) if step.phase == phase else None


def _varied(phase: str) -> Read:
    """The share of groups with variance, in the steps of one phase."""
    silent = _of(f"{phase}/zero_variance_groups", phase)

    def share(run: LabRun, step: Step) -> float | None:
        none = silent(run, step)
        return None if none is None else 1 - none

    return share


def _errors(key: str) -> Read:
    """Errors of a kind for each rollout of an explore step; a kind that is not logged did not occur."""
    return lambda run, step: step.figures.get(key, 0.0) / run.rollouts_per_step if step.phase == "explore" else None


def _figure(
    name: str, title: str, arms: Sequence[Arm], window: int, reads: Mapping[str, Read], is_share: bool = False
) -> CurveFigure:
    panels = []
    for arm in arms:
        lines = (Line(told, training_line(arm.finished, read, window)) for told, read in reads.items())
        if kept := tuple(line for line in lines if line.points):
            panels.append((arm.label, kept))
    note = f"means in windows of {plural(window, 'step')}; 95 % band over seeds"
    return CurveFigure(name, title, note, "optimizer steps", is_share, tuple(panels))


def _frequent_kinds(arms: Sequence[Arm]) -> list[str]:
    counts: Counter[str] = Counter()
    for step in (step for arm in arms for run in arm.finished for step in run.steps if step.phase == "explore"):
        for key, count in step.figures.items():
            if key.startswith("errors/"):
                counts[key] += int(count)
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:KINDS]]
