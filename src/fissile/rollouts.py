"""The record that sampling leaves: a context, what was sampled from it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fissile.calls import Attempt
from fissile.corrections.context import Context


class StopReason(StrEnum):
    """Why a completion ended."""

    END = "end"
    """The policy ended its turn."""
    LENGTH = "length"
    """The token limit was reached."""
    INFRASTRUCTURE = "infrastructure"
    """The engine failed; the rollout must not be rewarded."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine sampled for one prompt.

    Attributes:
        ids: sampled token ids, the end-of-turn token included if it was sampled.
        logprobs: log-probability of each id under the sampling policy at temperature 1, or None if unknown.
        stop: why it ended.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    stop: StopReason = StopReason.END


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled attempt in its context."""

    context: Context
    completion: Completion
    attempt: Attempt
