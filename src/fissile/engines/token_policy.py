"""`TokenPolicy`: an engine and a chat format as a policy, token in and token out. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fissile.contexts import Context
from fissile.dialects import ChatFormat
from fissile.engines.announcements import announced
from fissile.engines.base import Engine, Sampling, complete
from fissile.engines.policy import Response
from fissile.rollouts import Completion
from fissile.tasks import Task, Turn


@dataclass(frozen=True)
class TokenWriter:
    """Writes contexts as tokens: they only grow at their end, and nothing is tokenised twice.

    Attributes:
        chat: the chat format of a tokenizer and a dialect.
    """

    chat: ChatFormat

    def open(self, task: Task) -> tuple[int, ...]:
        """The ids of a task's first messages, its tools and the generation prompt.

        Raises:
            ModelError: the chat template refuses the messages.
        """
        return self.chat.prompt_ids(task.messages, task.tools)

    def reply(self, completion: Completion, results: Sequence[str], turn: Turn | None = None) -> tuple[int, ...]:
        """The ids of the answers to a completion, up to where the next one begins.

        Tools that `turn` reveals are announced in the dialect before its first message.
        """
        messages = () if turn is None else announced(turn, self.chat.dialect)
        return self.chat.follow(completion.ids, results, messages)

    def completion(self, text: str) -> Completion:
        """The ids of a text and of the end of its turn."""
        return Completion(self.chat.completion_ids(text))


@dataclass(frozen=True)
class TokenPolicy(TokenWriter):
    """See `fissile.engines.policy.Policy`.

    Attributes:
        engine: samples the completions, all contexts of a call in one batch.
    """

    engine: Engine

    @property
    def concurrency(self) -> None:
        """All contexts at hand go to the engine in one call."""
        return

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        """One completion for each context, decoded and parsed.

        When the engine fails as a whole, every response has `StopReason.INFRASTRUCTURE`: it is data, not a crash.

        Raises:
            ModelError: a context leaves no room for a completion; the caller ends such rollouts before.
        """
        if not contexts:
            return []
        distinct, samples = _groups(contexts)
        completions = complete(self.engine, [context.prompt_ids for context in distinct], sampling, samples)
        return [self._read(*pair) for pair in zip(contexts, completions, strict=True)]

    def _read(self, context: Context, completion: Completion) -> Response:
        text = self.chat.decode(completion.ids)
        return Response(text, self.chat.dialect.parse(text, context.offered), completion)


def _groups(contexts: Sequence[Context]) -> tuple[Sequence[Context], int]:
    """The contexts as so many samples from each of fewer: an engine that is told so reads a prompt once."""
    size = next((index for index, context in enumerate(contexts) if context is not contexts[0]), len(contexts))
    firsts = contexts[::size]
    if len(contexts) % size or any(context is not firsts[index // size] for index, context in enumerate(contexts)):
        return contexts, 1
    return firsts, size
