"""The composite reward of a whole rollout: of one attempt, or of a turn in a live world."""

from __future__ import annotations

from dataclasses import replace

from fissile.errors import FORMAT_FAILURES
from fissile.rewards import Reward, RewardConfig, composite_reward
from fissile.rollouts.branch import remaining_goal
from fissile.rollouts.record import End, Rollout


def rollout_reward(rollout: Rollout, *, progress: float, reference_length: int, config: RewardConfig) -> Reward | None:
    """The reward; None where the engine failed.

    In a live world R_corr is 2 for a turn that the judge accepts: the state is that of the truth, and its results were
    seen. Otherwise its calls are compared with those that the turn still needed. R_fmt is 0 as soon as one response was
    malformed or cut, and R_len counts the tokens that the policy wrote. To try again must be worth it: R_len leaves out
    a failed response after which the policy called again, and R_corr a failed call of a function that it called again.
    Injected steps count nowhere.

    Args:
        rollout: from an explore or a corrective context.
        progress: share of the run that is done, in [0, 1].
        reference_length: tokens of the right answer.
        config: the constants.
    """
    if rollout.end is End.INFRASTRUCTURE:
        return None
    context = rollout.context
    live = context.task.world is not None
    return composite_reward(
        replace(rollout.outcome, calls=rollout.standing_calls) if live else rollout.outcome,
        remaining_goal(context) if live else context.task,
        progress=progress,
        completion_length=sum(len(step.completion.ids) for step in rollout.kept),
        reference_length=reference_length,
        config=config,
        parent=context.history[-1].attempt if context.history else None,
        first=rollout.attempt,
        malformed=any(not FORMAT_FAILURES.isdisjoint(step.attempt.error_kinds) for step in rollout.own),
    )
