"""One call of a tool, from the model's arguments to a typed outcome. Nothing in here raises on what a model wrote."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cache

from fissile.calls import JSON, ToolCall, shorten
from fissile.environments.python.answers import cut, printable
from fissile.environments.python.frames import Frame
from fissile.environments.python.plain import digest
from fissile.environments.python.worker_pool import LostCallError, WorkerPool
from fissile.errors import ErrorKind, ToolError
from fissile.tools import Tool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PickledState:
    """The state of an episode between two calls.

    Attributes:
        pickled: the instance; only a worker reads it. Empty for tools without state.
        fingerprint: equal for equal public attributes.
    """

    pickled: bytes = b""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of a call.

    Attributes:
        state: the state after it; the one before it where the tool was not run, or did not come back.
        content: the text for the model, cut to what it may hold.
        digest: of the whole result, for the judge.
        error: None for a success.
        printed: characters that the tool wrote to its standard output.
    """

    state: PickledState
    content: str
    digest: str
    error: ToolError | None = None
    printed: int = 0


def run_call(pool: WorkerPool, tool: Tool | None, call: ToolCall, state: PickledState, index: int = 0) -> CallOutcome:
    """Check a call against its tool's schema, and let a worker run it.

    Args:
        pool: of the workers that know the tool.
        tool: the tool of the call's name; None where there is none.
        call: as the model wrote it.
        state: before the call.
        index: the call's place in its attempt.

    Raises:
        InfrastructureError: no worker can be started.
        DataError: the tools could be imported here, and not in a worker.
    """
    refusals = refuse(tool, call, index)
    if refusals:
        content = printable("Error: " + " ".join(error.message for error in refusals))
        return CallOutcome(state, cut(content, pool.limits.result_characters), not_run(content), refusals[0])
    request = Frame({"do": "call", "tool": call.name, "arguments": json.dumps(call.arguments)}, (state.pickled,))
    try:
        reply = pool.ask(request)
    except LostCallError as lost:
        told = ToolError(lost.kind, f"{call.name}() {lost}", index, call.name)
        return CallOutcome(state, f"Error: {told.message}", not_run(told.message), told)
    if "out_of_memory" in reply.header:
        _warn_of_memory(call.name or "", pool.limits.memory_mb)
    after = PickledState(reply.parts[0], reply.header["fingerprint"]) if reply.parts else state
    error = _read_error(reply.header["error"], index, call.name)
    return CallOutcome(after, reply.header["text"], reply.header["digest"], error, reply.header["printed"])


@cache
def _warn_of_memory(tool: str, limit: int | None) -> None:
    """Said once a tool: such an exception counts as the policy's, and may be the limit's."""
    logger.warning(
        "%s() ran out of the memory that a call may take (world.call_memory_mb = %s), and answers with an exception. "
        "Raise it if the tool needs more.",
        tool,
        limit,
    )


def not_run(reason: str) -> str:
    """The digest of a call that gave no result; equal to that of no result."""
    return digest(["not run", reason])


def refuse(tool: Tool | None, call: ToolCall, index: int) -> tuple[ToolError, ...]:
    """Why a call must not reach its tool; empty when it may."""
    if call.parse_error is not None or call.arguments is None:
        reason = call.parse_error.reason if call.parse_error is not None else "it has no arguments"
        message = f"the tool call cannot be parsed: {reason}."
        return (ToolError(ErrorKind.MALFORMED_CALL, message, index, call.name),)
    if tool is None:
        return (ToolError(ErrorKind.UNKNOWN_TOOL, f"no tool is named '{shorten(call.name or '')}'.", index, call.name),)
    return tool.validate(call.arguments, index)


def _read_error(error: JSON, index: int, tool: str | None) -> ToolError | None:
    if error is None:
        return None
    kind, message, argument = error
    return ToolError(ErrorKind(kind), message, index, tool, argument)
