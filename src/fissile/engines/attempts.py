"""Contexts in, judged attempts out: the one place where an engine, a chat format and an environment meet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from fissile.corrections.context import Context
from fissile.dialects import ChatFormat
from fissile.engines.base import Engine, Sampling
from fissile.environments import SingleStep
from fissile.errors import InfrastructureError
from fissile.rollouts import Completion, Rollout, StopReason
from fissile.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempter:
    """Samples attempts in contexts and has the environment judge them."""

    chat: ChatFormat
    environment: SingleStep

    def context(self, task: Task) -> Context:
        """The explore context of a task."""
        return Context(task, self.chat.prompt_ids(task.messages, task.tools))

    def extend(self, rollout: Rollout, feedback: str) -> tuple[int, ...]:
        """Token ids of the corrective context [x; failed attempt; feedback]: appended, never tokenised again."""
        completion = rollout.completion
        ended = bool(completion.ids) and completion.ids[-1] in self.chat.end_ids
        return (*rollout.context.prompt_ids, *completion.ids, *self.chat.feedback_ids(feedback, ended=ended))

    def sample(
        self, engine: Engine, contexts: Sequence[Context], sampling: Sampling, samples: int = 1
    ) -> list[Rollout]:
        """`samples` judged rollouts from each context, in order.

        When the engine fails as a whole, every rollout carries `StopReason.INFRASTRUCTURE`: it is data, not a crash.
        """
        try:
            completions = engine.generate([context.prompt_ids for context in contexts], sampling, samples)
        except InfrastructureError as error:
            logger.warning("No rollouts (%s): %s", error.reason, error)
            completions = [Completion((), None, StopReason.INFRASTRUCTURE)] * (len(contexts) * samples)
        repeated = [context for context in contexts for _ in range(samples)]
        return [self.judge(context, completion) for context, completion in zip(repeated, completions, strict=True)]

    def judge(self, context: Context, completion: Completion) -> Rollout:
        """Decode, parse and judge one completion."""
        text = self.chat.decode(completion.ids)
        truncated = completion.stop is StopReason.LENGTH
        return Rollout(context, completion, self.environment.attempt(context.task, text, truncated))
