"""`Correction`: an intercepted failure with its feedback, ready to be recovered from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fissile.calls import FailedTurn, canonical_json


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
    """

    task_id: str
    prompt_ids: tuple[int, ...]
    history: tuple[FailedTurn, ...]
    step: int
    source: str
    leaked: str = ""

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal failures: a hash of the task id and the history's signatures.

        Feedback, step and token ids do not enter, so that the same failure met again has the same id.
        """
        key = canonical_json([self.task_id, *(turn.attempt.signature for turn in self.history)])
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
            "history": [turn.to_dict() for turn in self.history],
            "step": self.step,
            "source": self.source,
            "leaked": self.leaked,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Correction:
        """The inverse of `to_dict`."""
        return cls(
            task_id=fields["task_id"],
            prompt_ids=tuple(fields["prompt_ids"]),
            history=tuple(FailedTurn.from_dict(turn) for turn in fields["history"]),
            step=fields["step"],
            source=fields["source"],
            leaked=fields["leaked"],
        )
