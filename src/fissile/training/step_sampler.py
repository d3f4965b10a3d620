"""The rollouts of a step: which contexts they begin in, what was sampled from them, and what it earned."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fissile.contexts import Context
from fissile.engines import Engine, Sampling
from fissile.engines.injection import Injector
from fissile.engines.sampler import Sampler
from fissile.methods import Phase, Plan, Scored
from fissile.rewards import RewardConfig, rollout_reward
from fissile.rollouts import CLOSING, Rollout
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
        groups = [rollouts[start : start + plan.samples] for start in range(0, len(rollouts), plan.samples)]
        return [
            Scored(
                rollout,
                rollout_reward(rollout, progress=progress, reference_length=length, config=self.reward),
            )
            for group in groups
            for length in [self._reference_length(group[0])]
            for rollout in group
        ]

    def _reference_length(self, rollout: Rollout) -> int:
        """Tokens of what the turn still needs, and of the closing words where a turn goes on behind its calls."""
        chat = self.sampler.chat
        left = chat.dialect.render_calls(rollout.context.goal.oracle_calls())
        closing = "" if rollout.judged_at_once else CLOSING
        return sum(len(chat.completion_ids(text)) for text in (left, closing) if text)
