"""What keeps corrections between interception and fission: a buffer of the newest, or a pool of the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fissile.corrections.correction import Correction

COUNTS = ("intercepted", "deduplicated", "evicted", "stale", "used", "leaked")
"""What becomes of failures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a store did with a correction, and why: "new", or "seen" for a failure it was offered before."""

    kept: bool
    reason: str


def no_counts() -> Counter[str]:
    """`COUNTS`, all of them 0."""
    return Counter(dict.fromkeys(COUNTS, 0))


def admitted(identifier: str, seen: Container[str], counts: Counter[str]) -> Decision:
    """Count a failure that a store is offered, and decide whether it is new.

    Args:
        identifier: of the failure (`fissile.corrections.branch.failure_id`).
        seen: ids of those that were offered before.
        counts: of the store.
    """
    counts["intercepted"] += 1
    if identifier in seen:
        counts["deduplicated"] += 1
        return Decision(False, "seen")
    return Decision(True, "new")


class CorrectionStore(Protocol):
    """`CorrectionBuffer` or `CorrectionPool`. Deterministic and serialisable.

    Attributes:
        counts: failures by what became of them.
    """

    counts: Counter[str]

    def __len__(self) -> int:
        """Corrections held."""
        ...

    def has_seen(self, identifier: str) -> bool:
        """True where `push` would refuse a correction of this id. Changes nothing."""
        ...

    def admit(self, identifier: str) -> Decision:
        """Whether a correction of this id would be taken; counts the failure."""
        ...

    def push(self, correction: Correction) -> Decision:
        """Take a correction, unless its failure was seen before; counts the failure."""
        ...

    def available(self, step: int) -> int:
        """Corrections that `pop` could give at this optimizer step. Changes nothing."""
        ...

    def pop(self, n: int, step: int) -> list[Correction]:
        """Up to `n` different corrections to recover from."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of everything that decides the future."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...
