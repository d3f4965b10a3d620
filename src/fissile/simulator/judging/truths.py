"""What is true of a failure: which arguments and kinds are wrong, and whether a statement about the schema holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fissile.calls import JSON, ParsedResponse, ToolCall
from fissile.environments import judge
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Failure
from fissile.feedback.rules import BOUNDS
from fissile.feedback.spelling import Spelled, spelled
from fissile.simulator.judging.statements import About, Statement
from fissile.simulator.judging.vocabulary import Vocabulary, top_level, without_indices
from fissile.tools import Tool, json_type

_FUTILE = frozenset({ErrorKind.WRONG_TOOL, ErrorKind.EXTRA_CALL})
_OF_CALLS = frozenset({ErrorKind.MISSING_CALL, ErrorKind.EXTRA_CALL})
_SHOWN_BY_A_WORLD = frozenset({ErrorKind.DOMAIN_ERROR, ErrorKind.EXCEPTION, ErrorKind.WRONG_STATE, ErrorKind.TIMEOUT})
_ABSENT = object()


@dataclass(frozen=True)
class Truths:
    """What is true of one failure.

    A world says *that* a call failed; what is wrong with it is found by comparing it with the truth of its turn, as a
    single-step task is judged. A diagnosis that says either is right.

    Attributes:
        failure: the failure.
    """

    failure: Failure

    @cached_property
    def errors(self) -> tuple[ToolError, ...]:
        """The errors on record, and where only the world spoke, those of the comparison with the turn's truth."""
        recorded, attempt = self.failure.attempt.errors, self.failure.attempt
        if not any(error.kind in _SHOWN_BY_A_WORLD and error.argument is None for error in recorded):
            return recorded
        compared = judge(self.failure.task, ParsedResponse(attempt.calls), attempt.truncated)
        is_whole = self.failure.silent  # before its last response a turn lacks calls, and that is no error
        return (*recorded, *(error for error in compared if is_whole or error.kind not in _OF_CALLS))

    @cached_property
    def kinds(self) -> frozenset[ErrorKind]:
        """The kinds of `errors`."""
        return frozenset(error.kind for error in self.errors)

    @cached_property
    def wrong(self) -> frozenset[str]:
        """Paths of the wrong arguments, without indices; not those of a call that should not be there at all."""
        futile = {error.call_index for error in self.errors if error.kind in _FUTILE}
        return frozenset(
            without_indices(error.argument)
            for error in self.errors
            if error.argument and error.call_index not in futile
        )

    def is_wrong(self, path: str) -> bool:
        """True for a wrong argument, one inside it, or the one that holds it."""
        plain = without_indices(path)
        return any(f"{plain}.".startswith(f"{wrong}.") or f"{wrong}.".startswith(f"{plain}.") for wrong in self.wrong)

    def holds(self, statement: Statement) -> bool:
        """False for a statement that the schema or the call contradicts; what neither settles holds."""
        return _CHECKS[statement.about](self, statement)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The names of the failure."""
        return Vocabulary(self.failure)

    def calls(self, tool: str) -> list[ToolCall]:
        """The readable calls of the attempt, those of one tool if one is named."""
        readable = [call for call in self.failure.attempt.calls if call.arguments is not None]
        return [call for call in readable if not tool or call.name == tool]

    def tools(self, tool: str) -> list[Tool]:
        """The tools that a statement may be about: the one that is named, else those called or expected."""
        named = self.failure.task.tool(tool) if tool else None
        return [named] if named else list(self.vocabulary.concerned)

    def schemas(self, statement: Statement) -> list[JSON]:
        """The schemas of the argument that a statement is about, one for each tool that has it."""
        found = (_schema(tool.readable, statement.subject.name) for tool in self.tools(statement.tool))
        return [schema for schema in found if schema is not None]


def _schema(parameters: JSON, path: str) -> JSON:
    """The schema at a path; {} where an object or list is not described; None where there is no such argument."""
    properties = parameters.get("properties", {})
    if path in properties:
        return properties[path]
    schema: Any = parameters
    for key in path.split("."):
        inner = schema.get("properties") or (schema.get("items") or {}).get("properties")
        if inner and key in inner:
            schema = inner[key]
        elif key.isdigit() and schema is not parameters:
            schema = schema.get("items") or {}
        elif inner or schema is parameters:
            return None
        else:
            return {}
    return schema


def _value(arguments: JSON, path: str) -> Any:
    """The value at a path; `_ABSENT` where there is none."""
    if isinstance(arguments, dict) and path in arguments:
        return arguments[path]
    value: Any = arguments
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return _ABSENT
    return value


def _is_of_type(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    known = not schemas and _is_unverifiable(truths, statement)
    return known or any(_allows(schema, statement.values) for schema in schemas)


def _has_items_of_type(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    insides = [inner for schema in schemas for inner in (_inside(schema) or [schema])]
    return (not schemas and _is_unverifiable(truths, statement)) or any(
        _allows(inner, statement.values) for inner in insides
    )


def _inside(schema: JSON) -> list[JSON]:
    """The schemas of a list's items or of an object's properties."""
    items, properties = schema.get("items"), schema.get("properties")
    return [items] if isinstance(items, dict) else list(properties.values()) if properties else []


def _allows(schema: JSON, types: tuple[str, ...]) -> bool:
    """True where a value of each of these types can satisfy the schema, or it does not say."""
    wanted = schema.get("type")
    if wanted is None:
        choices = schema.get("enum")
        wanted = [json_type(choice) for choice in choices] if choices else []
    allowed = {wanted} if isinstance(wanted, str) else set(wanted)
    return not allowed or all(name in allowed or (name == "number" and "integer" in allowed) for name in types)


def _is_given_as(truths: Truths, statement: Statement) -> bool:
    given = [_value(call.arguments, statement.subject.name) for call in truths.calls(statement.tool)]
    types = {json_type(value) for value in given if value is not _ABSENT}
    if not truths.calls(""):
        return True
    return any(name in types or (name == "number" and "integer" in types) for name in statement.values)


def _choices_of(schema: JSON) -> list[JSON] | None:
    """What a schema enumerates, for a value or for the items of one."""
    items = schema.get("items")
    found = schema.get("enum") or (items.get("enum") if isinstance(items, dict) else None)
    return found if found else [True, False] if schema.get("type") == "boolean" else None


def _are_the_choices(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    claimed = {spelled(value).compact for value in statement.values}
    for schema in schemas:
        choices = _choices_of(schema)
        if choices is not None and claimed == {spelled(choice).compact for choice in choices}:
            return True
    return (not schemas and _is_unverifiable(truths, statement)) or any(
        _choices_of(schema) is None and _describes(schema, statement.values) for schema in schemas
    )


def _are_among_choices(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    claimed = {spelled(value).compact for value in statement.values}
    return (not schemas and _is_unverifiable(truths, statement)) or any(
        claimed <= {spelled(choice).compact for choice in _choices_of(schema) or ()}
        or _describes(schema, statement.values)
        for schema in schemas
    )


def _describes(schema: JSON, values: tuple[str, ...]) -> bool:
    """True where the description holds each of the values."""
    description = Spelled.of(str(schema.get("description", "")))
    return bool(values) and all(spelled(value).compact and spelled(value) in description for value in values)


def _is_a_bound(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    if not schemas:
        return _is_unverifiable(truths, statement)
    numbers = [float(number) for number in statement.values]
    return any(
        all(number in _bounds(schema) for number in numbers) or _describes(schema, statement.values)
        for schema in schemas
    )


def _bounds(schema: JSON) -> set[float]:
    found = {schema[key] for key in BOUNDS if isinstance(schema.get(key), int | float)}
    for inner in _inside(schema):
        found |= _bounds(inner)
    return found


def _is_the_pattern(truths: Truths, statement: Statement) -> bool:
    schemas = truths.schemas(statement)
    return not schemas or any(
        schema.get("pattern") in statement.values or _describes(schema, statement.values) for schema in schemas
    )


def _is_missing(truths: Truths, statement: Statement) -> bool:
    """A call lacks it, and the schema or the request needs it."""
    name = statement.subject.name
    if not truths.calls(""):  # of a call that cannot be read anything may be missing, of none nothing
        return bool(truths.failure.attempt.calls)
    if any(error.kind is ErrorKind.MISSING_ARGUMENT and _same(error.argument, name) for error in truths.errors):
        return True
    return any(
        _value(call.arguments, name) is _ABSENT and _is_needed(truths, call, name)
        for call in truths.calls(statement.tool)
    )


def _is_needed(truths: Truths, call: ToolCall, name: str) -> bool:
    tool = truths.failure.task.tool(call.name)
    parent, _, leaf = name.rpartition(".")
    schema = _schema(tool.readable, parent) if tool and parent else tool.readable if tool else None
    required = (schema or {}).get("required") or ((schema or {}).get("items") or {}).get("required") or ()
    expected = (truth.required for truth in truths.failure.task.ground_truth if truth.name == call.name)
    return leaf in required or any(name in names for names in expected)


def _same(argument: str | None, name: str) -> bool:
    return argument is not None and without_indices(argument) == without_indices(name)


def _is_unexpected(truths: Truths, statement: Statement) -> bool:
    """A call has it, and the schema does not know it or the request does not ask for it."""
    name = statement.subject.name
    if any(error.kind is ErrorKind.UNEXPECTED_ARGUMENT and _same(error.argument, name) for error in truths.errors):
        return True
    calls = truths.calls(statement.tool)
    return not truths.calls("") or any(
        _value(call.arguments, name) is not _ABSENT and not _is_welcome(truths, call, name) for call in calls
    )


def _is_welcome(truths: Truths, call: ToolCall, name: str) -> bool:
    tool = truths.failure.task.tool(call.name)
    in_schema = tool is not None and _schema(tool.readable, name) is not None
    truth = [expected for expected in truths.failure.task.ground_truth if expected.name == call.name]
    return in_schema and (not truth or any(top_level(name) in expected.arguments for expected in truth))


def _exists(truths: Truths, statement: Statement) -> bool:
    name = statement.subject.name
    return truths.vocabulary.argument(name) is not None or truths.vocabulary.exists_anywhere(name)


def _is_no_tool(truths: Truths, statement: Statement) -> bool:
    """It is not offered, and was called."""
    name = statement.subject.name
    called = {call.name for call in truths.failure.attempt.calls} | {error.tool for error in truths.errors}
    return truths.failure.task.tool(name) is None and name in called


def _is_tool(truths: Truths, statement: Statement) -> bool:
    return truths.failure.task.tool(statement.subject.name) is not None


def _is_unverifiable(truths: Truths, statement: Statement) -> bool:
    """True where no tool is known that the statement could be about."""
    return not truths.tools(statement.tool)


_CHECKS: dict[About, Callable[[Truths, Statement], bool]] = {
    About.TYPE: _is_of_type,
    About.ITEM_TYPE: _has_items_of_type,
    About.GIVEN_TYPE: _is_given_as,
    About.CHOICES: _are_the_choices,
    About.EXAMPLES: _are_among_choices,
    About.BOUND: _is_a_bound,
    About.PATTERN: _is_the_pattern,
    About.MISSING: _is_missing,
    About.UNEXPECTED: _is_unexpected,
    About.ARGUMENT: _exists,
    About.NO_TOOL: _is_no_tool,
    About.TOOL: _is_tool,
}


def false_words(truths: Truths, stated: tuple[Statement, ...]) -> Iterator[str]:
    """The clauses that state something false, each once."""
    yield from dict.fromkeys(
        re.sub(r"\s+", " ", statement.words).strip() or f"{statement.about}: {statement.subject.name}"
        for statement in stated
        if not truths.holds(statement)
    )
