"""Where schemas stand inside a schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fissile.calls import JSON

ONE_SCHEMA = frozenset(
    (
        *("items", "contains", "additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
        *("propertyNames", "contentSchema", "not", "if", "then", "else"),
    )
)
LIST_OF_SCHEMAS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
MAP_OF_SCHEMAS = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))

IN_PLACE = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas")
"""Keywords whose schemas speak of the same value as the schema that holds them; `$ref` and `not` do too."""

DEFINITIONS = ("$defs", "definitions", "components")
"""Where schemas are kept to be referred to."""


def inner_schemas(schema: JSON) -> list[tuple[str, JSON]]:
    """The schemas that stand directly inside a schema, each with its path."""
    found: list[tuple[str, JSON]] = []
    if isinstance(schema, dict):
        with_inner_schemas(schema, lambda *place_and_inner: found.append(place_and_inner))
    return found


def all_schemas(schema: JSON) -> Iterator[dict[str, JSON]]:
    """A schema and every schema inside it that is an object, at any depth. Does not recurse."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += [inner for _, inner in inner_schemas(node)]


def with_inner_schemas(schema: dict[str, JSON], change: Callable[[str, JSON], JSON]) -> dict[str, JSON]:
    """The schema with every schema directly inside it replaced by `change(path, inner)`."""
    changed: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ONE_SCHEMA:
            changed[keyword] = change(keyword, value)
        elif keyword in LIST_OF_SCHEMAS and isinstance(value, list):
            changed[keyword] = [change(f"{keyword}.{index}", inner) for index, inner in enumerate(value)]
        elif keyword in MAP_OF_SCHEMAS and isinstance(value, dict):
            changed[keyword] = {name: change(f"{keyword}.{name}", inner) for name, inner in value.items()}
        elif keyword == "components" and isinstance(value, dict) and isinstance(value.get("schemas"), dict):
            named = {name: change(f"components.schemas.{name}", inner) for name, inner in value["schemas"].items()}
            changed[keyword] = {**value, "schemas": named}
        else:
            changed[keyword] = value
    return changed


def in_place(schema: JSON) -> Iterator[JSON]:
    """The schemas inside a schema that speak of the same value; without `$ref` and `not`."""
    for keyword in IN_PLACE if isinstance(schema, dict) else ():
        value = schema.get(keyword)
        if keyword in LIST_OF_SCHEMAS:
            yield from value or ()
        elif keyword in MAP_OF_SCHEMAS:
            yield from (value or {}).values()
        elif value is not None:
            yield value
