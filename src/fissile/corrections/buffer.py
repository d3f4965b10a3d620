"""`CorrectionBuffer`: intercepted failures wait here for fission.

Newest first and a staleness limit bound how far a correction lies behind the policy that recovers from it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fissile.corrections.correction import Correction
from fissile.errors import ConfigError, RunError
from fissile.serial import from_json, to_json

Order = Literal["lifo", "fifo", "random"]
"""Which correction leaves first: the newest, the oldest, or any."""

COUNTS = ("intercepted", "deduplicated", "evicted", "stale", "used", "leaked")
"""What becomes of failures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a correction, and why: "new", or "seen" for a failure that was offered before."""

    kept: bool
    reason: str


class CorrectionBuffer:
    """Holds at most `capacity` distinct corrections.

    A failure is taken once in a run: its id is remembered after it was used, evicted or found stale. When the buffer
    is full the oldest correction leaves, whatever the order. Deterministic: the same calls give the same answers.

    Attributes:
        counts: failures by what became of them. intercepted = deduplicated + evicted + stale + used + still held;
            leaked counts the intercepted ones whose own feedback the guard blocked.

    Args:
        capacity: corrections held at most; None for no limit.
        order: which one `pop` gives first.
        max_staleness: a correction made more than this many optimizer steps ago is dropped unused; None for no limit.
        seed: of the random order.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, capacity: int | None = 256, order: Order = "lifo", max_staleness: int | None = None, seed: int = 0
    ) -> None:
        if capacity is not None and capacity < 1:
            raise ConfigError(f"The correction buffer's capacity is {capacity}. Make it 1 or more.")
        if order not in get_args(Order):
            raise ConfigError(
                f"The correction buffer's order is '{order}'. Choose one of {', '.join(get_args(Order))}."
            )
        if max_staleness is not None and max_staleness < 0:
            raise ConfigError(f"max_staleness is {max_staleness}. Make it 0 or more, or leave it out for no limit.")
        self.capacity = capacity
        self.order = order
        self.max_staleness = max_staleness
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._held: list[Correction] = []  # oldest first
        self._seen: dict[str, None] = {}  # ids, in the order in which they were met
        self._rng = random.Random(seed)

    def __len__(self) -> int:
        """Corrections held, stale ones included."""
        return len(self._held)

    def has_seen(self, identifier: str) -> bool:
        """True where `push` would refuse a correction of this id. Changes nothing."""
        return identifier in self._seen

    def admit(self, identifier: str) -> Decision:
        """Whether a correction of this id would be taken; counts the failure."""
        self.counts["intercepted"] += 1
        if identifier in self._seen:
            self.counts["deduplicated"] += 1
            return Decision(False, "seen")
        return Decision(True, "new")

    def push(self, correction: Correction) -> Decision:
        """Take a correction, unless its failure was seen before in this run; counts the failure."""
        decision = self.admit(correction.id)
        if decision.kept:
            self.counts["leaked"] += bool(correction.leaked)
            self._seen[correction.id] = None
            if len(self._held) == self.capacity:
                del self._held[0]
                self.counts["evicted"] += 1
            self._held.append(correction)
        return decision

    def available(self, step: int) -> int:
        """Corrections that `pop` could give at this optimizer step. Changes nothing."""
        return sum(not self._is_stale(correction, step) for correction in self._held)

    def pop(self, n: int, step: int) -> list[Correction]:
        """Take out up to `n` corrections in the buffer's order, after dropping those that are stale at `step`."""
        fresh = [correction for correction in self._held if not self._is_stale(correction, step)]
        self.counts["stale"] += len(self._held) - len(fresh)
        self._held = fresh
        popped = [fresh.pop(self._next(len(fresh))) for _ in range(min(n, len(fresh)))]
        self.counts["used"] += len(popped)
        return popped

    def state_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of everything that decides the future, the random order's state included."""
        version, internal, gauss_next = self._rng.getstate()
        return {
            "held": [to_json(correction) for correction in self._held],
            "seen": list(self._seen),
            "counts": dict(self.counts),
            "rng": [version, list(internal), gauss_next],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, for a buffer of the same configuration.

        Raises:
            RunError: the state is not one of a correction buffer, or holds more than `capacity`.
        """
        try:
            held = [from_json(Correction, fields) for fields in state["held"]]
            seen = dict.fromkeys(state["seen"])
            counts = Counter({name: int(state["counts"][name]) for name in COUNTS})
            version, internal, gauss_next = state["rng"]
            self._rng.setstate((version, tuple(internal), gauss_next))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The checkpoint's corrections cannot be read ({error!r}). Resume from another one."
            ) from error
        if self.capacity is not None and len(held) > self.capacity:
            raise RunError(
                f"The checkpoint holds {len(held)} corrections, more than the capacity {self.capacity}. "
                f"Set the capacity to {len(held)} or more."
            )
        self._held, self._seen, self.counts = held, seen, counts

    def _next(self, size: int) -> int:
        """Index of the correction that leaves next among `size`, oldest first."""
        match self.order:
            case "lifo":
                return size - 1
            case "fifo":
                return 0
            case "random":
                return self._rng.randrange(size)

    def _is_stale(self, correction: Correction, step: int) -> bool:
        return self.max_staleness is not None and step - correction.step > self.max_staleness


class CorrectionPool(CorrectionBuffer):
    """Keeps every distinct correction, whatever its age, and gives them again and again, in random order.

    Drawing is without replacement until each was drawn, then over again in another order; one draw never holds a
    correction twice. Nothing is evicted or stale, and what is drawn twice was used twice.

    Args:
        seed: of the order.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(capacity=None)
        self._waiting: list[str] = []  # ids of this round, the next one last
        self._seed = seed
        self._rounds = 0

    def pop(self, n: int, step: int) -> list[Correction]:
        """Draw up to `n` different corrections; they stay in the pool."""
        drawn: dict[str, None] = {}
        while len(drawn) < min(n, len(self)):
            if not self._waiting:
                self._begin_round(last=drawn)
            drawn[self._waiting.pop()] = None
        self.counts["used"] += len(drawn)
        kept = {correction.id: correction for correction in self._held}
        return [kept[identifier] for identifier in drawn]

    def state_dict(self) -> dict[str, Any]:
        """See `CorrectionBuffer`."""
        return {**super().state_dict(), "waiting": list(self._waiting), "rounds": self._rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `CorrectionBuffer`."""
        super().load_state_dict(state)
        try:
            waiting, rounds = [str(identifier) for identifier in state["waiting"]], int(state["rounds"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"The checkpoint's pool cannot be read ({error!r}). Resume from another one.") from error
        if not {correction.id for correction in self._held} >= set(waiting):
            raise RunError("The checkpoint's pool of corrections misses some of them. Resume from another one.")
        self._waiting, self._rounds = waiting, rounds

    def _begin_round(self, last: Mapping[str, None]) -> None:
        """All of them in a new order; those that the draw at hand already holds come last."""
        order = [correction.id for correction in self._held]
        random.Random(f"{self._seed}/{self._rounds}").shuffle(order)
        self._rounds += 1
        self._waiting = sorted(order, key=lambda identifier: identifier not in last)
