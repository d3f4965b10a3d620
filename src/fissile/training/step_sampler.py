"""The groups of a step: which contexts they begin in, what was sampled from them, and what it earned."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fissile.contexts import Context
from fissile.engines import Engine, Sampling
from fissile.engines.injection import Injector
from fissile.engines.sampler import Sampler
from fissile.methods import Phase, Plan, Scored
from fissile.rewards import RewardConfig, rollout_reward
from fissile.rollouts import CLOSING
from fissile.tasks import Task

SampleGroups = Callable[[Plan, str], list[Scored]]
"""(plan, name of the draw) -> `plan.samples` rollouts from each of its contexts, in order."""


SILENT = 1e-9
"""Rewards that differ by less are the same."""


@dataclass(frozen=True)
class Sampled:
    """What came of a plan.

    Attributes:
        plan: with the contexts that are learned from.
        scored: their rollouts, in order.
        discarded: groups that others took the place of, each with its context, in order.
    """

    plan: Plan
    scored: list[Scored]
    discarded: tuple[tuple[Context, Sequence[Scored]], ...] = ()

    @property
    def observed(self) -> tuple[Plan, list[Scored]]:
        """Plan and rollouts as a method observes them: the discarded groups too, last and so the newest."""
        contexts = (*self.plan.contexts, *(context for context, _ in self.discarded))
        rollouts = [*self.scored, *(entry for _, group in self.discarded for entry in group)]
        return replace(self.plan, contexts=contexts), rollouts


@dataclass
class StepSampler:
    """Samples and rewards the rollouts of a training.

    Attributes:
        sampler: makes contexts and continues them.
        tasks: the training tasks by their ids.
        reward: constants of the composite reward.
        injector: forces failures in explore contexts of training; None for none.
    """

    sampler: Sampler
    tasks: Mapping[str, Task]
    reward: RewardConfig
    injector: Injector | None = None
    _contexts: dict[str, Context] = field(default_factory=dict)

    def context(self, task: Task) -> Context:
        """The explore context of a task, made once."""
        if task.id not in self._contexts:
            self._contexts[task.id] = self.sampler.context(task)
        return self._contexts[task.id]

    def injected(self, plan: Plan, step: int) -> Plan:
        """The plan with forced failures in its explore contexts."""
        if self.injector is None or plan.phase is not Phase.EXPLORE:
            return plan
        return replace(plan, contexts=tuple(self.injector.inject(plan.contexts, step)))

    def draw(self, count: int, key: str, without: Sequence[Context] = ()) -> list[Context]:
        """Explore contexts of up to `count` tasks other than those of `without`, the same for the same key."""
        taken = {context.task.id for context in without}
        others = [task for task in self.tasks.values() if task.id not in taken]
        return [self.context(task) for task in random.Random(key).sample(others, min(count, len(others)))]

    def sample(self, engine: Engine, plan: Plan, sampling: Sampling, progress: float) -> list[Scored]:
        """The rollouts of a plan with their rewards.

        Args:
            engine: who samples.
            plan: the groups.
            sampling: of every response.
            progress: share of the run that is done, in [0, 1].
        """
        rollouts = self.sampler.sample(engine, plan.contexts, sampling, plan.samples)
        return [
            Scored(
                rollout,
                rollout_reward(
                    rollout,
                    progress=progress,
                    reference_length=self._reference_length(rollout.context),
                    config=self.reward,
                ),
            )
            for rollout in rollouts
        ]

    def refilled(self, sampled: Sampled, rounds: int, step: int, key: str, sample: SampleGroups) -> Sampled:
        """Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): silent groups give way to those of other tasks.

        A group is silent when the composite reward is the same for all of its rollouts. No task comes twice in a step.

        Args:
            sampled: the groups of an explore step.
            rounds: of replacing, at most; what is silent then stays, and so it does when the tasks are used up.
            step: the optimizer step.
            key: the same for the same step of the same run: it decides which tasks come.
            sample: samples the groups that come.
        """
        plan = sampled.plan
        contexts, groups = list(plan.contexts), plan.groups(sampled.scored)
        discarded: list[tuple[Context, Sequence[Scored]]] = []
        for round_ in range(rounds):
            silent = [place for place, group in enumerate(groups) if is_silent(group)]
            seen = [*contexts, *(context for context, _ in discarded)]
            drawn = self.draw(len(silent), f"{key}/{round_}", seen)
            if not drawn:
                break
            coming = self.injected(replace(plan, contexts=tuple(drawn)), step)
            made = coming.groups(sample(coming, f"refill-{round_}"))
            for place, context, group in zip(silent, coming.contexts, made, strict=False):  # the last tasks may be few
                discarded.append((contexts[place], groups[place]))
                contexts[place], groups[place] = context, group
        kept = [entry for group in groups for entry in group]
        return Sampled(replace(plan, contexts=tuple(contexts)), kept, tuple(discarded))

    def _reference_length(self, context: Context) -> int:
        """Tokens of what the turn still needs, and of the closing words where a turn goes on behind its calls."""
        chat = self.sampler.chat
        left = chat.dialect.render_calls(context.goal.oracle_calls())
        closing = "" if self.sampler.make_environment(context.task).judges_at_once else CLOSING
        return sum(len(chat.completion_ids(text)) for text in (left, closing) if text)


def is_silent(group: Sequence[Scored]) -> bool:
    """True where the rewards of a group are all the same; not where none is known, which no other task would mend."""
    rewards = [entry.reward.total for entry in group if entry.reward is not None]
    return bool(rewards) and max(rewards) - min(rewards) < SILENT
