"""Diagnosis by rules: what is wrong with an attempt, as facts without words. `phrasebooks` words them.

A fact is found from the typed errors, the tools' schemas, the call and the ground truth. The truth only chooses the
`Hint`; no value of it enters a `Finding`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from fissile.calls import JSON, ToolCall, scalars
from fissile.errors import ErrorKind, ToolError
from fissile.feedback.base import Failure
from fissile.feedback.spelling import Spelled, spelled
from fissile.tasks import ExpectedCall, said
from fissile.tools import Tool, json_equal, json_type, part

MAX_FINDINGS = 3
"""Findings in one diagnosis: the first ones."""

MAX_CHOICES = 12
"""Longest list of choices or tools that is spelled out."""

MAX_COMPARED = 100
"""Characters of a written name that are compared with the right ones."""

BOUNDS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "pattern"),
)
"""Keywords of JSON Schema that limit a value, besides `type` and `enum`."""


class Hint(StrEnum):
    """What more can be said within an error kind without giving the answer."""

    NONE = "none"
    SIMILAR = "similar"
    """The name resembles one that the tool takes."""
    UNASKED = "unasked"
    """The tool takes the argument, or offers the call, but the user did not ask for it."""
    NEEDED = "needed"
    """The tool does not require the argument, the request does."""
    TOO_FEW = "too_few"
    """Calls were made, but not enough."""
    CHOICES = "choices"
    """The value is not one that the schema enumerates."""
    BOUND = "bound"
    """The value violates another rule of the schema."""
    WHOLE = "whole"
    """The schema refuses the call as a whole: it needs one of several arguments, or some exclude each other."""
    PICK = "pick"
    """The value is one of the schema's choices, but not the one that the request needs."""
    OPTIONAL = "optional"
    """The request can do without the argument."""
    COUNT = "count"
    """The list has the wrong number of items."""
    IN_MESSAGE = "in_message"
    """The right value stands in the conversation."""
    FORM = "form"
    """The right value is written otherwise than in the conversation, or has to be worked out."""
    DISAGREES = "disagrees"
    """The value contradicts the request; nothing more can be said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    kind: ErrorKind  # the error's kind
    hint: Hint = Hint.NONE  # what can be said beyond the kind
    call_index: int | None = None  # index of the call where there are several; None where there is one
    tool: str = ""  # the tool name as the model wrote it, "" if there is none
    arguments: tuple[str, ...] = ()  # paths of the arguments concerned; several only for missing ones
    names: tuple[str, ...] = ()  # names to choose from: tools, or the argument that was perhaps meant
    expected: tuple[str, ...] = ()  # JSON types that the schema accepts
    given: str = ""  # JSON type of what was given
    choices: tuple[JSON, ...] = ()  # what the schema enumerates; empty if that is too long to say
    bound: tuple[str, JSON] | None = None  # a violated keyword of the schema and its limit
    detail: str = ""  # the words of the parser or of the environment
    position: int | None = None  # character offset in the response


def find(failure: Failure, limit: int = MAX_FINDINGS) -> tuple[Finding, ...]:
    """The first `limit` things that are wrong with an attempt; empty if its record holds no error.

    Of a call that should not have been made at all, only that is said. Items of a list with the same error count as
    one, and missing arguments of a call are one finding.
    """
    errors = failure.attempt.errors
    futile = {error.call_index for error in errors if error.kind in _FUTILE}
    told: set[tuple[int | None, ErrorKind, str]] = set()
    found: list[Finding] = []
    for error in errors:
        place = (error.call_index, error.kind, _without_indices(error.argument or ""))
        if place in told or (error.call_index in futile and error.kind not in _FUTILE):
            continue
        told.add(place)
        finding = _Case(failure, error).finding()
        is_missing = finding.kind is ErrorKind.MISSING_ARGUMENT
        if is_missing and found and finding == replace(found[-1], arguments=finding.arguments):
            finding = replace(finding, arguments=(*found.pop().arguments, *finding.arguments))
        found.append(finding)
    return tuple(found[:limit])


_FUTILE = (ErrorKind.WRONG_TOOL, ErrorKind.EXTRA_CALL)


@dataclass(frozen=True)
class _Case:
    """One error with what is needed to explain it."""

    failure: Failure
    error: ToolError

    def finding(self) -> Finding:
        """The error as a finding."""
        error, calls = self.error, self.failure.attempt.calls
        finding = Finding(
            error.kind,
            call_index=error.call_index if len(calls) > 1 else None,
            tool=error.tool or (self.call.name if self.call else None) or "",
            arguments=(error.argument,) if error.argument else (),
            position=error.position,
        )
        facts = _whole_call if self.is_about_whole_call else _FACTS.get(error.kind)
        return replace(finding, **facts(self)) if facts else finding

    @property
    def is_about_whole_call(self) -> bool:
        """True where the schema refuses the call, and no one argument is to blame; or checking it takes too long."""
        kind, named = self.error.kind, bool(self.error.argument)
        return kind in _OF_SCHEMAS and (not named or kind is ErrorKind.TIMEOUT) and self.breaks_schema

    @cached_property
    def call(self) -> ToolCall | None:
        """The call concerned."""
        index, calls = self.error.call_index, self.failure.attempt.calls
        return calls[index] if index is not None and 0 <= index < len(calls) else None

    @cached_property
    def tool(self) -> Tool | None:
        """The offered tool concerned."""
        return self.failure.task.tool(self.error.tool or (self.call.name if self.call else None))

    @cached_property
    def path(self) -> list[str]:
        """The path of the argument concerned; a top-level name may hold points itself."""
        argument = self.error.argument or ""
        names = {*(self.tool.properties if self.tool else ()), *_arguments(self)}
        names |= {name for call in self.failure.task.ground_truth for name in call.arguments}
        whole = self.tool is not None and argument in names and self.tool.takes(argument)
        return [argument] if whole else argument.split(".")

    @cached_property
    def schema(self) -> dict[str, JSON]:
        """The schema of the argument concerned; empty if there is none."""
        schema: dict[str, JSON] = self.tool.readable if self.tool else {}
        for key in self.path:
            schema = part(schema, key)
        return schema

    @cached_property
    def breaks_schema(self) -> bool:
        """True where the schema alone says that it is wrong."""
        violations = self.tool.validate(_arguments(self)) if self.tool else ()
        return any((one.kind, one.argument) == (self.error.kind, self.error.argument) for one in violations)

    @cached_property
    def given(self) -> JSON:
        """The value of the argument concerned; None if it is absent."""
        value: Any = self.call.arguments if self.call else None
        for key in self.path:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value

    @cached_property
    def expected(self) -> tuple[ExpectedCall, ...]:
        """The expected calls of that tool that know the argument concerned."""
        truth = self.failure.task.ground_truth
        return tuple(
            call for call in truth if self.tool and call.name == self.tool.name and self.path[0] in call.arguments
        )

    @property
    def accepted(self) -> Iterator[JSON]:
        """The accepted values of the argument concerned, which must not be told."""
        return (value for call in self.expected for value in call.arguments[self.path[0]])

    def is_in_messages(self, value: JSON) -> bool:
        """True where every scalar in `value` stands in the conversation."""
        messages = Spelled.of("\n".join(said(message) for message in self.failure.task.messages))
        return all(scalar in messages for scalar in map(spelled, scalars(value)))


Facts = dict[str, Any]
"""Fields of a `Finding`."""

_OF_SCHEMAS = (
    *(ErrorKind.MISSING_ARGUMENT, ErrorKind.UNEXPECTED_ARGUMENT, ErrorKind.WRONG_TYPE),
    *(ErrorKind.WRONG_VALUE, ErrorKind.TIMEOUT),
)
"""Kinds of `Tool.validate`."""


def _whole_call(case: _Case) -> Facts:
    return {"hint": Hint.WHOLE, "detail": case.error.message}


def _malformed(case: _Case) -> Facts:
    error = case.call.parse_error if case.call else None
    return {"detail": error.reason, "position": error.position} if error else {"detail": case.error.message}


def _missing_argument(case: _Case) -> Facts:
    is_required = len(case.path) > 1 or (case.tool is not None and case.path[0] in case.tool.required)
    is_required = is_required or case.breaks_schema
    return {} if is_required or not case.tool else {"hint": Hint.NEEDED}


def _unexpected_argument(case: _Case) -> Facts:
    if case.schema or (len(case.path) == 1 and case.tool and case.tool.takes(case.path[0])):
        return {"hint": Hint.UNASKED}
    absent = [name for name in (case.tool.properties if case.tool else ()) if name not in _arguments(case)]
    similar = difflib.get_close_matches(case.path[-1][:MAX_COMPARED], absent, n=1, cutoff=0.75)
    return {"hint": Hint.SIMILAR, "names": tuple(similar)} if similar and len(case.path) == 1 else {}


def _wrong_type(case: _Case) -> Facts:
    types = case.schema.get("type", ())
    return {"expected": (types,) if isinstance(types, str) else tuple(types), "given": json_type(case.given)}


def _wrong_value(case: _Case) -> Facts:
    """The first of these that holds, from the schema's own rules to what only the truth tells."""
    if case.error.argument is None:
        return {}
    choices = case.schema.get("enum", ())
    listed = tuple(choices) if len(choices) <= MAX_CHOICES else ()
    if choices and not any(json_equal(case.given, choice) for choice in choices):
        return {"hint": Hint.CHOICES, "choices": listed}
    for keyword in BOUNDS:
        rule = {keyword: case.schema[keyword]} if keyword in case.schema else {}
        if rule and case.tool and not case.tool.satisfies(rule, case.given):
            return {"hint": Hint.BOUND, "bound": (keyword, case.schema[keyword])}
    if case.breaks_schema:
        return {"hint": Hint.FORM}
    if choices:
        return {"hint": Hint.PICK, "choices": listed}
    return {"hint": _mismatch(case)}


