"""The record that sampling leaves: a context, what was sampled from it, and what came of it.

Token in, token out: a context holds the exact token ids that the policy saw, and a corrective context extends
its parent's ids by the sampled completion and the ids of the feedback turn. Nothing is tokenised twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fissile.calls import Attempt

if TYPE_CHECKING:
    from fissile.tasks import Task


class StopReason(StrEnum):
    """Why a completion ended."""

    END = "end"
    """The policy ended its turn."""
    LENGTH = "length"
    """The token limit was reached."""
    INFRASTRUCTURE = "infrastructure"
    """The engine failed; the rollout must not be rewarded."""


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A failed attempt and the feedback that answered it."""

    attempt: Attempt
    feedback: str


@dataclass(frozen=True, slots=True)
class Context:
    """What the policy is asked to continue.

    Attributes:
        task: the task.
        prompt_ids: every token before the next attempt.
        history: the failed turns inside `prompt_ids`, oldest first; empty for an explore context.
    """

    task: Task
    prompt_ids: tuple[int, ...]
    history: tuple[FailedTurn, ...] = ()

    @property
    def depth(self) -> int:
        """Number of failed turns in the context; 0 for exploring."""
        return len(self.history)

    @property
    def visible_text(self) -> str:
        """All text that the policy has been shown, apart from the tools: for the leak guard."""
        turns = [turn.attempt.text + "\n" + turn.feedback for turn in self.history]
        return "\n".join([message["content"] for message in self.task.messages] + turns)


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
