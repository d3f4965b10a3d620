"""The error design of Fissile, in one place.

Three families that never mix:

1. **The model's errors are data.** A failed attempt carries one or more `ToolError`s. Each has an
   `ErrorKind` that is set where the failure is found (the parser, the schema validator, the judge, the
   environment) and is never recovered by searching a message. They are the raw material of fission: they
   become rewards, diagnoses and training contexts, and they are counted in every metric.

2. **Infrastructure failures are exceptions** (`InfrastructureError`): a dead endpoint, a time-out of a server,
   an engine that ran out of memory. They say nothing about the policy, so they never reach it as a reward: the
   rollout leaves the batch, with a count and a reason.

3. **The user's errors are exceptions** (`InputError`): a config, a task file, a model path, a disk. The command
   prints their one message, which says what to change, and exits with code 2.

Beside them stands `Interrupted`, which is no error: Ctrl-C or SIGTERM. It passes through everything that cleans up, and
the command says what is kept and exits with 128 and the signal's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorKind(StrEnum):
    """What went wrong in an attempt; also the key of every per-kind table."""

    MALFORMED_CALL = "malformed_call"
    """The text starts a call that cannot be parsed."""
    TRUNCATED = "truncated"
    """The response hit its token limit inside a call or before one."""
    MISSING_CALL = "missing_call"
    """Fewer calls than the task needs, often none at all."""
    EXTRA_CALL = "extra_call"
    """More calls than the task needs."""
    UNKNOWN_TOOL = "unknown_tool"
    """A tool name that was never offered."""
    WRONG_TOOL = "wrong_tool"
    """An offered tool, but not one that the task needs."""
    MISSING_ARGUMENT = "missing_argument"
    """A required argument, or one that the task needs, is absent."""
    UNEXPECTED_ARGUMENT = "unexpected_argument"
    """An argument that the tool does not take, or that the task must not set."""
    WRONG_TYPE = "wrong_type"
    """An argument whose JSON type violates the schema."""
    WRONG_VALUE = "wrong_value"
    """An argument of the right type with a value that the schema or the task rejects."""
    DOMAIN_ERROR = "domain_error"
    """The tool ran and answered that it could not do what was asked."""
    EXCEPTION = "exception"
    """The tool raised."""
    TIMEOUT = "timeout"
    """The tool exceeded its limit of time or size."""
    WRONG_STATE = "wrong_state"
    """No tool complained, and the world is not as the task needs it: a silent failure, found by the judge."""


FORMAT_FAILURES = frozenset({ErrorKind.MALFORMED_CALL, ErrorKind.TRUNCATED})
"""Kinds of a response that does not obey its dialect."""


@dataclass(frozen=True, slots=True)
class ToolError:
    """One error in one attempt.

    `message` states the violated rule in terms of the schema and of what the model wrote. It never holds
    ground truth, so it may be shown to anyone.

    Attributes:
        kind: the enumerated kind.
        message: one sentence for a person.
        call_index: index of the call in the attempt; None where no call is concerned.
        tool: the tool name as written by the model; None where there is none.
        argument: dotted path of the argument concerned ("filters.status", "items.0"); None for the whole call.
        position: character offset in the response, for errors of the parser.
    """

    kind: ErrorKind
    message: str
    call_index: int | None = None
    tool: str | None = None
    argument: str | None = None
    position: int | None = None


class InfrastructureError(Exception):
    """Something around the policy failed. `reason` is a short key for counting ("timeout", "endpoint")."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Interrupted(BaseException):
    """The user or the system ends the command. No handler of errors may take it for one.

    `kept` says what is kept and how to go on, where somebody knows it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
        self.kept = ""


class InputError(Exception):
    """The user must change something; the message says what. The command exits with code 2."""


class ConfigError(InputError):
    """A configuration that cannot be run."""


class DataError(InputError):
    """A task, a tool schema or a data file that cannot be used."""


class AssetError(InputError):
    """A pinned download that cannot be had or does not match its hash."""


class ModelError(InputError):
    """A model or tokenizer that cannot be used."""


class RunError(InputError):
    """A run folder or checkpoint that does not fit what was asked."""
