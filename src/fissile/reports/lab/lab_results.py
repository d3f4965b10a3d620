"""Every aggregated figure of a laboratory: arms, paired differences, the claimed order, and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fissile.reports.definitions import METRICS, Metric
from fissile.reports.lab.curve_figure import CurveFigure
from fissile.reports.lab.held_out import held_out_figures
from fissile.reports.lab.lab_record import Arm, Lab, LabRun
from fissile.reports.lab.training_steps import training_figures
from fissile.serial import to_json
from fissile.statistics import Estimate, Ratio, mean_over_seeds, ratio_over_seeds, sign_flip_p

_BY_KEY = {metric.key: metric for metric in METRICS}

FIGURES = tuple(
    _BY_KEY[key]
    for key in (
        "recovery_rate",
        "final_accuracy",
        "first_attempt_accuracy",
        "next_attempt_recovery_rate",
        "repeat_rate",
        "calls_per_task",
    )
)
"""The metrics of the tables, in their order."""

COMPARED = FIGURES[:5]
"""The metrics whose differences are told: shares, in points."""

COSTS: Mapping[str, Callable[[LabRun], float | None]] = {
    "steps": lambda run: float(len(run.steps)),
    "rollouts": lambda run: (run.spent or {}).get("rollouts"),
    "context_tokens": lambda run: (run.spent or {}).get("context_tokens"),
    "sampled_tokens": lambda run: (run.spent or {}).get("sampled_tokens"),
    "training_seconds": lambda run: _seconds(run, evaluations=False),
    "evaluation_seconds": lambda run: _seconds(run, evaluations=True),
}
"""What a run cost; None where the run did not count it."""


@dataclass(frozen=True, slots=True)
class ArmResults:
    """The figures of an arm.

    Attributes:
        arm: with its runs.
        ratios: metric to counts summed over the finished seeds.
        costs: name to the mean of a run; absent where no run counted it.
    """

    arm: Arm
    ratios: Mapping[str, Ratio]
    costs: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "label": self.arm.label,
            "group": self.arm.group,
            "wanted": len(self.arm.runs),
            "seeds": [run.seed for run in self.arm.finished],
            "lost": {str(run.seed): f"{run.state.value}: {run.reason}" for run in self.arm.lost},
            **{key: to_json(ratio) for key, ratio in self.ratios.items()},
            "by_seed": {
                str(run.seed): {key: run.count(key) for key in self.ratios if run.count(key) is not None}
                for run in self.arm.finished
            },
            "costs": {name: to_json(cost) for name, cost in self.costs.items()},
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm minus another, paired by seed.

    Attributes:
        arm: name.
        reference: name of the arm that is subtracted.
        metric: key.
        by_seed: seed to the difference of the rates, of the seeds that both have.
        mean: over those seeds; None where there is none.
        p: of the exact sign-flip test; None where it cannot be had.
    """

    arm: str
    reference: str
    metric: str
    by_seed: Mapping[int, float]
    mean: Estimate | None
    p: float | None

    @property
    def positive(self) -> int:
        """Seeds in which the arm's rate is the higher one."""
        return sum(value > 0 for value in self.by_seed.values())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "arm": self.arm,
            "reference": self.reference,
            "metric": self.metric,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "mean": None if self.mean is None else to_json(self.mean),
            "excludes_zero": self.mean is not None and self.mean.excludes_zero,
            "positive": self.positive,
            "p": self.p,
        }


