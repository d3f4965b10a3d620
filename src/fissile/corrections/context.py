"""The context that a policy continues; a corrective context extends its parent's.

Token in, token out: a context holds the exact token ids that the policy saw, and a corrective context extends
its parent's ids by the sampled completion and the ids of the feedback turn. Nothing is tokenised twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fissile.calls import JSON, FailedTurn, ToolCall
from fissile.serial import from_json, to_json
from fissile.tasks import Message, Task


@dataclass(frozen=True, slots=True)
class Exchange:
    """One response of the policy, and what it was answered.

    Attributes:
        text: the response as decoded.
        calls: its calls in order, malformed ones included.
        results: the tools' answers: one for each call, or a single diagnosis of the whole response.
        messages: the user's next scripted turn, where the response ended one.
        failed: the response was a failed attempt.
        provider: fields of the server's own that it wants back as they came, such as its reasoning and signatures:
            "message" of the assistant's message, "calls" of each call, in order. Empty where nothing was sent.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    results: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    failed: bool = False
    provider: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @property
    def ends_turn(self) -> bool:
        """True where the user's next turn follows: either the user speaks, or nobody answered the response."""
        return bool(self.messages) or not self.results

    @property
    def executed(self) -> tuple[ToolCall, ...]:
        """The calls whose effects are in the world, as far as can be told.

        None of a failed attempt of one call, and none of one with a diagnosis, before which the world was restored;
        those of a failed attempt of several, each with its answer: the ones that failed are among them.
        """
        undone = self.failed and not 1 < len(self.calls) == len(self.results)
        return () if undone else self.calls

    def to_dict(self) -> dict[str, JSON]:
        """A JSON-ready dict."""
        return {
            "text": self.text,
            "calls": [to_json(call) for call in self.calls],
            "results": list(self.results),
            "messages": list(self.messages),
            "failed": self.failed,
            **({"provider": dict(self.provider)} if self.provider else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Exchange:
        """The inverse of `to_dict`."""
        calls = tuple(from_json(ToolCall, call) for call in fields["calls"])
        results, messages = tuple(fields["results"]), tuple(fields["messages"])
        return cls(fields["text"], calls, results, messages, fields["failed"], fields.get("provider", {}))


def current_turn(exchanges: Sequence[Exchange]) -> tuple[Exchange, ...]:
    """Those of the scripted turn at hand: what was said since the last exchange that ended one."""
    start = max((index + 1 for index, exchange in enumerate(exchanges) if exchange.ends_turn), default=0)
    return tuple(exchanges[start:])


@dataclass(frozen=True, slots=True)
class Context:
    """What the policy is asked to continue.

    Attributes:
        task: the task.
        prompt_ids: every token before the next attempt; empty for a policy that reads messages.
        history: the failed attempts of the current turn inside `prompt_ids`, oldest first; empty for an explore
            context.
        turn: index of the scripted turn at hand.
        dialogue: what was said since the task's first messages, oldest first. Single-step contexts leave it out.
        state: the world's snapshot at this point; None in a single-step task.
    """

    task: Task
    prompt_ids: tuple[int, ...]
    history: tuple[FailedTurn, ...] = ()
    turn: int = 0
    dialogue: tuple[Exchange, ...] = ()
    state: JSON = None

    @property
    def depth(self) -> int:
        """Number of failed attempts of this turn in the context; 0 for exploring."""
        return len(self.history)
