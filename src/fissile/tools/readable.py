"""A schema for readers: references and in-place keywords folded into `type`, `enum`, `properties`, `items`, ...

Validation never uses it. It is for whoever explains a schema, or makes values for it: rules, faults, prompts, guards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from fissile.calls import JSON
from fissile.tools.merging import both, either
from fissile.tools.positions import DEFINITIONS, IN_PLACE, inner_schemas
from fissile.tools.references import References

MAX_SCHEMAS = 1000
"""Schemas of one tool that are read, outermost first; what a recursive schema holds further down is left open."""

MAX_DEPTH = 16
"""Levels that are read."""

_CLOSING = ("additionalProperties", "unevaluatedProperties", "unevaluatedItems")
"""Keywords that may be true or false without being in a reader's way."""


def readable(schema: dict[str, JSON], references: References) -> dict[str, JSON]:
    """The schema with all that is said of a value in one place; the same object where that is so already."""
    return schema if _is_plain(schema) else _Reader(references).read(schema)


def part(schema: JSON, key: str) -> dict[str, JSON]:
    """The readable schema of a property or of an item; {} where nothing is said of it."""
    properties, prefix = schema.get("properties"), schema.get("prefixItems")
    if isinstance(properties, dict) and key in properties:
        found = properties[key]
    elif key.isdecimal() and isinstance(prefix, list) and int(key) < len(prefix):
        found = prefix[int(key)]
    elif key.isdecimal() and "items" in schema:
        found = schema["items"]
    else:
        found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def _is_plain(schema: dict[str, JSON]) -> bool:
    """True where nothing has to be folded, at any depth."""
    if not set(schema.get("required", ())) <= set(schema.get("properties", ())):
        return False
    waiting: list[JSON] = [schema]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict) or any(keyword in node for keyword in (*IN_PLACE, "$ref", "const")):
            return False
        waiting += [inner for place, inner in inner_schemas(node) if place not in _CLOSING or isinstance(inner, dict)]
    return True


class _Reader:
    """One reading of a schema, within a limit."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._left = MAX_SCHEMAS

    def read(self, schema: JSON) -> dict[str, Any]:
        """All levels of a schema, outermost first."""
        root = self._level(schema)
        if root.get("required"):  # an argument that is required is known, even if nothing else is said of it
            root["properties"] = {**root.get("properties", {}), **_new({name: {} for name in root["required"]}, root)}
        waiting = deque([(root, 0)])
        while waiting:
            level, depth = waiting.popleft()
            for holder, key, inner in list(_parts(level)):
                holder[key] = self._level(inner) if depth < MAX_DEPTH else {}
                waiting.append((holder[key], depth + 1))
        return root

    def _level(self, schema: JSON) -> dict[str, Any]:
        """What is said of one value; the schemas of its parts are still to be read."""
        self._left -= 1
        if not isinstance(schema, dict) or self._left < 0:
            return {}
        own = {key: value for key, value in schema.items() if key not in (*IN_PLACE, *DEFINITIONS, "$ref")}
        if "const" in own:
            own.setdefault("enum", [own["const"]])
        for inner in (self._references.target(schema), *schema.get("allOf", ())):
            own = both(own, self._level(inner))
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                own = both(own, either([self._level(inner) for inner in schema[keyword]]))
        perhaps = either([self._level(inner) for inner in _perhaps(schema)]).get("properties", {})
        if perhaps:
            own["properties"] = {**own.get("properties", {}), **_new(perhaps, own)}
        return own


def _perhaps(schema: dict[str, Any]) -> list[JSON]:
    """The schemas that hold for some values only: they name properties, and demand nothing for certain."""
    condition = schema.get("if")
    asked = condition.get("properties", {}) if isinstance(condition, dict) else {}
    rules = [schema.get("then"), schema.get("else"), *schema.get("dependentSchemas", {}).values()]
    return [rule for rule in rules if rule is not None] + [{"properties": dict.fromkeys(asked, True)}] * bool(asked)


def _new(properties: dict[str, JSON], schema: dict[str, Any]) -> dict[str, JSON]:
    """Those properties that a schema does not describe."""
    return {name: inner for name, inner in properties.items() if name not in schema.get("properties", {})}


def _parts(level: dict[str, Any]) -> Iterator[tuple[Any, Any, JSON]]:
    """Where the schemas of the parts of a value stand in its own: holder, key, schema. The holders are copied."""
    if isinstance(level.get("properties"), dict):
        level["properties"] = dict(level["properties"])
        yield from ((level["properties"], name, inner) for name, inner in level["properties"].items())
    if isinstance(level.get("prefixItems"), list):
        level["prefixItems"] = list(level["prefixItems"])
        yield from ((level["prefixItems"], index, inner) for index, inner in enumerate(level["prefixItems"]))
    if isinstance(level.get("items"), bool):
        del level["items"]
    for keyword in ("items", "additionalProperties"):
        if isinstance(level.get(keyword), dict):
            yield level, keyword, level[keyword]
