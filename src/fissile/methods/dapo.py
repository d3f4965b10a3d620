"""DAPO's dynamic sampling: groups that teach nothing give way to those of other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from fissile.methods.base import Batch, Draw, Method, MethodSettings, Phase, Report, Sample, Scored

SILENT = 1e-9
"""Rewards that differ by less are the same."""


class DAPOSettings(MethodSettings):
    """The knob of dynamic sampling. Clip and loss are the training's: epsilon_high = 0.28 and loss_type = 'dapo'."""

    refills: int = Field(
        default=2,
        ge=0,
        description="Groups of an explore step that all earn the same are replaced by groups of other tasks, so many "
        "times at most.",
    )


class DAPO(Method):
    r"""GRPO on the groups with a signal (Yu et al., arXiv 2503.14476, section 3.2).

    A step learns from the groups with $0 < |\{i : R_i = \max R\}| < G$. Where the rewards of a group are all the same,
    another task is sampled in its place; the paper goes on until the step is full, here after `refills` rounds or with
    the last task what is silent stays.
    """

    name = "dapo"
    title = "DAPO"
    about = "It was trained with GRPO on groups with a signal (dynamic sampling), without fission."
    Settings = DAPOSettings
    settings: DAPOSettings

    _refilled: int | None = None

    def revise(self, batch: Batch, sample: Sample) -> Batch:
        """The groups with a signal."""
        return refilled(batch, sample, self.host.draw, self.settings.refills)

    def observe(self, batch: Batch, step: int) -> None:
        """Count what gave way."""
        self._refilled = len(batch.discarded)

    def report(self) -> Report:
        """How many groups gave way."""
        return {} if self._refilled is None else {"explore/refilled": float(self._refilled)}


def refilled(batch: Batch, sample: Sample, draw: Draw, rounds: int) -> Batch:
    """Dynamic sampling: silent groups give way to those of other tasks. No task comes twice in a step.

    A group is silent when the composite reward is the same for all of its rollouts.

    Args:
        batch: of a step; only an explore step is changed.
        sample: samples the groups that come.
        draw: gives their contexts.
        rounds: of replacing, at most; what is silent then stays, and so it does when the tasks are used up.
    """
    if batch.plan.phase is not Phase.EXPLORE:
        return batch
    contexts, groups, discarded = list(batch.plan.contexts), batch.groups, list(batch.discarded)
    for round_ in range(rounds):
        silent = [place for place, group in enumerate(groups) if is_silent(group)]
        seen = [*contexts, *(group[0].rollout.context for group in discarded)]
        drawn = draw(len(silent), f"refill/{batch.key}/{round_}", seen)
        if not drawn:
            break
        made = sample(replace(batch.plan, contexts=tuple(drawn)), f"refill-{round_}")
        for place, context, group in zip(silent, made.plan.contexts, made.groups, strict=False):  # the last may be few
            discarded.append(groups[place])
            contexts[place], groups[place] = context, group
    return batch.regrouped(contexts, groups, discarded)


def is_silent(group: Sequence[Scored]) -> bool:
    """True where the rewards of a group are all the same; not where none is known, which no other task would mend."""
    rewards = [entry.total for entry in group if entry.total is not None]
    return bool(rewards) and max(rewards) - min(rewards) < SILENT
