"""The figures that a step logs about its rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fissile.methods import Phase, Plan, Scored
from fissile.methods.base import Report
from fissile.rollouts import End


def step_figures(plan: Plan, scored: Sequence[Scored]) -> dict[str, float]:
    """Log key to value: shares of rollouts or responses, means of the reward's parts, and counts of error kinds."""
    rollouts = [entry.rollout for entry in scored]
    attempts = [step.attempt for rollout in rollouts for step in rollout.steps]
    rewards = [entry.reward for entry in scored if entry.reward is not None]
    prefix = plan.phase.value
    figures = {
        "fission/is_fission": float(plan.phase is Phase.FISSION),
        f"{prefix}/correct": sum(rollout.correct for rollout in rollouts) / len(rollouts),
        f"{prefix}/truncated": sum(attempt.truncated for attempt in attempts) / len(attempts),
        f"{prefix}/infrastructure": float(len(scored) - len(rewards)),
    }
    if rewards:
        for part in ("fmt", "corr", "length"):
            figures[f"{prefix}/reward_{part}"] = sum(getattr(reward, part) for reward in rewards) / len(rewards)
    if plan.phase is Phase.FISSION:
        figures["fission/repeat"] = sum(rollout.repeats for rollout in rollouts) / len(rollouts)
    elif injected := sum(bool(context.depth) for context in plan.contexts):
        figures[f"{prefix}/injected"] = injected / len(plan.contexts)
    if not rollouts[0].judged_at_once:  # what is cut counts as wrong
        for end in (End.STEP_LIMIT, End.CONTEXT_LIMIT):
            figures[f"{prefix}/{end.value}"] = sum(rollout.end is end for rollout in rollouts) / len(rollouts)
        figures[f"{prefix}/silent_failures"] = float(sum(len(rollout.silent) for rollout in rollouts))
        figures[f"{prefix}/steps"] = len(attempts) / len(rollouts)
    kinds = Counter(kind.value for attempt in attempts for kind in attempt.error_kinds)
    return figures | {f"errors/{kind}": float(count) for kind, count in kinds.items()}


def log_report(log: Mapping[str, list[float]], report: Report) -> None:
    """Append the numbers of a report to what is logged of the step; its tables are for the end of the run."""
    for name, value in report.items():
        if isinstance(value, int | float):
            log[name].append(float(value))
