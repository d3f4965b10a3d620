"""The single-step environment: one response, judged against the ground truth without running any tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fissile.calls import JSON, Attempt, ParsedResponse, ToolCall, shorten, unreadable
from fissile.dialects.base import Dialect
from fissile.environments.base import Answer, Environment, Verdict
from fissile.environments.bfcl_ast import is_valid
from fissile.environments.matching import CallPairing, is_default, match_calls, values_match
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import ExpectedCall, Matching, Task
from fissile.tools import Tool

OfficialVerdict = Callable[[Task, Sequence[ToolCall]], bool]
"""A benchmark's own checker: are these well-formed calls a right answer to the task?"""


class SingleStep(Environment):
    """The world of single-step tasks: it judges the one response, without running any tool, and ends.

    Args:
        official: decides tasks whose `source` is in `official_sources`, where all calls are well-formed: what it
            accepts has no errors, and what it rejects has at least one.
        official_sources: the sources that `official` knows.
    """

    judges_at_once = True

    def __init__(
        self, official: OfficialVerdict | None = is_valid, official_sources: frozenset[str] = frozenset({"bfcl"})
    ) -> None:
        self._official = official
        self._official_sources = official_sources
        self._errors: tuple[ToolError, ...] = ()

    def reset(self, task: Task) -> None:
        """Begin `task`."""
        self._errors = ()

    def answer(self, parsed: ParsedResponse, truncated: bool, goal: Task) -> Answer:
        """What is wrong with the response; it ends the turn either way."""
        self._errors = self.errors_of(goal, parsed, truncated)
        return Answer(errors=self._errors)

    def judge(self, turn: int) -> Verdict:
        """The last response decides."""
        return Verdict(self._errors, self._errors[0].kind.value if self._errors else "")

    def attempt(self, task: Task, text: str, dialect: Dialect, truncated: bool = False) -> Attempt:
        """The judged attempt that a response makes.

        Args:
            task: the task.
            text: the response as decoded.
            dialect: its format.
            truncated: it hit its token limit.
        """
        parsed = dialect.parse(text, {tool.name for tool in task.tools})
        return Attempt(text, parsed.calls, self.errors_of(task, parsed, truncated), truncated)

    def errors_of(self, task: Task, parsed: ParsedResponse, truncated: bool = False) -> tuple[ToolError, ...]:
        """What is wrong with a response; empty when it is right."""
        errors = judge(task, parsed, truncated)
        well_formed = all(call.is_well_formed for call in parsed.calls)
        if self._official is None or task.source not in self._official_sources or not well_formed:
            return errors
        if self._official(task, parsed.calls):
            return ()
        return errors or (_rejected_officially(parsed.calls),)


def judge(task: Task, parsed: ParsedResponse, truncated: bool = False) -> tuple[ToolError, ...]:
    """Typed errors of a response against the tools and the ground truth of its task; empty when it is right.

    Each call is judged by the first of these that fails: its text, its tool's name, its tool's schema together
    with the expected call that it answers (`match_calls`). Messages speak of the schema and of what the model
    wrote, and never hold a value of the truth or the number of its calls.

    Args:
        task: the task.
        parsed: the response, split by its dialect.
        truncated: the response hit its token limit. A malformed last call, or a call that is missing, is then
            `TRUNCATED`.
    """
    pairing = match_calls(parsed.calls, task.ground_truth, task.matching, task.tools)
    answered = {call: task.ground_truth[wanted] for call, wanted in pairing.pairs}
    last = len(parsed.calls) - 1
    errors = [
        error
        for index, call in enumerate(parsed.calls)
        for error in _judge_call(task, call, index, answered.get(index), truncated and index == last)
    ]
    return (*errors, *_missing_calls(parsed.calls, pairing, truncated))


def _judge_call(
    task: Task, call: ToolCall, index: int, expected: ExpectedCall | None, cut_off: bool
) -> Iterator[ToolError]:
    if call.parse_error is not None:
        yield unreadable(call, index, cut_off)
        return
    tool = task.tool(call.name)
    if tool is None or call.arguments is None:
        yield ToolError(ErrorKind.UNKNOWN_TOOL, f"no tool is named '{shorten(call.name or '')}'.", index, call.name)
        return
    violations = tool.validate(call.arguments, index)
    yield from violations
    if expected is None:
        yield ToolError(ErrorKind.EXTRA_CALL, f"this call of {tool.name}() is one too many.", index, tool.name)
    elif expected.name != tool.name:
        yield ToolError(ErrorKind.WRONG_TOOL, f"{tool.name}() does not do what was asked.", index, tool.name)
    else:
        paths = [violation.argument for violation in violations if violation.argument is not None]
        blamed = {*paths, *(path.partition(".")[0] for path in paths)}
        for kind, name in _differences(call.arguments, expected, task.matching, tool):
            if name not in blamed:
                yield ToolError(kind, _DIFFERS[kind].format(tool=tool.name, name=name), index, tool.name, name)


_DIFFERS = {
    ErrorKind.MISSING_ARGUMENT: "{tool}() needs the argument '{name}' for this request.",
    ErrorKind.UNEXPECTED_ARGUMENT: "{tool}() must be called without the argument '{name}' for this request.",
    ErrorKind.WRONG_VALUE: "the value of the argument '{name}' of {tool}() is not what was asked for.",
}


def _differences(
    arguments: dict[str, JSON], expected: ExpectedCall, matching: Matching, tool: Tool
) -> Iterator[tuple[ErrorKind, str]]:
    """Kind and argument of each difference to the truth. What the schema assumes anyway may be said (not in BFCL)."""
    for name in expected.required:
        if name not in arguments:
            yield ErrorKind.MISSING_ARGUMENT, name
    for name, value in arguments.items():
        if name not in expected.arguments:
            if matching == "bfcl" or not is_default(tool, name, value):
                yield ErrorKind.UNEXPECTED_ARGUMENT, name
        elif not values_match(value, expected.arguments[name], matching):
            yield ErrorKind.WRONG_VALUE, name


def _missing_calls(calls: Sequence[ToolCall], pairing: CallPairing, truncated: bool) -> Iterator[ToolError]:
    if not pairing.missing:
        return
    if truncated:
        yield ToolError(ErrorKind.TRUNCATED, "the response reached its length limit before all calls were made.")
    elif calls:
        yield ToolError(ErrorKind.MISSING_CALL, "fewer tools were called than the request needs.")
    else:
        yield ToolError(ErrorKind.MISSING_CALL, "no tool was called.")


def _rejected_officially(calls: Sequence[ToolCall]) -> ToolError:
    message = "a value of the call, or its type, is not what was asked for."
    sole = calls[0] if len(calls) == 1 else None
    return ToolError(ErrorKind.WRONG_VALUE, message, 0 if sole else None, sole.name if sole else None)
