"""What a world must provide. One file or folder a world in this package.

A world answers responses and judges turns. `Environment` is the whole of it; `ToolEnvironment` is a world that runs
calls, and says once for all of them what becomes of a response that cannot be executed.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from fissile.calls import JSON, ParsedResponse, ToolCall, ToolResult, canonical_json, shorten, unreadable
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a world makes of a response.

    Attributes:
        results: what the policy reads next, one for each call; empty where the response ends its turn.
        errors: what is wrong with the response, as far as the world says so.
        changed: it changed the state of the world.
    """

    results: tuple[ToolResult, ...] = ()
    errors: tuple[ToolError, ...] = ()
    changed: bool = False


class Environment(ABC):
    """One episode of a world. Episodes share nothing: any number of them may run side by side.

    An environment never raises on what a model wrote; what it cannot do is told in typed errors.
    """

    judges_at_once: ClassVar[bool] = False
    """A response is judged against the truth and ends its turn: a single-step task. Its failure may be diagnosed."""

    @abstractmethod
    def reset(self, task: Task) -> None:
        """Begin `task`: the state before its first turn; the turns before `task.start` are the caller's to replay.

        Raises:
            DataError: the task's world cannot be built.
        """

    @abstractmethod
    def answer(self, parsed: ParsedResponse, truncated: bool, goal: Task) -> Answer:
        """Take a response.

        Args:
            parsed: the response, split by its dialect.
            truncated: the token limit cut it.
            goal: what the scripted turn at hand poses (`Task.at_turn`): its truth, and the tools that it offers.
        """

    @abstractmethod
    def judge(self, turn: int) -> Verdict:
        """The state and the results so far against what the truth of turns 0 to `turn` leaves behind.

        What a turn needs whose truth is empty is the world's to say: nothing in BFCL, the state before it in Python.
        """

    def snapshot(self) -> JSON:
        """The state, JSON-ready: it is written to checkpoints. None where there is none."""
        return None

    def restore(self, state: JSON) -> None:  # noqa: B027
        """Go back to (or on to) a state of the same task. The environment must have been reset to the task before."""


EnvironmentMaker = Callable[[Task], Environment]
"""A new, own environment for a task's world."""


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """What becomes of a response that cannot be executed.

    Attributes:
        answers_unreadable: a malformed call and a cut response are answered with their error; otherwise such a response
            ends its turn unanswered, and nothing of it is executed.
        refuses_unoffered: a call of a tool that is not offered is answered with its error; otherwise the world decides.
        calls_per_response: further calls of one response are answered with an error, and not executed.
    """

    answers_unreadable: bool = True
    refuses_unoffered: bool = True
    calls_per_response: int = 64


class ErrorProtocol(StrEnum):
    """The presets of `ErrorPolicy`. Stated in every result."""

    RECOVERY = "recovery"
    """A malformed call, a cut response and a call of a tool that is not offered are answered with their error."""
    OFFICIAL = "official"
    """BFCL's: a malformed or cut response ends the turn unanswered, and every method of the world may be called."""

    @property
    def policy(self) -> ErrorPolicy:
        """What it stands for."""
        answers = self is ErrorProtocol.RECOVERY
        return ErrorPolicy(answers_unreadable=answers, refuses_unoffered=answers)


class ToolEnvironment(Environment):
    """A world that runs calls. A subclass has `reset`, `execute` and `judge`; by default `state` is all that changes.

    Attributes:
        errors: what becomes of a response that cannot be executed.
        state: JSON-ready, whatever `execute` can change; a world with another one overrides `snapshot`, `restore` and
            `fingerprint`.
    """

    errors: ErrorPolicy = ErrorPolicy()
    state: JSON = None

    @abstractmethod
    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the well-formed calls of one attempt, in order.

        Returns:
            One result a call: its text for the model, and a typed error unless it succeeded. A result's `call_index`
            is its place in `calls`; contents are limited in length.
        """

    def snapshot(self) -> JSON:
        """See `Environment`."""
        return copy.deepcopy(self.state)

    def restore(self, state: JSON) -> None:
        """See `Environment`."""
        self.state = copy.deepcopy(state)

    def fingerprint(self) -> str:
        """Equal for equal states of the world, the results given so far left out: tells whether a call changed it."""
        return hashlib.sha256(canonical_json(self.state).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def answer(self, parsed: ParsedResponse, truncated: bool, goal: Task) -> Answer:
        """Execute what can be executed, and answer the rest with its error; a response without calls ends its turn."""
        unread = unreadable_calls(parsed, truncated)
        if not (parsed.calls or unread) or (unread and not self.errors.answers_unreadable):
            return Answer(errors=unread)
        refused = {error.call_index: error for error in unread} | self._refused(parsed.calls, goal)
        before = self.fingerprint()
        results = self._answers(parsed.calls, refused)
        if None in refused:  # the response was cut before any call
            results.append(_refusal(refused[None], 0))
        errors = tuple(result.error for result in results if result.error is not None)
        return Answer(tuple(results), errors, self.fingerprint() != before)

    def _refused(self, calls: Sequence[ToolCall], goal: Task) -> dict[int | None, ToolError]:
        """The calls that must not be executed, by their index."""
        refused: dict[int | None, ToolError] = {}
        for index, call in enumerate(calls):
            if not call.is_well_formed:
                continue
            if index >= (limit := self.errors.calls_per_response):
                message = f"not executed: one response may make at most {limit} calls."
                refused[index] = ToolError(ErrorKind.EXTRA_CALL, message, index, call.name)
            elif self.errors.refuses_unoffered and goal.tool(call.name) is None:
                message = f"no tool is named '{shorten(call.name or '')}'."
                refused[index] = ToolError(ErrorKind.UNKNOWN_TOOL, message, index, call.name)
        return refused

    def _answers(self, calls: Sequence[ToolCall], refused: dict[int | None, ToolError]) -> list[ToolResult]:
        """One result a call, in order: those of `execute`, and the refusals in their places."""
        runnable = [index for index in range(len(calls)) if index not in refused]
        executed = self.execute([calls[index] for index in runnable]) if runnable else ()
        of_world = {index: _at(result, index) for index, result in zip(runnable, executed, strict=True)}
        return [
            of_world[index] if index in of_world else _refusal(refused[index], index) for index in range(len(calls))
        ]


def unreadable_calls(parsed: ParsedResponse, truncated: bool) -> tuple[ToolError, ...]:
    """Errors of the calls that cannot be parsed, or of a response that was cut before any."""
    if not parsed.calls and truncated:
        return (ToolError(ErrorKind.TRUNCATED, "the response reached its length limit before any call was complete."),)
    last = len(parsed.calls) - 1
    malformed = [(index, call) for index, call in enumerate(parsed.calls) if not call.is_well_formed]
    return tuple(unreadable(call, index, truncated and index == last) for index, call in malformed)


def _refusal(error: ToolError, index: int) -> ToolResult:
    return ToolResult(f"Error: {error.message}", index, error)


def _at(result: ToolResult, index: int) -> ToolResult:
    """A result of the world, with its place among all calls of the response."""
    error = None if result.error is None else replace(result.error, call_index=index)
    return ToolResult(result.content, index, error)
