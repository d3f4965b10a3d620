"""`CorrectionPool`: corrections that were collected once, and are drawn again and again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fissile.corrections.correction import Correction
from fissile.corrections.store import COUNTS, Decision, admitted, no_counts
from fissile.errors import RunError
from fissile.serial import from_json, to_json


class CorrectionPool:
    """Keeps every distinct correction, whatever its age, and gives them in random order.

    Drawing is without replacement until each was drawn, then over again in another order; one draw never holds a
    correction twice. Deterministic: the same calls give the same answers.

    Attributes:
        counts: as those of `CorrectionBuffer`; nothing is evicted or stale, and what is drawn twice was used twice.

    Args:
        seed: of the order.
    """

    def __init__(self, seed: int = 0) -> None:
        self.counts = no_counts()
        self._kept: dict[str, Correction] = {}
        self._waiting: list[str] = []  # ids of this round, the next one last
        self._seed = seed
        self._rounds = 0

    def __len__(self) -> int:
        """Corrections kept."""
        return len(self._kept)

    def has_seen(self, identifier: str) -> bool:
        """True where `push` would refuse a correction of this id. Changes nothing."""
        return identifier in self._kept

    def admit(self, identifier: str) -> Decision:
        """Whether a correction of this id would be taken; counts the failure."""
        return admitted(identifier, self._kept, self.counts)

    def push(self, correction: Correction) -> Decision:
        """Keep a correction, unless its failure was seen before; its turn comes in the next round."""
        decision = self.admit(correction.id)
        if decision.kept:
            self.counts["leaked"] += bool(correction.leaked)
            self._kept[correction.id] = correction
        return decision

    def available(self, step: int) -> int:
        """Corrections that one draw can give. Changes nothing."""
        return len(self)

    def pop(self, n: int, step: int) -> list[Correction]:
        """Draw up to `n` different corrections; they stay in the pool."""
        drawn: dict[str, None] = {}
        while len(drawn) < min(n, len(self)):
            if not self._waiting:
                self._begin_round(last=drawn)
            drawn[self._waiting.pop()] = None
        self.counts["used"] += len(drawn)
        return [self._kept[identifier] for identifier in drawn]

    def state_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of everything that decides the future."""
        return {
            "held": [to_json(correction) for correction in self._kept.values()],
            "waiting": list(self._waiting),
            "rounds": self._rounds,
            "counts": dict(self.counts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            RunError: the state is not one of a pool.
        """
        try:
            held = [from_json(Correction, fields) for fields in state["held"]]
            kept = {correction.id: correction for correction in held}
            waiting, rounds = [str(identifier) for identifier in state["waiting"]], int(state["rounds"])
            counts = Counter({name: int(state["counts"][name]) for name in COUNTS})
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The checkpoint's pool of corrections cannot be read ({error!r}). Resume from another one."
            ) from error
        if not kept.keys() >= set(waiting):
            raise RunError("The checkpoint's pool of corrections misses some of them. Resume from another one.")
        self._kept, self._waiting, self._rounds, self.counts = kept, waiting, rounds, counts

    def _begin_round(self, last: Mapping[str, None]) -> None:
        """All of them in a new order; those that the draw at hand already holds come last."""
        order = list(self._kept)
        random.Random(f"{self._seed}/{self._rounds}").shuffle(order)
        self._rounds += 1
        self._waiting = sorted(order, key=lambda identifier: identifier not in last)
