"""Several things that are said of one value as one: all of them hold, or one of them does."""

from __future__ import annotations

from typing import Any

from fissile.calls import JSON
from fissile.tools.equality import json_equal
from fissile.tools.types import json_type

SchemaPart = dict[str, Any]
"""Keywords of one value's schema, without references and in-place keywords."""


def both(one: SchemaPart, other: SchemaPart) -> SchemaPart:
    """What is said where both hold. Of two bounds or descriptions the first one stays."""
    merged = {**one, **{key: value for key, value in other.items() if key not in one}}
    if "properties" in one and "properties" in other:
        merged["properties"] = _joined(one["properties"], other["properties"], "allOf")
    if "items" in one and "items" in other:
        merged["items"] = _join(one["items"], other["items"], "allOf")
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    if "enum" in one and "enum" in other:
        merged["enum"] = [value for value in one["enum"] if _is_among(value, other["enum"])] or one["enum"]
    if "type" in one and "type" in other:
        merged["type"] = _type_of(_common_types(types_of(one), types_of(other)) or types_of(one))
    return merged


def either(branches: list[SchemaPart]) -> SchemaPart:
    """What is said where one of the branches holds: of one schema and null all of it, else what they share."""
    real = [branch for branch in branches if types_of(branch) != ["null"]]
    is_nullable = len(real) < len(branches)
    if len(real) == 1:
        return _or_null(real[0]) if is_nullable else real[0]
    merged: SchemaPart = {}
    types = [types_of(branch) for branch in branches]
    if all(types):
        merged["type"] = _type_of([name for names in types for name in names])
    if real and all("enum" in branch for branch in real):
        choices = [value for branch in real for value in branch["enum"]] + [None] * is_nullable
        merged["enum"] = [value for index, value in enumerate(choices) if not _is_among(value, choices[:index])]
    for branch in real:
        if "properties" in branch:
            merged["properties"] = _joined(merged.get("properties", {}), branch["properties"], "anyOf")
        if "items" in branch:
            merged["items"] = _join(merged.get("items", branch["items"]), branch["items"], "anyOf")
    required = [branch.get("required", []) for branch in real if {"object", *types_of(branch)} == {"object"}]
    common = [name for name in required[0] if all(name in names for names in required)] if required else []
    return {**merged, "required": common} if common else merged


def types_of(schema: SchemaPart) -> list[str]:
    """The types that a schema allows, those of its choices where it names none; [] where it allows any."""
    written = schema.get("type")
    if written is None:
        return list(dict.fromkeys(map(json_type, schema.get("enum", ()))))
    return [written] if isinstance(written, str) else list(written)


def _or_null(schema: SchemaPart) -> SchemaPart:
    merged = dict(schema)
    if "enum" in merged:
        merged["enum"] = [*(value for value in merged["enum"] if value is not None), None]
    if "type" in merged:
        merged["type"] = _type_of([*types_of(merged), "null"])
    return merged


def _common_types(one: list[str], other: list[str]) -> list[str]:
    """The types in both lists; an integer is a number."""
    common = [name for name in one if name in other or (name == "integer" and "number" in other)]
    return common + ["integer"] * ("number" in one and "integer" in other and "integer" not in common)


def _type_of(names: list[str]) -> str | list[str]:
    """As a schema writes it; null comes last."""
    ordered = sorted(dict.fromkeys(names), key="null".__eq__)
    return ordered[0] if len(ordered) == 1 else ordered


def _joined(one: dict[str, JSON], other: dict[str, JSON], keyword: str) -> dict[str, JSON]:
    return {**{name: _join(inner, other.get(name, inner), keyword) for name, inner in one.items()}, **_new(one, other)}


def _new(one: dict[str, JSON], other: dict[str, JSON]) -> dict[str, JSON]:
    return {name: inner for name, inner in other.items() if name not in one}


def _join(one: JSON, other: JSON, keyword: str) -> JSON:
    return one if one is other or one == other else {keyword: [one, other]}


def _is_among(value: JSON, values: list[JSON]) -> bool:
    return any(json_equal(value, other) for other in values)
