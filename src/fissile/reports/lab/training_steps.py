"""What the training steps logged, in windows: the figures that tell why an arm learns, or does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from fissile.reports.lab.curve_figure import Banded, CurveFigure
from fissile.reports.lab.lab_record import Arm, LabRun
from fissile.reports.run_lines import LoggedStep
from fissile.reports.wording import plain, plural
from fissile.statistics import BAND_RESAMPLES, mean_over_seeds

WINDOWS = 20
"""The steps are averaged in about so many windows."""

KINDS = 5
"""Kinds of errors with a line of their own, the most frequent ones."""

EXPLORE, FISSION = "explore steps", "fission steps"

Read = Callable[[LabRun, LoggedStep], float | None]
"""A figure of a step; None where the step has none."""


def training_figures(arms: Sequence[Arm], with_accuracy: bool) -> Iterator[tuple[str, CurveFigure]]:
    """The figures over the steps by the names of their files, those without any point included.

    Args:
        arms: with at least one step.
        with_accuracy: begin with the accuracy in training, for runs that were not evaluated on the way.
    """
    window = _window(arms)
    for name, (title, is_share, reads) in _readings(arms).items():
        if name != "training_accuracy" or with_accuracy:
            panels = {arm.label: _lines(arm, reads, window) for arm in arms}
            kept = {label: lines for label, lines in panels.items() if lines}
            note = f"means in windows of {plural(window, 'step')}; 95 % band over seeds"
            yield name, CurveFigure(title, note, "optimizer steps", kept, is_share)


def _readings(arms: Sequence[Arm]) -> dict[str, tuple[str, bool, dict[str, Read]]]:
    """Of each figure: its title, whether it is of shares, and how its lines read a step."""
    kinds = {plain(key.removeprefix("errors/")): _errors(key) for key in _frequent_kinds(arms)}
    norms = {EXPLORE: _of("grad_norm", "explore"), FISSION: _of("grad_norm", "fission")}
    varied = {EXPLORE: _varied("explore"), FISSION: _varied("fission")}
    right = {EXPLORE: _of("explore/correct", "explore")}
    repeats = {FISSION: _of("fission/repeat", "fission")}
    ages = {FISSION: _of("fission/staleness", "fission")}
    return {
        "training_accuracy": ("Right rollouts in training", True, right),
        "informative_groups": ("Groups whose rewards vary: those that teach", True, varied),
        "gradient_norm": ("Gradient norm before clipping", False, norms),
        "repeats": ("Recoveries that are the failed call again", True, repeats),
        "error_kinds": ("Errors for each rollout of an explore step, by kind", False, kinds),
        "staleness": ("Age of the corrections when used, in steps", False, ages),
    }


def _lines(arm: Arm, reads: Mapping[str, Read], window: int) -> dict[str, tuple[Banded, ...]]:
    lines = {told: training_line(arm.finished, read, window) for told, read in reads.items()}
    return {told: line for told, line in lines.items() if line}


def training_line(runs: Sequence[LabRun], read: Read, window: int) -> tuple[Banded, ...]:
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
            points.append((middle, estimate.value, estimate.low, estimate.high))
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

    def share(run: LabRun, step: LoggedStep) -> float | None:
        none = silent(run, step)
        return None if none is None else 1 - none

    return share


def _errors(key: str) -> Read:
    """Errors of a kind for each rollout of an explore step; a kind that is not logged did not occur."""
    return lambda run, step: step.figures.get(key, 0.0) / run.rollouts_per_step if step.phase == "explore" else None


def _frequent_kinds(arms: Sequence[Arm]) -> list[str]:
    counts: Counter[str] = Counter()
    for step in (step for arm in arms for run in arm.finished for step in run.steps if step.phase == "explore"):
        for key, count in step.figures.items():
            if key.startswith("errors/"):
                counts[key] += int(count)
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:KINDS]]
