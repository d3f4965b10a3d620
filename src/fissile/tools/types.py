"""The names of JSON's types."""

from __future__ import annotations

from typing import Any

_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "boolean"),  # before int, its base class
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
)


def json_type(value: Any) -> str:
    """The JSON Schema name of a value's type."""
    return next((name for python, name in _JSON_TYPES if isinstance(value, python)), "object")
