"""Shorter schemas: what pydantic writes, as a small model and the rules of the feedback read it best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fissile.calls import JSON

_REFERENCE = "#/$defs/"


def tidy(schema: JSON, shared: Mapping[str, JSON]) -> JSON:
    """An equal schema that is easier to read for a small model, and for the rules of the feedback.

    Definitions stand where they are used (unless they hold themselves), titles that only repeat a name are dropped, an
    alternative of plain types is one list of types, and objects with fields take no others, unless their type says
    that they do.
    """
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    if name in shared and not _reaches(shared[name], name, shared):
        return tidy({**shared[name], **_without(schema, "$ref")}, shared)
    tidied = _without(schema, "title", "discriminator") if isinstance(schema.get("title", ""), str) else dict(schema)
    for keyword, value in tidied.items():
        if keyword in ("items", "additionalProperties"):
            tidied[keyword] = tidy(value, shared)
        elif keyword in ("anyOf", "oneOf", "allOf"):
            tidied[keyword] = [tidy(inner, shared) for inner in value]
        elif keyword == "prefixItems":  # of a named tuple: the titles are the names
            tidied[keyword] = [_titled(tidy(inner, shared), inner.get("title")) for inner in value]
        elif keyword in ("properties", "patternProperties"):
            tidied[keyword] = {
                key: _titled(tidy(inner, shared), _own_title(inner, key)) for key, inner in value.items()
            }
    if "properties" in tidied:  # of a dataclass, a typed dict, a model: pydantic would drop other keys in silence
        tidied.setdefault("additionalProperties", False)
    return _merge_alternatives(tidied)


def _own_title(schema: JSON, key: str) -> str | None:
    """The title of a property, unless it is the one that pydantic makes of its name."""
    title = schema.get("title") if isinstance(schema, dict) else None
    return title if isinstance(title, str) and title != key.replace("_", " ").strip().title() else None


def _titled(schema: JSON, title: str | None) -> JSON:
    return {"title": title, **schema} if title and isinstance(schema, dict) else schema


def _merge_alternatives(schema: dict[str, JSON]) -> dict[str, JSON]:
    """`anyOf` of plain types, or of one schema and null, as a schema with a list of types."""
    branches = schema.get("anyOf", ())
    types = [branch.get("type") for branch in branches]
    if not types or not all(isinstance(name, str) for name in types):
        return schema
    rules = [rule for branch in branches if (rule := _without(branch, "type"))]
    if not rules:
        merged: dict[str, JSON] = {}
    elif len(branches) == 2 and types[1] == "null" and branches[1] not in rules and "const" not in branches[0]:
        merged = rules[0]  # its other keywords say nothing of null
        if "enum" in merged:
            merged["enum"] = [*merged["enum"], None]
    else:
        return schema
    return {"type": types, **merged, **_without(schema, "anyOf")}


def recursive_definitions(shared: Mapping[str, JSON]) -> dict[str, JSON]:
    """The definitions that hold themselves, and so cannot stand where they are used."""
    return {key: tidy(definition, shared) for key, definition in shared.items() if _reaches(definition, key, shared)}


def _reaches(schema: JSON, name: str, shared: Mapping[str, JSON]) -> bool:
    """True when the definition `name` is used, however indirectly, inside `schema`."""
    seen: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        reference = waiting.pop()
        if reference == name:
            return True
        if reference in shared and reference not in seen:
            seen.add(reference)
            waiting += _references(shared[reference])
    return False


def _references(schema: JSON) -> Iterator[str]:
    match schema:
        case dict():
            if isinstance(schema.get("$ref"), str):
                yield schema["$ref"].removeprefix(_REFERENCE)
            for inner in schema.values():
                yield from _references(inner)
        case list():
            for inner in schema:
                yield from _references(inner)


def _without(schema: Mapping[str, JSON], *keys: str) -> dict[str, JSON]:
    return {key: value for key, value in schema.items() if key not in keys}
