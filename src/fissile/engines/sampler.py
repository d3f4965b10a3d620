"""Contexts in, judged rollouts out: the place where an engine, a chat format and the tasks' worlds meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fissile.calls import ParsedResponse, ToolCall
from fissile.contexts import Context
from fissile.dialects import ChatFormat
from fissile.dialects.naming import refuse_unnameable
from fissile.engines.base import Engine, Sampling
from fissile.engines.driver import roll_out
from fissile.engines.token_policy import TokenPolicy, TokenWriter
from fissile.environments.base import EnvironmentMaker
from fissile.environments.worlds import make_environment
from fissile.rollouts import CLOSING, Completion, Limits, OpenRollout, Response, Rollout, Writer
from fissile.tasks import Task


@dataclass(frozen=True)
class Sampler:
    """Samples rollouts of tasks.

    Attributes:
        chat: how conversations are written as tokens.
        make_environment: gives each rollout its own world.
        limits: where a rollout is cut.
    """

    chat: ChatFormat
    make_environment: EnvironmentMaker = make_environment
    limits: Limits = field(default_factory=Limits)

    @property
    def writer(self) -> TokenWriter:
        """Writes the tokens."""
        return TokenWriter(self.chat)

    def context(self, task: Task) -> Context:
        """The explore context of a task: its first turns are demonstrated by the truth up to `task.start`."""
        rollout = OpenRollout(self.make_environment(task), self.writer)
        rollout.begin(task, self.demonstrate)
        assert rollout.context is not None  # without limits a demonstration does not end early
        return rollout.context

    def sample(
        self, engine: Engine, contexts: Sequence[Context], sampling: Sampling, samples: int = 1
    ) -> list[Rollout]:
        """`samples` judged rollouts from each context, in order. All go on in step: a round is one call of the engine.

        When the engine fails as a whole, every rollout carries `StopReason.INFRASTRUCTURE`: it is data, not a crash.
        """
        policy = TokenPolicy(self.chat, engine)
        rollouts = [self.resumed(context, policy) for context in contexts for _ in range(samples)]
        roll_out(policy, rollouts, sampling)
        return [rollout.record() for rollout in rollouts]

    def demonstrate(self, calls: Sequence[ToolCall], closing: str = CLOSING) -> Response:
        """The response that makes these calls; `closing` where there are none."""
        text = self.chat.dialect.render_calls(calls) if calls else closing
        return Response(text, ParsedResponse(tuple(calls)), Completion(self.chat.completion_ids(text)))

    def says(self, text: str, context: Context) -> Response:
        """The response of whoever says `text` in a context."""
        parsed = self.chat.dialect.parse(text, context.offered)
        return Response(text, parsed, Completion(self.chat.completion_ids(text)))

    def resumed(self, context: Context, writer: Writer | None = None) -> OpenRollout:
        """A rollout that goes on from a context, in a world of its own."""
        rollout = OpenRollout(self.make_environment(context.task), writer or self.writer, self.limits)
        rollout.resume(context)
        return rollout


def refuse_uncallable(chat: ChatFormat, tasks: Sequence[Task]) -> None:
    """Refuse tasks with tools that a dialect cannot call.

    Raises:
        DataError: there is one.
    """
    for task in tasks:
        revealed = (tool for turn in task.later for tool in turn.revealed)
        refuse_unnameable(chat.dialect, (*task.tools, *revealed))
