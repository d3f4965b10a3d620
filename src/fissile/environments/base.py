"""What a live world must provide. One file a world in this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fissile.calls import JSON, ToolCall, ToolResult
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import Task

NO_CALL, WRONG_STATE, MISSING_RESULT = (
    "empty_turn_model_response",
    "instance_state_mismatch",
    "execution_response_mismatch",
)
"""Reasons of a verdict in every world: BFCL's official error types, without their prefix "multi_turn:"."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's word on the world after a turn.

    Attributes:
        errors: what is wrong; empty when the turn is right. Their messages may be shown: they hold no truth.
        reason: a short key for counting ("state", "results", "no_calls", ...); "" when right.
    """

    errors: tuple[ToolError, ...] = ()
    reason: str = ""

    @classmethod
    def against(cls, reason: str, kind: ErrorKind, message: str) -> Verdict:
        """A turn that is wrong for one reason."""
        return cls((ToolError(kind, message),), reason)

    @property
    def valid(self) -> bool:
        """True when the turn is right."""
        return not self.errors


class Environment(Protocol):
    """One episode of a live world. Episodes share nothing: any number of them may run side by side.

    The state is whatever `execute` can change, the results given so far included. An environment never raises on what
    a model wrote; what a call cannot do is a `ToolResult` with a typed error.
    """

    def reset(self, task: Task) -> None:
        """Begin `task`: the state before its first turn; the turns before `task.start` are the caller's to replay.

        Raises:
            DataError: the task's world cannot be built.
        """
        ...

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the well-formed calls of one attempt, in order.

        Returns:
            One result a call: its text for the model, and a typed error unless it succeeded. A result's `call_index`
            is its place in `calls`; contents are limited in length.
        """
        ...

    def snapshot(self) -> JSON:
        """The state, JSON-ready: it is written to checkpoints."""
        ...

    def restore(self, state: JSON) -> None:
        """Go back to (or on to) a state of the same task. The environment must have been reset to the task before."""
        ...

    def fingerprint(self) -> str:
        """Equal for equal states of the world, the results given so far left out: tells whether a call changed it."""
        ...

    def judge(self, turn: int) -> Verdict:
        """The state and the results so far against what the truth of turns 0 to `turn` leaves behind.

        What a turn needs whose truth is empty is the world's to say: nothing in BFCL, the state before it in Python.
        """
        ...