def _mismatch(case: _Case) -> Hint:
    """How a value that the schema allows differs from the accepted ones."""
    given, accepted = case.given, list(case.accepted)
    if case.expected and all(case.path[0] in call.optional for call in case.expected):
        return Hint.OPTIONAL
    if not accepted or isinstance(given, bool):
        return Hint.DISAGREES
    lengths = {len(value) for value in accepted if isinstance(value, list)}
    if isinstance(given, list) and lengths and len(given) not in lengths:
        return Hint.COUNT
    if isinstance(given, str) and any(_overlap(given, value) for value in accepted):
        return Hint.FORM
    return Hint.IN_MESSAGE if any(map(case.is_in_messages, accepted)) else Hint.FORM


_FACTS: dict[ErrorKind, Callable[[_Case], Facts]] = {
    ErrorKind.MALFORMED_CALL: _malformed,
    ErrorKind.MISSING_CALL: lambda case: (
        {"hint": Hint.TOO_FEW} if case.failure.attempt.calls else {"names": _tool_names(case)}
    ),
    ErrorKind.EXTRA_CALL: lambda case: {} if case.failure.task.ground_truth else {"hint": Hint.UNASKED},
    ErrorKind.UNKNOWN_TOOL: lambda case: {"names": _tool_names(case)},
    ErrorKind.MISSING_ARGUMENT: _missing_argument,
    ErrorKind.UNEXPECTED_ARGUMENT: _unexpected_argument,
    ErrorKind.WRONG_TYPE: _wrong_type,
    ErrorKind.WRONG_VALUE: _wrong_value,
    ErrorKind.DOMAIN_ERROR: lambda case: {"detail": case.error.message},
    ErrorKind.EXCEPTION: lambda case: {"detail": case.error.message},
}
"""What each kind adds to its finding; the others add nothing."""


def _tool_names(case: _Case) -> tuple[str, ...]:
    """The offered tools, or the few whose names come closest if there are many."""
    names = [tool.name for tool in case.failure.task.tools]
    if len(names) <= MAX_CHOICES:
        return tuple(names)
    return tuple(difflib.get_close_matches((case.error.tool or "")[:MAX_COMPARED], names, n=3))


def _without_indices(path: str) -> str:
    """Of "items.0.name": "items.name"."""
    return ".".join(key for key in path.split(".") if not key.isdigit())


def _arguments(case: _Case) -> dict[str, JSON]:
    return (case.call.arguments if case.call else None) or {}


def _overlap(given: str, accepted: JSON) -> bool:
    """True where one text holds the other: "Paris" and "Paris, France"."""
    one, other = Spelled.of(given), spelled(accepted)
    return isinstance(accepted, str) and (one in other or other in one)
