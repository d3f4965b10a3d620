"""Interception: the failures of a step become corrections, each failure once in a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fissile.corrections.branch import Branching, Failed, failure_id
from fissile.corrections.buffer import CorrectionBuffer
from fissile.corrections.correction import Correction
from fissile.serial import to_json

logger = logging.getLogger(__name__)


class Interceptor:
    """Has failures diagnosed and their corrections kept; what was met before is counted only.

    Attributes:
        branching: makes the corrections.
        buffer: keeps them.
        room: tokens of the longest context that can be answered; None for no limit.
        journal: receives one record for each correction that is kept.
        too_long: ids of the failures whose corrective context nobody could answer.
    """

    def __init__(
        self,
        branching: Branching,
        buffer: CorrectionBuffer,
        room: int | None = None,
        journal: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        self.branching = branching
        self.buffer = buffer
        self.room = room
        self.journal = journal
        self.too_long: dict[str, None] = {}

    def intercept(self, failed: Sequence[Failed], step: int) -> None:
        """Turn failures into corrections; the source is asked once, for those that were not met before."""
        identifiers = [failure_id(one.context.task.id, one.context.dialogue, attempt) for one, attempt in failed]
        new: dict[str, Failed] = {}
        for identifier, one in zip(identifiers, failed, strict=True):
            if not (self.buffer.has_seen(identifier) or identifier in self.too_long):
                new.setdefault(identifier, one)
        made = {correction.id: correction for correction in self.branching.corrections(new, step)}
        for identifier in identifiers:
            if self.buffer.has_seen(identifier):
                self.buffer.admit(identifier)  # counts it
            elif identifier not in self.too_long:
                self._keep(made[identifier])

    @property
    def counts(self) -> dict[str, int]:
        """Those of the buffer, and of the failures that were too long for it, where there were any."""
        return {**self.buffer.counts, **({"too_long": len(self.too_long)} if self.too_long else {})}

    def state_dict(self) -> dict[str, Any]:
        """A JSON-ready dict: the buffer, and what is not asked for again."""
        return {"buffer": self.buffer.state_dict(), "too_long": list(self.too_long)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            RunError: it is not one.
        """
        self.buffer.load_state_dict(state["buffer"])
        self.too_long = dict.fromkeys(state["too_long"])

    def _keep(self, correction: Correction) -> None:
        if self.room is not None and correction.length > self.room:
            self._leave_out(correction)
            return
        self.buffer.push(correction)
        self.journal({"event": "intercepted", **to_json(correction)})

    def _leave_out(self, correction: Correction) -> None:
        """Count a failure whose corrective context nobody could answer; said the first time."""
        if not self.too_long:
            logger.warning(
                "A failure of task '%s' is left out: its corrective context has %d tokens, and at most %d leave the "
                "model room for an answer. Such failures are counted as corrections/too_long; lower "
                "tasks.max_prompt_tokens or training.max_new_tokens if there are many.",
                correction.task_id,
                correction.length,
                self.room,
            )
        self.too_long[correction.id] = None


def most_frequent(failed: Iterable[Failed], at_most: int) -> list[Failed]:
    """The first of each of the most frequent distinct failures; what was seen first wins a tie."""
    frequency: dict[str, int] = {}
    first: dict[str, Failed] = {}
    for one in failed:
        signature = one[1].signature
        frequency[signature] = frequency.get(signature, 0) + 1
        first.setdefault(signature, one)
    ranked = sorted(first, key=lambda signature: -frequency[signature])
    return [first[signature] for signature in ranked[:at_most]]
