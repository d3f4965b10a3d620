"""The context that a policy continues; a corrective context extends its parent's.

Token in, token out: a context holds the exact token ids that the policy saw, and a corrective context extends
its parent's ids by the sampled completion and the ids of the feedback turn. Nothing is tokenised twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from fissile.calls import FailedTurn
from fissile.tasks import Task


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
