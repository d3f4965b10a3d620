"""Arguments against a schema. Nothing here raises on what a model wrote, and nothing takes long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from fissile.calls import JSON, shorten
from fissile.errors import ErrorKind, ToolError
from fissile.tools.keywords import Check, LimitError, validator_of
from fissile.tools.schema import Schema
from fissile.tools.violations import Reporter

MAX_DEPTH = 900
"""Levels of objects and lists in one argument."""

MAX_BITS = 14_280
"""Size of an integer; larger ones cannot be written down in Python (4300 digits)."""


def validate(tool: str, schema: Schema, arguments: dict[str, JSON], call_index: int | None) -> Iterator[ToolError]:
    """Typed errors of arguments against a schema; none where they are valid.

    An argument that the schema does not name is an error, as in a Python call, unless the schema says what holds for
    others. Arguments that take too long to check are a `TIMEOUT`.
    """
    reporter = Reporter(tool, call_index)
    oversized = [name for name, value in arguments.items() if _is_oversized(value)]
    for name in oversized:
        yield _unsayable(reporter, name)
    check = Check(schema.references)
    try:
        sayable = {name: value for name, value in arguments.items() if name not in oversized}
        violations = check.violations(schema.validator, sayable)
        told = set(oversized)
        for violation in sorted(violations, key=lambda error: list(map(str, error.path))):
            for error in reporter.errors(violation):
                if error.argument not in oversized:
                    told.add((error.argument or "").partition(".")[0])
                    yield error
        yield from (
            _unsayable(reporter, name)
            for name, value in arguments.items()
            if name not in told and not _is_finite(value)
        )
        yield from (reporter.unexpected(name) for name in arguments if not _takes(schema, check, name))
    except RecursionError:
        yield reporter.error(ErrorKind.WRONG_VALUE, f"the call of {tool}() is nested too deeply to be checked.")
    except LimitError as limit:
        path = _place(arguments, limit.text) if limit.text is not None else None
        subject = f"argument '{path}'" if path else f"the call of {tool}()"
        rule = f"the pattern {shorten(repr(limit.pattern))}" if limit.pattern else "the schema"
        yield reporter.error(ErrorKind.TIMEOUT, f"{subject} takes too long to check against {rule}.", path)


def is_valid(schema: Schema, rule: dict[str, Any], value: JSON) -> bool:
    """True where a value satisfies one rule of a schema, or checking that would take too long."""
    if _is_oversized(value):
        return True
    try:
        return not Check(schema.references).violations(validator_of(rule), value)
    except (LimitError, RecursionError):
        return True


def takes(schema: Schema, name: str) -> bool:
    """True for an argument that a schema knows: one that it describes, or that is like those that it allows."""
    try:
        return _takes(schema, Check(schema.references), name)
    except LimitError:
        return False


def _takes(schema: Schema, check: Check, name: str) -> bool:
    known = name in schema.properties or schema.is_open
    return known or any(check.matches(pattern, name) for pattern in schema.name_patterns)


def _unsayable(reporter: Reporter, name: str) -> ToolError:
    message = f"argument '{shorten(name)}' has a value that is too large, too deep or no finite number."
    return reporter.error(ErrorKind.WRONG_VALUE, message, name)


def _is_oversized(value: JSON) -> bool:
    """True where a value is nested too deeply, holds an integer that cannot be written, or is none of JSON's."""
    return any(depth > MAX_DEPTH or not _is_sayable(inner) for inner, depth in _parts(value))


def _is_finite(value: JSON) -> bool:
    """True where every number in a value is one that JSON can say."""
    return all(math.isfinite(inner) for inner, _ in _parts(value) if isinstance(inner, float))


def _is_sayable(value: JSON) -> bool:
    match value:
        case bool() | None | str() | float() | list():
            return True
        case int():
            return value.bit_length() <= MAX_BITS
        case dict():
            return all(isinstance(key, str) for key in value)
        case _:
            return False


def _parts(value: JSON) -> Iterator[tuple[JSON, int]]:
    """A value and everything inside it, each with its depth. Does not recurse."""
    waiting = [(value, 0)]
    while waiting:
        inner, depth = waiting.pop()
        yield inner, depth
        parts = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        waiting += [(part, depth + 1) for part in parts]


def _place(arguments: dict[str, JSON], text: str) -> str | None:
    """Where a text stands in some arguments; None where it is the name of one. Does not recurse."""
    waiting: list[tuple[str, JSON]] = list(arguments.items())
    while waiting:
        path, value = waiting.pop()
        if value is text:
            return path
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{key}", inner) for key, inner in parts]
    return None
