"""What a null means. Columnar storage (Arrow, and so `datasets`) gives every row all keys that any row has.

The null that it writes for an absent key looks like one that was meant. The tool's schema decides, whatever the rows
were loaded from: a null argument that the schema admits counts, and any other is taken for an absent key.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tools import Tool

_VALUES = frozenset({"const", "default"})
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS_OF_VALUES = frozenset({"enum", "examples", "required"})

_NAMING = frozenset({"properties", "$ref", "allOf", "anyOf", "oneOf"})
_OPENING = frozenset({"additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames"})

Path = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


def without_null_keys(entry: dict[str, JSON]) -> dict[str, JSON]:
    """An object of a row without its absent keys."""
    return {key: value for key, value in entry.items() if value is not None}


def schema_without_nulls(schema: JSON) -> JSON:
    """A tool's schema without the keywords and properties that are null: no keyword can be.

    Null stays where it is a value: in `enum` and `examples`, and as `const` or `default` of what admits null.
    """
    if isinstance(schema, list):
        return [schema_without_nulls(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, JSON] = {}
    for key, value in schema.items():
        if value is None:
            continue
        if key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
            kept[key] = {name: schema_without_nulls(inner) for name, inner in value.items() if inner is not None}
        elif key in _VALUES or key in _LISTS_OF_VALUES:
            kept[key] = value
        else:
            kept[key] = schema_without_nulls(value)
    return kept | {key: None for key in _VALUES if key in schema and schema[key] is None and _speaks_of_null(kept)}


def _speaks_of_null(schema: dict[str, JSON]) -> bool:
    """Whether a schema names null among its types or values."""
    types = schema.get("type")
    if types == "null" or (isinstance(types, list) and "null" in types) or schema.get("nullable") is True:
        return True
    if isinstance(schema.get("enum"), list) and None in schema["enum"]:
        return True
    branches = [branch for key in ("anyOf", "oneOf") for branch in schema.get(key) or ()]
    return any(isinstance(branch, dict) and _speaks_of_null(branch) for branch in branches)


def without_fillers(arguments: dict[str, JSON], tool: Tool) -> tuple[dict[str, JSON], int]:
    """The arguments of a call without the nulls that its tool's schema does not admit, and how many those were.

    A null is admitted where it gives the schema no more to complain about than its absence: so the null of a required
    argument that cannot be null stays, and is reported as what it is. As among the arguments themselves, a key that an
    object's schema does not name is none of its keys, unless it says that others are welcome.
    """
    paths = list(_nulls(arguments))
    if not paths:
        return arguments, 0
    if any(len(path) > 1 for path in paths):
        tool = _closed_tool(tool.name, json.dumps(tool.parameters))
    named = {error.argument for error in tool.validate(arguments)} - set(tool.required)
    dropped = set(paths)
    complaints = len(tool.validate(_without(arguments, dropped)))
    for path in paths:
        if len(path) == 1 and path[0] in named:
            continue
        with_it = len(tool.validate(_without(arguments, dropped - {path})))
        if with_it <= complaints:
            dropped.remove(path)
            complaints = with_it
    return _without(arguments, dropped), len(dropped)


@lru_cache(maxsize=1024)
def _closed_tool(name: str, parameters: str) -> Tool:
    """The tool with objects that take no keys but those that they name."""
    return Tool(name, "", _closed(json.loads(parameters), top=True))


def _closed(schema: JSON, *, top: bool = False) -> JSON:
    """A schema whose objects are closed, where they name keys and do not say that others are welcome."""
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(inner) for name, inner in value.items()}
        if key == "properties" and isinstance(value, dict)
        else _closed(value)
        if key in ("items", "additionalProperties")
        else [_closed(inner) for inner in value]
        if key == "prefixItems" and isinstance(value, list)
        else value
        for key, value in schema.items()
    }
    names_keys = not _NAMING.isdisjoint(schema) and _OPENING.isdisjoint(schema)
    return closed | ({"unevaluatedProperties": False} if names_keys and not top else {})


def _nulls(value: JSON, path: Path = ()) -> Iterator[Path]:
    """Where null stands in objects. A null item of a list is no absent key."""
    match value:
        case dict():
            for key, inner in value.items():
                if inner is None:
                    yield (*path, key)
                else:
                    yield from _nulls(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from _nulls(inner, (*path, index))


def _without(value: dict[str, JSON], paths: Iterable[Path]) -> dict[str, JSON]:
    kept: Any = copy.deepcopy(value)
    for path in paths:
        holder = kept
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
    return dict(kept)


@dataclass
class Census:
    """Counts the keys of the objects that stand at one place of all rows.

    A null can be columnar storage's only if every object there has the key, and in one of them it is not null.
    """

    objects: int = 0
    present: dict[str, int] = field(default_factory=dict)
    filled: dict[str, Census] = field(default_factory=dict)

    def count(self, value: JSON) -> None:
        """Count an object and what it holds; items of a list stand at one place."""
        match value:
            case dict():
                self.objects += 1
                for key, inner in value.items():
                    self.present[key] = self.present.get(key, 0) + 1
                    if inner is not None:
                        self.filled.setdefault(key, Census()).count(inner)
            case list():
                for inner in value:
                    self.count(inner)

    def may_fill(self, key: str) -> bool:
        """Whether a null of that key may stand for its absence."""
        return key in self.filled and self.present[key] == self.objects

    def without_fillers(self, value: JSON) -> tuple[JSON, int]:
        """A value of this place without the nulls that may stand for absence, and how many those were."""
        match value:
            case dict():
                kept = {key: inner for key, inner in value.items() if inner is not None or not self.may_fill(key)}
                inside = {
                    key: self.filled[key].without_fillers(inner) if key in self.filled else (inner, 0)
                    for key, inner in kept.items()
                }
                dropped = len(value) - len(kept) + sum(count for _, count in inside.values())
                return {key: inner for key, (inner, _) in inside.items()}, dropped
            case list():
                items = [self.without_fillers(inner) for inner in value]
                return [inner for inner, _ in items], sum(count for _, count in items)
        return value, 0


def decoded(value: JSON) -> JSON:
    """A value, decoded where it is a string of JSON; what cannot be decoded is left to whoever reads it."""
    if not isinstance(value, str):
        return value
    with suppress(ValueError, RecursionError):
        return json.loads(value)
    return None


def read_json(value: JSON, subject: str = "") -> JSON:
    """A value, decoded where it is a string of JSON.

    Raises:
        DataError: it is a string, and no JSON; `subject` is its name in the message.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{repr(subject) if subject else 'it'} is not JSON: {reason}") from None


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is not a JSON number")
