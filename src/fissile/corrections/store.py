"""What keeps corrections between interception and fission: a buffer of the newest, or a pool of the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from fissile.corrections.buffer import Decision
from fissile.corrections.correction import Correction


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

    def push(self, correction: Correction) -> Decision:
        """Take a correction, unless its failure was seen before."""
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
