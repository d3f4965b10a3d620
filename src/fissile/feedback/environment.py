"""The environment's own words: what a live world answers to a failed call, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fissile.feedback.base import Failure

UNDONE = "not executed, because another call of the same response failed."
"""Said of the calls beside a failed one: a recovery starts from the world as it was before the whole response."""

UNSATISFIED = "the request is not fulfilled: the result is not what was asked for."
"""Said after a silent failure, to which no tool had an objection."""


@dataclass(frozen=True, slots=True)
class EnvironmentMessage:
    """The messages of the failed calls, as the world gave them; where it gave none, those of the typed errors."""

    name: ClassVar[str] = "environment"

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        """One text for each failure, in order."""
        return ["\n".join(dict.fromkeys(_messages(failure))) for failure in failures]


def _messages(failure: Failure) -> Iterator[str]:
    if failure.silent:
        yield f"Error: {UNSATISFIED}"
        return
    if not failure.answers:
        yield from (f"Error: {error.message}" for error in failure.attempt.errors)
        return
    failed = failure.attempt.failed_calls
    for index, answer in enumerate(failure.answers):
        yield answer if index in failed or len(failure.answers) == 1 else f"{_call_name(failure, index)}{UNDONE}"


def _call_name(failure: Failure, index: int) -> str:
    calls = failure.attempt.calls
    return f"{calls[index].name}: " if index < len(calls) and calls[index].name else ""
