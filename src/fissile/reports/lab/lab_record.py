"""A laboratory as its folder tells it: which arms and seeds were asked for, and what became of each run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fissile.reports.run_lines import LoggedStep, StageReport


class RunState(StrEnum):
    """What became of a run; the value is the word on the page."""

    FINISHED = "finished"
    FAILED = "failed"
    UNFINISHED = "not finished"
    UNREADABLE = "not readable"
    MISSING = "not started"


@dataclass(frozen=True, slots=True)
class LabRun:
    """One seed of an arm. All but the first three fields are empty unless it is finished.

    Attributes:
        seed: of the run.
        state: what became of it.
        reason: why it is not finished; "" where it is.
        final: the evaluation of the trained policy; of the starting policy where nothing was trained.
        checkpoints: optimizer step to the evaluation made there.
        steps: one for each optimizer step, in order.
        spent: rollouts, context_tokens and sampled_tokens of the training.
        budgets: what the training was to spend, "rollouts" and "tokens", as far as it was limited.
        ended_by: the limit that ended the training ("steps", "rollouts", "tokens"), or "patience"; "" where it is not
            known or nothing was trained.
        stopped: why it stopped early; "" where it did not.
        feedback: what became of the diagnoses of the training, as `fissile.feedback.Diagnoser.report` gives it.
        seconds: phase to seconds.
        rollouts_per_step: of an explore step.
    """

    seed: int
    state: RunState
    reason: str = ""
    final: StageReport | None = None
    checkpoints: Mapping[int, StageReport] | None = None
    steps: tuple[LoggedStep, ...] = ()
    spent: Mapping[str, float] | None = None
    budgets: Mapping[str, int] = field(default_factory=dict)
    ended_by: str = ""
    stopped: str = ""
    feedback: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] | None = None
    rollouts_per_step: int = 1

    def count(self, metric: str) -> tuple[int, int] | None:
        """(numerator, denominator) of a metric of the final evaluation; None where it has none."""
        ratio = None if self.final is None else self.final.ratios.get(metric)
        return None if ratio is None else (ratio.num, ratio.den)

    def rate(self, metric: str) -> float | None:
        """A metric of the final evaluation; None where nothing was counted."""
        count = self.count(metric)
        return None if count is None or not count[1] else count[0] / count[1]


@dataclass(frozen=True, slots=True)
class Arm:
    """What is compared: one configuration, a run for each seed.

    Attributes:
        name: its key in the specification.
        label: its name on the page.
        group: "" for an arm of the comparison itself; otherwise the group of variations that it belongs to.
        match: name of the arm whose tokens it was to spend; "" for none.
        reference: the arm that a variation is compared with.
        runs: one for each seed that was asked for, whatever became of it.
    """

    name: str
    label: str
    group: str
    match: str
    reference: str
    runs: tuple[LabRun, ...]

    @property
    def finished(self) -> tuple[LabRun, ...]:
        """The runs that count."""
        return tuple(run for run in self.runs if run.state is RunState.FINISHED)

    @property
    def lost(self) -> tuple[LabRun, ...]:
        """The runs that do not count."""
        return tuple(run for run in self.runs if run.state is not RunState.FINISHED)


@dataclass(frozen=True, slots=True)
class Lab:
    """A laboratory.

    Attributes:
        name: of the folder.
        title: of the specification.
        command: that made it.
        baseline: name of the arm that the others are compared with.
        order: names of arms, the worst first, as a paper claims them.
        arms: in the order of the specification, variations included.
        has_start: every arm starts from a policy that the laboratory trained itself.
        draws_worlds: a seed draws other tools and tasks, not only other samples.
        provenance: fingerprint, versions, commit, date and hardware, and those of parts that were made earlier.
        unasked: arm and seed of the runs in the folder that the specification does not have.
    """

    name: str
    title: str
    command: str
    baseline: str
    order: tuple[str, ...]
    arms: tuple[Arm, ...]
    has_start: bool
    draws_worlds: bool
    provenance: Mapping[str, Any]
    unasked: tuple[tuple[str, int], ...] = ()

    @property
    def main(self) -> tuple[Arm, ...]:
        """The arms of the comparison itself."""
        return tuple(arm for arm in self.arms if not arm.group)

    @property
    def variations(self) -> Mapping[str, tuple[Arm, ...]]:
        """Group to its arms."""
        groups = dict.fromkeys(arm.group for arm in self.arms if arm.group)
        return {group: tuple(arm for arm in self.arms if arm.group == group) for group in groups}

    def find(self, name: str) -> Arm | None:
        """The arm of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)


def last_spent(steps: Iterable[LoggedStep]) -> dict[str, float]:
    """What the last of some steps that sampled anything logged as spent since the beginning; empty where none did."""
    logged: dict[str, float] = {}
    for step in steps:
        logged.update((key, count) for key, count in step.figures.items() if key.startswith("spent/"))
    return {key.removeprefix("spent/"): count for key, count in logged.items()}
