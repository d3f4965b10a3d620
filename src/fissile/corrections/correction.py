"""`Correction`: an intercepted failure with its feedback, ready to be recovered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fissile.calls import JSON, FailedTurn
from fissile.contexts import Context, Exchange, current_turn
from fissile.feedback import Feedback
from fissile.rollouts import Rollout
from fissile.serial import to_json
from fissile.tasks import Task


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrective context [x; failed attempt; feedback] and where it came from.

    Attributes:
        id: equal for equal failures (`fissile.corrections.branch.failure_id`).
        task_id: the task x.
        step: the optimizer step at which it was intercepted.
        source: the feedback source.
        opening: token ids of the task's first messages.
        dialogue: what was said since; the last exchange is the intercepted failure and its diagnosis.
        state: the world's snapshot before the failed attempt.
        leaked: why the leak guard blocked the source's own text, "" if it did not.
        fallback: why the source that was asked gave no text, "" if it did.
    """

    id: str
    task_id: str
    step: int
    source: str
    opening: tuple[int, ...]
    dialogue: tuple[Exchange, ...]
    state: JSON = None
    leaked: str = ""
    fallback: str = ""

    @classmethod
    def of(cls, identifier: str, context: Context, step: int, feedback: Feedback) -> Correction:
        """The correction whose recovery continues `context`, which `feedback` is the last word of."""
        return cls(
            identifier,
            context.task.id,
            step,
            feedback.source,
            context.opening,
            context.dialogue,
            context.state,
            feedback.leaked,
            feedback.fallback,
        )

    def context(self, task: Task) -> Context:
        """What the policy continues to recover; `task` is the one of `task_id`."""
        return Context(task, self.opening, self.dialogue, self.state)

    @property
    def length(self) -> int:
        """Tokens of the context."""
        return len(self.opening) + sum(len(part.wrote) + len(part.read) for part in self.dialogue)

    @property
    def history(self) -> tuple[FailedTurn, ...]:
        """The failed attempts of the turn, oldest first; the last one is the intercepted failure."""
        failed = [part for part in current_turn(self.dialogue) if part.failed]
        return tuple(FailedTurn(part.attempt, "\n".join(part.results)) for part in failed)


def fission_record(
    correction: Correction, task: Task, recoveries: Sequence[tuple[Rollout, float | None]], step: int
) -> dict[str, Any]:
    """What became of a correction: one line of `corrections.jsonl`, and one tree of the report.

    Args:
        correction: what was recovered from.
        task: its task.
        recoveries: the rollouts from it, each with its reward.
        step: the optimizer step.
    """
    messages = correction.context(task).goal.messages
    requests = [message["content"] for message in messages if message["role"] == "user"]
    return {
        "event": "fission",
        "step": step,
        "id": correction.id,
        "task_id": correction.task_id,
        "request": requests[-1] if requests else "",
        "staleness": step - correction.step,
        "source": correction.source,
        "history": [to_json(turn) for turn in correction.history],
        "recoveries": [
            {"attempt": to_json(rollout.outcome), "reward": reward, "repeat": rollout.repeats, **_steps(rollout)}
            for rollout, reward in recoveries
        ],
    }


def _steps(rollout: Rollout) -> dict[str, Any]:
    """The entry with each own response and what the world answered; one that was judged at once has none."""
    if rollout.judged_at_once:
        return {}
    return {
        "steps": [
            {"attempt": to_json(step.attempt), "results": [result.content for result in step.results]}
            for step in rollout.own
        ]
    }
