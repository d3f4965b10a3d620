"""The rollouts of a step: which contexts they begin in, what was sampled from them, and what it earned."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fissile.corrections.context import Context
from fissile.engines import Engine, Sampling
from fissile.engines.attempts import Sampler
from fissile.engines.injection import Injector
from fissile.methods import Phase, Plan, Scored
from fissile.rewards import RewardConfig
from fissile.rollouts import CLOSING, remaining_goal, rollout_reward
from fissile.tasks import Task


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
    _reference_lengths: dict[str, int] = field(default_factory=dict)

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

    def _reference_length(self, context: Context) -> int:
        """Tokens of the right answer; in a live world of what its turn still needs, and of the closing words."""
        task, chat = context.task, self.sampler.chat
        if task.world is not None:
            left = chat.dialect.render_calls(remaining_goal(context).oracle_calls())
            return sum(len(chat.completion_ids(text)) for text in (left, CLOSING) if text)
        if task.id not in self._reference_lengths:
            text = chat.dialect.render_calls(task.oracle_calls())
            self._reference_lengths[task.id] = len(chat.completion_ids(text))
        return self._reference_lengths[task.id]
