"""`Correction`: an intercepted failure with its feedback, ready to be recovered from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fissile.calls import JSON, FailedTurn, canonical_json
from fissile.corrections.context import Context, Exchange, current_turn
from fissile.serial import from_json, to_json
from fissile.tasks import Task


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrective context [x; failed attempt; feedback] and where it came from.

    Attributes:
        task_id: the task x.
        prompt_ids: token ids of the whole corrective context, up to where the recovery begins.
        history: the failed turns inside `prompt_ids`, oldest first; the last one is the intercepted failure.
        step: the optimizer step at which it was intercepted.
        source: the feedback source.
        leaked: why the leak guard blocked the source's own text, "" if it did not.
        turn: index of the scripted turn in which it failed.
        dialogue: what was said since the task's first messages; empty for a single-step task.
        state: the world's snapshot before the failed attempt; None for a single-step task.
    """

    task_id: str
    prompt_ids: tuple[int, ...]
    history: tuple[FailedTurn, ...]
    step: int
    source: str
    leaked: str = ""
    turn: int = 0
    dialogue: tuple[Exchange, ...] = ()
    state: JSON = None

    @classmethod
    def of(cls, context: Context, step: int, source: str, leaked: str = "") -> Correction:
        """The correction whose recovery continues `context`."""
        return cls(
            context.task.id,
            context.prompt_ids,
            context.history,
            step,
            source,
            leaked,
            context.turn,
            context.dialogue,
            context.state,
        )

    def context(self, task: Task) -> Context:
        """What the policy continues to recover; `task` is the one of `task_id`."""
        return Context(task, self.prompt_ids, self.history, self.turn, self.dialogue, self.state)

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal failures: a hash of the task id and the history's signatures.

        Feedback, step and token ids do not enter, so that the same failure met again has the same id. In a live world
        it is the same failure only after the same calls in its turn.
        """
        before = [call.signature for exchange in current_turn(self.dialogue) for call in exchange.executed]
        failed = [turn.attempt.signature for turn in self.history]
        key = canonical_json([self.task_id, *failed, *([before] if before else [])])
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @property
    def depth(self) -> int:
        """Number of failed turns in the context."""
        return len(self.history)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict; the id is for the reader and is not read back."""
        return {
            "id": self.id,
            "task_id": self.task_id,
            "prompt_ids": list(self.prompt_ids),
            "history": [to_json(turn) for turn in self.history],
            "step": self.step,
            "source": self.source,
            "leaked": self.leaked,
            **({} if self.state is None else self._live_fields()),
        }

    def _live_fields(self) -> dict[str, Any]:
        dialogue = [exchange.to_dict() for exchange in self.dialogue]
        return {"turn": self.turn, "dialogue": dialogue, "state": self.state}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Correction:
        """The inverse of `to_dict`."""
        return cls(
            task_id=fields["task_id"],
            prompt_ids=tuple(fields["prompt_ids"]),
            history=tuple(from_json(FailedTurn, turn) for turn in fields["history"]),
            step=fields["step"],
            source=fields["source"],
            leaked=fields["leaked"],
            turn=fields.get("turn", 0),
            dialogue=tuple(Exchange.from_dict(exchange) for exchange in fields.get("dialogue", ())),
            state=fields.get("state"),
        )
