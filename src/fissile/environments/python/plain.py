"""Python values as JSON values: whole, the same in every run, or refused by name.

Numbers, text, containers, dataclasses, named tuples, enums, pydantic models, dates, arrays and tables have one form.
Other objects are told by the text that their class writes (`__str__`), or by their public attributes. What would hide
something, or differ from run to run, is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import inspect
import io
import json
import re
from collections import UserString
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, time
from enum import Enum
from types import EllipsisType, NotImplementedType
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from fissile.calls import JSON, canonical_json
from fissile.environments.python.libraries import UNKNOWN, is_missing, simpler
from fissile.environments.python.state import as_written, public_attributes


class NoJSONFormError(Exception):
    """A value that JSON cannot say. The message says where in the result it is, and what it is."""


def digest(value: JSON) -> str:
    """Stands for a whole JSON value: equal for equal ones, whatever the order of keys; 32 characters.

    Numbers count by their value, to the digits that a decimal number keeps in a float.
    """
    numbers = json.loads(canonical_json(value), parse_float=lambda text: as_written(float(text)))
    return hashlib.sha256(canonical_json(numbers).encode("utf-8", "surrogatepass")).hexdigest()[:32]


_Open = tuple[int, ...]
"""Ids of the values that are being read, from the outermost: to see a value inside itself."""


def plain(value: Any, where: str = "", inside: _Open = ()) -> JSON:
    """A JSON value that holds all that `value` holds; sets are sorted, and iterators are read to their end.

    Args:
        value: any object.
        where: its place in the result, for messages.
        inside: see `_Open`.

    Raises:
        NoJSONFormError: there is none.
    """
    kind = type(value)
    if value is None or kind in _ATOMS:
        return value
    if id(value) in inside:
        raise NoJSONFormError(f"{_place(where)} holds itself")
    inside = (*inside, id(value))
    if kind is list or kind is tuple:
        items = []
        for index, item in enumerate(value):  # one frame a level, here and below: results may be deep
            items.append(item if type(item) in _ATOMS else plain(item, f"{where}.{index}", inside))
        return items
    if kind is not dict:
        return _other(value, where, inside)
    pairs: dict[str, JSON] = {}
    for key, item in value.items():
        name = key if type(key) is str else _key(key, where)
        if name in pairs:
            raise NoJSONFormError(f"{_place(where)} has two keys that JSON writes alike, '{name}'")
        pairs[name] = plain(item, f"{where}.{name}", inside)
    return pairs


_ATOMS = frozenset({bool, int, float, str})


def _other(value: Any, where: str, inside: _Open) -> JSON:
    """The form of what is no plain JSON already."""
    match value:
        case Enum():
            return plain(value.value, where, inside)
        case str() | UserString():
            return str.__str__(value) if isinstance(value, str) else str(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case bytes() | bytearray() | memoryview():
            return _text_of(bytes(value))
        case date() | time() if not is_missing(value):  # with the nanoseconds of pandas
            return value.isoformat()
        case BaseException() | io.IOBase() | EllipsisType() | NotImplementedType():
            raise _refused(value, where)
    if inspect.isawaitable(value) or hasattr(type(value), "__aiter__"):
        if inspect.iscoroutine(value):
            value.close()  # Python would warn that nobody awaited it
        raise NoJSONFormError(f"{_place(where)} is of type {type(value).__name__}, and nobody awaits it")
    fields = _fields(value, where)
    if fields is not None:
        return plain(fields, where, inside)
    if isinstance(value, Set):
        return sorted((plain(item, where, inside) for item in value), key=canonical_json)
    known = simpler(value)
    if known is not UNKNOWN:
        return plain(known, where, inside)
    if isinstance(value, Iterator | Sequence) or (isinstance(value, Iterable) and not _writes_itself(value)):
        return plain(list(value), where, inside)
    return _of_object(value, where, inside)


def _fields(value: Any, where: str) -> dict[Any, Any] | None:
    """What a record holds, by the names of its fields; None for what is none."""
    kind = type(value)
    if isinstance(value, BaseModel):
        return _dumped(value, where)
    if dataclasses.is_dataclass(kind):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):  # a named tuple
        return dict(zip(kind._fields, value, strict=True))
    if isinstance(value, Mapping) or (kind.__module__ == "sqlite3" and hasattr(kind, "keys")):  # its rows
        return {key: value[key] for key in value.keys()}  # noqa: SIM118  (a row has only `keys`)
    return None


def _key(key: Any, where: str) -> str:
    """A key that is no text: the text that it becomes, or its JSON text."""
    told = plain(key, f"{where}'s key")
    return told if isinstance(told, str) else canonical_json(told)


def _text_of(value: bytes) -> str:
    """Bytes as text: UTF-8 where they are, else base64."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


def _dumped(model: BaseModel, where: str) -> dict[str, Any]:
    """A pydantic model as its own serializers tell it, under its aliases."""
    try:
        return model.model_dump(mode="python", by_alias=True, warnings=False)
    except PydanticSerializationError as error:
        raise NoJSONFormError(f"{_place(where)} cannot be serialized ({error})") from None


# --- objects without a form ----------------------------------------------------------------------------------------

_STANDS_FOR_AN_OBJECT = re.compile(r"\s*<.*>\s*|.*\b(at|object) 0x[0-9a-fA-F]+.*", re.DOTALL)


def _of_object(value: Any, where: str, inside: _Open) -> JSON:
    """By what pydantic knows (UUID, Decimal, Path, ...), by the text that its class writes, or by its attributes."""
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        pass
    if isinstance(value, type | Iterable) or inspect.isroutine(value) or inspect.ismodule(value):
        raise _refused(value, where)  # a collection that is told by a text hides what it holds
    attributes = public_attributes(value)
    if attributes and type(value).__str__ is object.__str__:
        return plain(attributes, where, inside)
    text = str(value)
    if not _writes_itself(value) or _STANDS_FOR_AN_OBJECT.fullmatch(text):
        raise _refused(value, where)
    return text


def _writes_itself(value: Any) -> bool:
    """True where the class says how it is written."""
    kind: Any = type(value)
    return kind.__repr__ is not object.__repr__ or kind.__str__ is not object.__str__


def _refused(value: Any, where: str) -> NoJSONFormError:
    return NoJSONFormError(f"{_place(where)} is of type {type(value).__name__}, which JSON cannot say")


def _place(where: str) -> str:
    return f"'{where.lstrip('.')}' of the result" if where else "the result"
