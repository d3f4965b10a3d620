"""Dataclasses to JSON-ready values and back, by pydantic: the one way in which this package writes its records."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter

T = TypeVar("T")


def to_json(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as a JSON-ready dict, without those that have their default. NaN stays NaN."""
    (fields,) = _adapter(type(record)).dump_python((record,), mode="json", exclude_defaults=True)
    return fields  # type: ignore[no-any-return]


def from_json(kind: type[T], fields: Mapping[str, Any]) -> T:
    """The inverse of `to_json`: nested dataclasses, enumerations and tuples included.

    Raises:
        ValidationError: the fields are not those of a `kind`; a ValueError, whose `errors()` name each of them.
    """
    (record,) = _adapter(kind).validate_python((fields,))
    return record  # type: ignore[no-any-return]


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(tuple[kind], config=ConfigDict(ser_json_inf_nan="constants"))  # type: ignore[valid-type]
