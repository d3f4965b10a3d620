"""Who answers in a conversation: a policy takes contexts and gives responses, as tokens or as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fissile.contexts import Context
from fissile.engines.base import Sampling
from fissile.rollouts import Completion, Response
from fissile.tasks import Task, Turn

__all__ = ["MessageReader", "Policy", "Response"]


class MessageReader:
    """The half of a `Policy` that reads messages: its contexts hold no tokens."""

    def open(self, task: Task) -> tuple[int, ...]:
        """Empty: messages are read, not tokens."""
        return ()

    def reply(self, completion: Completion, results: Sequence[str], turn: Turn | None = None) -> tuple[int, ...]:
        """Empty: messages are read, not tokens."""
        return ()

    def completion(self, text: str) -> Completion:
        """No tokens: text is all that there is."""
        return Completion(())


class Policy(Protocol):
    """Answers contexts. A policy over an `Engine` keeps token ids; one behind an endpoint reads messages.

    Attributes:
        concurrency: None where all contexts at hand are best given in one call (a local engine batches them);
            otherwise how many single-context calls may run at once, each in its own thread.
    """

    @property
    def concurrency(self) -> int | None: ...  # noqa: D102

    def open(self, task: Task) -> tuple[int, ...]:
        """Token ids of a task's first prompt; empty for a policy that reads messages."""
        ...

    def reply(self, completion: Completion, results: Sequence[str], turn: Turn | None = None) -> tuple[int, ...]:
        """Token ids of what is read behind a completion: the tools' answers, then the user's next turn.

        They follow what was read and written before, which is never tokenised again. Empty for a policy that reads
        messages. Not both of `results` and `turn` are empty.
        """
        ...

    def completion(self, text: str) -> Completion:
        """The completion of a response that says `text`, without log-probabilities; no ids where messages are read."""
        ...

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        """One response to each context. What could not be produced has `StopReason.INFRASTRUCTURE`; never raises for
        a single context's sake.
        """
        ...
