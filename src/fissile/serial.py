"""Dataclasses to JSON-ready values and back: the one way in which this package writes its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def to_json(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as a JSON-ready dict, without those that have their default.

    What a model wrote stays what it is: NaN, halves of characters, and nesting that pydantic's own writer refuses.
    """
    values = ((field, getattr(record, field.name)) for field in fields(record))
    return {field.name: _plain(value) for field, value in values if value != _default(field)}


def from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """The inverse of `to_json`: nested dataclasses, enumerations and tuples included. Unknown fields are left out.

    Raises:
        ValidationError: the fields are not those of a `kind`; a ValueError, whose `errors()` name each of them.
    """
    return _adapter(kind).validate_python(values)  # type: ignore[arg-type, no-any-return]


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case Mapping():
            return {_plain(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(map(_plain, value))
        case _ if is_dataclass(value):
            return to_json(value)
        case _:
            return value


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
