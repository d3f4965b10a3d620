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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, time
from enum import Enum
from operator import methodcaller
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
    if isinstance(value, Enum):
        return plain(value.value, where, inside)
    if is_missing(value):
        return None
    for kinds, tell in _LEAVES:
        if isinstance(value, kinds):
            return tell(value)
    if isinstance(value, _NOTHING_TO_TELL):
        raise _refused(value, where)
    if inspect.isawaitable(value) or hasattr(type(value), "__aiter__"):
        if inspect.iscoroutine(value):
            value.close()  # Python would warn that nobody awaited it
        raise NoJSONFormError(f"{_place(where)} is of type {type(value).__name__}, and nobody awaits it")
    simple = _simple(value, where)
    return _of_object(value, where, inside) if simple is UNKNOWN else plain(simple, where, inside)


def _text_of(value: Any) -> str:
    """Bytes as text: UTF-8 where they are, else base64."""
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


_LEAVES: tuple[tuple[Any, Callable[[Any], JSON]], ...] = (
    (str, str.__str__),
    (UserString, str),
    (int, int),
    (float, float),
    ((bytes, bytearray, memoryview), _text_of),
    ((date, time), methodcaller("isoformat")),  # with the nanoseconds of pandas
)
_NOTHING_TO_TELL = (BaseException, io.IOBase, EllipsisType, NotImplementedType)


def _simple(value: Any, where: str) -> Any:
    """A record, an array, a table or a collection as dicts and lists; `UNKNOWN` for anything else."""
    fields = _fields(value, where)
    if fields is not None:
        return fields
    if isinstance(value, Set):
        return sorted((plain(item, where) for item in value), key=canonical_json)
    known = simpler(value)
    if known is UNKNOWN and _is_read_to_its_end(value):
        return list(value)
    return known


def _is_read_to_its_end(value: Any) -> bool:
    """True for sequences and iterators, and for collections that have no text of their own."""
    return isinstance(value, Iterator | Sequence) or (isinstance(value, Iterable) and not _writes_itself(value))


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
    if attributes and "__str__" not in _written(type(value)):
        return plain(attributes, where, inside)
    text = str(value)
    if not _writes_itself(value) or _STANDS_FOR_AN_OBJECT.fullmatch(text):
        raise _refused(value, where)
    return text


def _writes_itself(value: Any) -> bool:
    """True where the class says how it is written."""
    return bool({"__str__", "__repr__"} & _written(type(value)))


def _written(kind: type) -> set[str]:
    """Names of what a class and its bases define, `object` left out."""
    return {name for base in kind.__mro__[:-1] for name in vars(base)}


def _refused(value: Any, where: str) -> NoJSONFormError:
    return NoJSONFormError(f"{_place(where)} is of type {type(value).__name__}, which JSON cannot say")


def _place(where: str) -> str:
    return f"'{where.lstrip('.')}' of the result" if where else "the result"
