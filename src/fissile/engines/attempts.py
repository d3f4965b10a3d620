"""Contexts in, judged rollouts out: the place where an engine, a chat format and an environment meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fissile.corrections.context import Context
from fissile.dialects import ChatFormat
from fissile.engines.base import Engine, Sampling, complete
from fissile.environments import SingleStep
from fissile.rollouts import Completion, End, Rollout, Step, StopReason
from fissile.tasks import Task


class Sampler(Protocol):
    """Samples rollouts from contexts: `Attempter` for single-step tasks, `LiveSampler` for live worlds."""

    @property
    def chat(self) -> ChatFormat:
        """How conversations are written as tokens."""
        ...

    def context(self, task: Task) -> Context:
        """The explore context of a task."""
        ...

    def extend(self, step: Step, feedback: str) -> tuple[int, ...]:
        """Token ids of the corrective context [x; failed attempt; feedback]: appended, never tokenised again."""
        ...

    def sample(
        self, engine: Engine, contexts: Sequence[Context], sampling: Sampling, samples: int = 1
    ) -> list[Rollout]:
        """`samples` judged rollouts from each context, in order.

        When the engine fails as a whole, every rollout carries `StopReason.INFRASTRUCTURE`: it is data, not a crash.
        """
        ...


@dataclass(frozen=True)
class Attempter:
    """The `Sampler` of single-step tasks: one response, judged against the truth."""

    chat: ChatFormat
    environment: SingleStep

    def context(self, task: Task) -> Context:
        """See `Sampler`."""
        return Context(task, self.chat.prompt_ids(task.messages, task.tools))

    def extend(self, step: Step, feedback: str) -> tuple[int, ...]:
        """See `Sampler`."""
        return extended(self.chat, step, feedback)

    def sample(
        self, engine: Engine, contexts: Sequence[Context], sampling: Sampling, samples: int = 1
    ) -> list[Rollout]:
        """See `Sampler`."""
        completions = complete(engine, [context.prompt_ids for context in contexts], sampling, samples)
        repeated = [context for context in contexts for _ in range(samples)]
        return [_rollout(self.judge(*pair)) for pair in zip(repeated, completions, strict=True)]

    def judge(self, context: Context, completion: Completion) -> Step:
        """Decode, parse and judge one completion."""
        text = self.chat.decode(completion.ids)
        truncated = completion.stop is StopReason.LENGTH
        return Step(context, completion, self.environment.attempt(context.task, text, truncated))


def extended(chat: ChatFormat, step: Step, feedback: str) -> tuple[int, ...]:
    """The ids of a step's context, its completion and a feedback turn."""
    return chat.follow(step.context.prompt_ids, step.completion.ids, [feedback])


def _rollout(step: Step) -> Rollout:
    failed = step.completion.stop is StopReason.INFRASTRUCTURE
    return Rollout((step,), End.INFRASTRUCTURE if failed else End.DONE)
