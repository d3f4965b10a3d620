"""The composite reward of an attempt and of a rollout, and its schedule.

Source: Fission-GRPO (arXiv 2601.15625); constants that it leaves open are ours.

R(tau, t) = 1/3 * [ w_fmt(t) * R_fmt + w_corr(t) * R_corr + R_len ]
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fissile.calls import Attempt
from fissile.environments.matching import argument_f1, match_calls
from fissile.errors import FORMAT_FAILURES
from fissile.rollouts import End, Rollout
from fissile.tasks import Task

Schedule = Literal["linear", "cosine", "constant"]
"""How a weight moves from its start to its end; a constant one stays at its start."""

_SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
    "constant": lambda _: 0.0,
}


class RewardConfig(BaseModel):
    """The constants of the reward."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.5, ge=0, le=1, description="Share of R_corr for calling the right functions.")
    format_weight_start: float = Field(default=2.0, ge=0, description="Weight of R_fmt at the start of the run.")
    format_weight_end: float = Field(default=1.0, ge=0, description="Weight of R_fmt at the end of the run.")
    correctness_weight_start: float = Field(default=1.0, ge=0, description="Weight of R_corr at the start of the run.")
    correctness_weight_end: float = Field(default=2.0, ge=0, description="Weight of R_corr at the end of the run.")
    schedule: Schedule = Field(default="linear", description="How the weights move from start to end.")
    length_flat_from: float = Field(
        default=0.5, ge=0, description="Start of the zone of full R_len, as a multiple of the reference length."
    )
    length_flat_to: float = Field(
        default=1.5, ge=0, description="End of the zone of full R_len, as a multiple of the reference length."
    )
    length_sigma: float = Field(
        default=0.5, gt=0, description="Width of R_len's Gaussian flanks, as a multiple of the reference length."
    )
    repeat_earns_nothing: bool = Field(
        default=False, description="In a recovery group an exact repeat of the failed calls has R_corr = 0."
    )

    recovery_credit: Literal["absolute", "improvement"] = Field(
        default="absolute",
        description="R_corr in a recovery group: the attempt's own, or only what it gains over the failed attempt. The "
        "paper's is 'absolute', where any changed call keeps the credit for its name.",
    )

    @model_validator(mode="after")
    def _flat_zone_is_a_zone(self) -> Self:
        if self.length_flat_from > self.length_flat_to:
            raise ValueError("length_flat_from must not exceed length_flat_to")
        return self

    def weights(self, progress: float) -> tuple[float, float]:
        """(w_fmt, w_corr) at a share of the run; shares outside [0, 1] are clipped."""
        moved = _SCHEDULES[self.schedule](min(max(progress, 0.0), 1.0))
        return (
            self.format_weight_start + (self.format_weight_end - self.format_weight_start) * moved,
            self.correctness_weight_start + (self.correctness_weight_end - self.correctness_weight_start) * moved,
        )


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward and its parts.

    Attributes:
        total: the weighted sum of the parts over 3.
        fmt: R_fmt, 0 or 1.
        corr: R_corr in [0, 2].
        length: R_len in [0, 1].
    """

    total: float
    fmt: float
    corr: float
    length: float


def composite_reward(
    attempt: Attempt,
    task: Task,
    *,
    progress: float,
    completion_length: int,
    reference_length: int,
    config: RewardConfig,
    parent: Attempt | None = None,
    first: Attempt | None = None,
    malformed: bool = False,
) -> Reward:
    """The reward of one judged attempt: a total in [0, (w_fmt + 2 w_corr + 1) / 3].

    Args:
        attempt: the attempt with its errors.
        task: its task.
        progress: share of the run that is done, in [0, 1].
        completion_length: tokens of the completion.
        reference_length: tokens of the right answer.
        config: the constants.
        parent: the failed attempt that this one should recover from; None when exploring.
        first: the response that may repeat the parent's, where `attempt` sums up several; by default `attempt`.
        malformed: R_fmt is 0 whatever `attempt` holds: one of the responses that it sums up was malformed.
    """
    fmt = float(not malformed and is_well_formatted(attempt, task))
    corr = correctness(attempt, task, config.alpha)
    if parent is not None:
        repeated = parent.signature == (first or attempt).signature
        corr = _recovery_correctness(corr, attempt, parent, task, config, repeated)
    length = length_reward(completion_length, reference_length, config)
    format_weight, correctness_weight = config.weights(progress)
    total = (format_weight * fmt + correctness_weight * corr + length) / 3
    return Reward(total, fmt, corr, length)


def _recovery_correctness(
    corr: float, attempt: Attempt, parent: Attempt, task: Task, config: RewardConfig, repeated: bool
) -> float:
    """R_corr of a recovery, in [0, 2].

    "improvement" is the share that was gained of what the parent lacked: 2 * max(0, R - R_parent) / (2 - R_parent).
    A right recovery has 2, whatever the parent had; one that is no better than its parent has 0.
    """
    if config.repeat_earns_nothing and repeated:
        return 0.0
    if config.recovery_credit == "absolute" or not attempt.failed:
        return corr
    before = correctness(parent, task, config.alpha)
    return 2 * max(0.0, corr - before) / (2 - before) if before < 2 else 0.0


def is_well_formatted(attempt: Attempt, task: Task) -> bool:
    """True when the response obeys its dialect: nothing malformed or cut off, and a call unless none is wanted."""
    calls_enough = not task.ground_truth or any(call.is_well_formed for call in attempt.calls)
    return calls_enough and FORMAT_FAILURES.isdisjoint(attempt.error_kinds)


def correctness(attempt: Attempt, task: Task, alpha: float = 0.5) -> float:
    """R_corr in [0, 2]: `2 * (alpha * 1[N = N*] + (1 - alpha) * mean F1(a, a*))`; exactly 2 for a right attempt.

    N is the multiset of the function names called. The mean of `argument_f1` over the matched pairs is taken with
    max(calls, expected calls) as denominator, so that an extra, missing or malformed call counts as a pair
    with F1 = 0. Where the judge found an error that the comparison does not see (a schema violation, an official
    verdict), the F1 term is 0: with alpha < 1 a failed attempt never earns as much as a right one.
    """
    if not attempt.failed:
        return 2.0
    expected = task.ground_truth
    pairs = match_calls(attempt.calls, expected, task.matching, task.tools).pairs
    f1 = sum(
        argument_f1(attempt.calls[call], expected[wanted], task.matching, task.tool(expected[wanted].name))
        for call, wanted in pairs
    )
    mean_f1 = f1 / max(len(attempt.calls), len(expected), 1)
    same_names = Counter(call.name for call in attempt.calls) == Counter(call.name for call in expected)
    return 2 * (alpha * same_names + (1 - alpha) * (mean_f1 if mean_f1 < 1 else 0.0))


def length_reward(length: int, reference: int, config: RewardConfig) -> float:
    """R_len in [0, 1]: 1 in a zone around the reference length, Gaussian flanks on both sides.

    Args:
        length: tokens of the completion.
        reference: tokens of the right answer; at least 1 is assumed.
        config: zone and width, as multiples of the reference.
    """
    ratio = length / max(reference, 1)
    outside = max(config.length_flat_from - ratio, ratio - config.length_flat_to, 0.0)
    return math.exp(-((outside / config.length_sigma) ** 2) / 2)


def rollout_reward(rollout: Rollout, *, progress: float, reference_length: int, config: RewardConfig) -> Reward | None:
    """The reward of a whole rollout; None where the engine failed.

    R_corr is 2 for a turn that the judge accepts: in a world with state, the state is that of the truth, and its
    results were seen. Otherwise its calls are compared with those that the turn still needed. R_fmt is 0 as soon as one
    response was malformed or cut, and R_len counts the tokens that the policy wrote. To try again must be worth it:
    R_len leaves out a failed response after which the policy called again, and R_corr a failed call of a function that
    it called again. Injected steps count nowhere.

    Args:
        rollout: from an explore or a corrective context.
        progress: share of the run that is done, in [0, 1].
        reference_length: tokens of the right answer.
        config: the constants.
    """
    if rollout.end is End.INFRASTRUCTURE:
        return None
    failed = rollout.context.history
    return composite_reward(
        replace(rollout.outcome, calls=rollout.standing_calls),
        rollout.context.goal,
        progress=progress,
        completion_length=sum(len(step.completion.ids) for step in rollout.kept),
        reference_length=reference_length,
        config=config,
        parent=failed[-1].attempt if failed else None,
        first=rollout.attempt,
        malformed=any(not FORMAT_FAILURES.isdisjoint(step.attempt.error_kinds) for step in rollout.own),
    )
