"""Words in the hints of dataclasses, typed dicts and models: `city: Annotated[str, "Name of the city"]`.

pydantic reads `Field(description=...)` there and passes over plain texts and `Doc(...)`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from fissile.calls import JSON


def words_of(note: Any) -> str:
    """What a note in `Annotated` says in plain words: a text, or a `Doc`."""
    told = note if isinstance(note, str) else getattr(note, "documentation", "")
    return told if isinstance(told, str) else ""


def parts(hint: Any) -> Iterator[Any]:
    """A hint and all that stands inside its brackets."""
    yield hint
    if (origin := get_origin(hint)) is not None:
        yield origin
    for inner in get_args(hint):
        yield from parts(inner)


def describe_fields(hints: Iterable[Any], definitions: dict[str, JSON]) -> None:
    """Put the words of record types into their definitions, where nothing else describes the field.

    `definitions` are class name to schema, as pydantic writes it, and are changed in place.
    """
    waiting = [part for hint in hints for part in parts(hint)]
    seen: set[Any] = set()
    while waiting:
        record = waiting.pop()
        if not isinstance(record, type) or record in seen or not _is_record(record):
            continue
        seen.add(record)
        properties = definitions.get(record.__name__, {}).get("properties", {})
        for name, hint in _hints(record).items():
            waiting += parts(hint)
            notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
            told = " ".join(filter(None, map(words_of, notes)))
            field = properties.get(_alias(record, name))
            if told and field is not None:
                field.setdefault("description", told)


def _is_record(kind: type) -> bool:
    typed_dict = issubclass(kind, dict) and hasattr(kind, "__total__")
    return dataclasses.is_dataclass(kind) or typed_dict or issubclass(kind, BaseModel)


def _hints(record: type) -> dict[str, Any]:
    with suppress(Exception):  # a name that only pydantic can resolve
        return typing.get_type_hints(record, include_extras=True)
    return {}


def _alias(record: type, name: str) -> str:
    field = record.model_fields.get(name) if issubclass(record, BaseModel) else None
    alias = field.validation_alias if field is not None else None
    return alias if isinstance(alias, str) else name
