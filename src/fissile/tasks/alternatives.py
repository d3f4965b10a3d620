"""What else is right, in a row: values that are accepted as well, and arguments that may be left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fissile.calls import JSON, ToolCall
from fissile.errors import DataError, ErrorKind
from fissile.nearest import nearest
from fissile.tasks.nulls import read_json
from fissile.tasks.task import ExpectedCall
from fissile.tools import Tool, json_equal

_KEYS = ("name", "arguments", "accepted", "optional", "id", "type", "index", "function")
"""Of a call of the truth; the last four are those of a chat message's `tool_calls`."""


def with_alternatives(expected: ExpectedCall, entry: JSON) -> ExpectedCall:
    """An expected call with the row's `accepted` values and `optional` arguments.

    Raises:
        DataError: one of them, or another key of the call, cannot be used.
    """
    call = _keys_of(entry)
    for key in (key for key, value in call.items() if value is not None and key not in _KEYS):
        meant = nearest(key, _KEYS[:4]) or " (did you mean 'arguments'?)"
        raise DataError(f"the call of '{expected.name}' has the key '{key}', which is not known{meant}")
    accepted = _read(call, "accepted", dict, "an object such as {'city': ['Oslo', 'Oslo, Norway']}")
    optional = _read(call, "optional", list, "a list of names such as ['unit']")
    arguments = {name: list(values) for name, values in expected.arguments.items()}
    for name, values in (accepted or {}).items():
        if values is None:  # the padding of a columnar file
            continue
        if not isinstance(values, list) or not values:
            raise DataError(f"'accepted' of '{expected.name}' must list the values of '{name}', such as ['a', 'b']")
        known = arguments.setdefault(name, [])
        known += [value for value in values if not any(json_equal(value, other) for other in known)]
    for name in optional or ():
        if name not in arguments:
            what = f"'{name}' of '{expected.name}' is 'optional', but no value is accepted"
            raise DataError(f"{what}; add it to 'arguments'")
    return replace(expected, arguments=arguments, optional=frozenset(optional or ()))


def refuse_alternatives(truth: Sequence[JSON]) -> None:
    """Refuse what has no meaning where results are judged, in the calls of a task that is played in a world.

    Raises:
        DataError: a call has other accepted values or optional arguments.
    """
    for call in map(_keys_of, truth):
        for key in ("accepted", "optional"):
            if call.get(key):
                what = f"in a world the results of '{call['name']}' are judged"
                raise DataError(f"'{key}' is for tasks without a world; {what}")


def require_valid(expected: ExpectedCall, right: ToolCall, tool: Tool) -> None:
    """Refuse a truth that its own tool refuses: it could never be matched, and every attempt would fail.

    Raises:
        DataError: an accepted value breaks the schema, or an argument that may be left out is required by it.
    """
    for name in sorted(expected.optional.intersection(tool.required)):
        raise DataError(f"'{name}' is 'optional', but the schema of '{tool.name}' requires it")
    arguments = right.arguments or {}
    variants = [{**arguments, name: value} for name, values in expected.arguments.items() for value in values]
    for variant in (arguments, *variants):
        for violation in tool.validate(variant):
            hint = _hint(variant, violation.argument, tool) if violation.kind is ErrorKind.WRONG_TYPE else ""
            what = f"the ground truth breaks the schema of its tool: {violation.message.rstrip('.')}"
            raise DataError(f"{what}{hint}")


def _keys_of(entry: JSON) -> dict[str, JSON]:
    """All keys of a call of the truth, those inside `function` included."""
    inner = entry.get("function") if isinstance(entry, dict) else None
    return {**entry, **(inner if isinstance(inner, dict) else {})} if isinstance(entry, dict) else {}


def _hint(arguments: Mapping[str, JSON], name: str | None, tool: Tool) -> str:
    """What to do where a list of accepted values stands in the place of one."""
    value = arguments.get(name or "")
    if not isinstance(value, list) or not value:
        return ""
    if any(error.argument == name for error in tool.validate({**arguments, name or "": value[0]})):
        return ""
    return f"; several accepted values go into 'accepted': {json.dumps({name: value}, ensure_ascii=False)[:80]}"


def _read(call: Mapping[str, JSON], key: str, kind: type, form: str) -> Any:
    value = read_json(call.get(key), key)
    is_right = value is None or isinstance(value, kind)
    if not is_right or (kind is list and not all(isinstance(name, str) for name in value or ())):
        raise DataError(f"'{key}' of a call must be {form}")
    return value
