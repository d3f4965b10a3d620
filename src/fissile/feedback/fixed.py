"""The fixed message: feedback that says only that something is wrong (the paper's baseline)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fissile.feedback.base import Failure

FIXED_MESSAGE = "error: you made a mistake. please try again."


@dataclass(frozen=True, slots=True)
class FixedMessage:
    """Answers every failure with `FIXED_MESSAGE`."""

    name: ClassVar[str] = "fixed"

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        """The same text for each failure."""
        return [FIXED_MESSAGE] * len(failures)
