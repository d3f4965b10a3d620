"""What a feedback source is: it turns a failed attempt into the text that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fissile.calls import Attempt
from fissile.rollouts import Context


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt in the context in which it happened. The ground truth is in `context.task`."""

    context: Context
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Feedback:
    """A diagnosis.

    Attributes:
        text: what the policy reads.
        source: the source that wrote it ("fixed", "rules", ...).
        leaked: what the leak guard blocked, "" if nothing; then `text` is the fixed message.
    """

    text: str
    source: str
    leaked: str = ""


class FeedbackSource(Protocol):
    """Where a diagnosis comes from. May see the ground truth; what it writes must not hand it over."""

    name: str

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        """One text for each failure, in order."""
        ...