@dataclass(frozen=True, slots=True)
class ArmOrder:
    """Whether the arms come in the claimed order by one metric.

    Attributes:
        metric: of the comparison; where lower is better, the order falls.
        steps: each arm minus the one before it.
    """

    metric: Metric
    steps: tuple[Difference, ...]

    @property
    def holds(self) -> bool | None:
        """True when every step goes the right way in the mean; None where a step has no common seed."""
        gains = [self.gain(step) for step in self.steps]
        if any(gain is not None and gain <= 0 for gain in gains):
            return False
        return None if None in gains else True

    def gain(self, step: Difference) -> float | None:
        """The mean of a step, positive where it is for the better; None without a common seed."""
        if step.mean is None:
            return None
        return -step.mean.value if self.metric.better == "lower" else step.mean.value

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "metric": self.metric.key,
            "holds": self.holds,
            "steps": [step.to_dict() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class LabResults:
    """The figures of a laboratory. `to_dict` is what `results.json` holds."""

    lab: Lab
    arms: Mapping[str, ArmResults]
    differences: tuple[Difference, ...]
    variations: tuple[Difference, ...]
    order: tuple[ArmOrder, ...]
    curves: Mapping[str, CurveFigure]

    def difference(self, arm: str, metric: str) -> Difference | None:
        """An arm minus its reference: the baseline, or what a variation varies."""
        both = (*self.differences, *self.variations)
        return next((held for held in both if (held.arm, held.metric) == (arm, metric)), None)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; rates are shares of 1, and so are their differences."""
        return {
            "title": self.lab.title,
            "command": self.lab.command,
            **self.lab.provenance,
            "baseline": self.lab.baseline,
            "arms": {name: arm.to_dict() for name, arm in self.arms.items()},
            "differences": [difference.to_dict() for difference in self.differences],
            "variations": [difference.to_dict() for difference in self.variations],
            "order": [order.to_dict() for order in self.order],
            "curves": {name: to_json(figure) for name, figure in self.curves.items()},
        }


def lab_results(lab: Lab) -> LabResults:
    """Aggregate what the finished runs left."""
    baseline = lab.find(lab.baseline)
    others = [arm for arm in lab.main if baseline is not None and arm is not baseline]
    compared = [(arm, lab.find(arm.reference)) for group in lab.variations.values() for arm in group]
    ordered = [arm for name in lab.order if (arm := lab.find(name)) is not None]
    return LabResults(
        lab=lab,
        arms={arm.name: arm_results(arm) for arm in lab.arms},
        differences=_differences([(arm, baseline) for arm in others]),
        variations=_differences([(arm, reference) for arm, reference in compared if arm is not reference]),
        order=tuple(_order(metric, ordered) for metric in COMPARED) if len(ordered) > 1 else (),
        curves=_curves(lab),
    )


def arm_results(arm: Arm) -> ArmResults:
    """Counts summed, and costs averaged, over the finished seeds."""
    ratios = {}
    for metric in FIGURES:
        counts = [count for run in arm.finished if (count := run.count(metric.key)) is not None]
        ratios[metric.key] = ratio_over_seeds(counts)
    costs = {}
    for name, cost in COSTS.items():
        values = [value for run in arm.finished if (value := cost(run)) is not None]
        if (mean := mean_over_seeds(values)) is not None:
            costs[name] = mean
    return ArmResults(arm, ratios, costs)


def paired_difference(arm: Arm, reference: Arm, metric: str) -> Difference:
    """The mean of the per-seed differences of two rates, over the seeds in which both have one."""
    before = {run.seed: run.rate(metric) for run in reference.finished}
    by_seed = {
        run.seed: rate - base
        for run in arm.finished
        if (rate := run.rate(metric)) is not None and (base := before.get(run.seed)) is not None
    }
    values = list(by_seed.values())
    return Difference(arm.name, reference.name, metric, by_seed, mean_over_seeds(values), sign_flip_p(values))


def _differences(pairs: Sequence[tuple[Arm, Arm | None]]) -> tuple[Difference, ...]:
    return tuple(
        paired_difference(arm, reference, metric.key)
        for arm, reference in pairs
        if reference is not None
        for metric in COMPARED
    )


def _order(metric: Metric, arms: Sequence[Arm]) -> ArmOrder:
    pairs = zip(arms[1:], arms, strict=False)
    return ArmOrder(metric, tuple(paired_difference(arm, before, metric.key) for arm, before in pairs))


def _curves(lab: Lab) -> dict[str, CurveFigure]:
    """The figures with at least one point, of the main arms that are trained."""
    trained = [arm for arm in lab.main if any(run.steps for run in arm.finished)]
    held_out = {name: figure for name, figure in held_out_figures(lab, trained) if figure.arms}
    training = training_figures(trained, with_accuracy=not held_out)
    return held_out | {name: figure for name, figure in training if figure.arms}


def _seconds(run: LabRun, evaluations: bool) -> float:
    phases = (run.seconds or {}).items()
    return sum(seconds for phase, seconds in phases if phase.startswith("evaluate") is evaluations)
