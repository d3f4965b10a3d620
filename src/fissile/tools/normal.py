"""Other spellings of a JSON Schema (OpenAPI, Gemini, BFCL, drafts 3 to 7, padded columns) as draft 2020-12.

A schema that needs no change comes back equal. What is known is rewritten, and what would be ignored is refused.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

from fissile.calls import JSON
from fissile.tools.positions import IN_PLACE, with_inner_schemas

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")

_OTHER_TYPES = {
    **{"dict": "object", "list": "array", "tuple": "array", "str": "string", "bool": "boolean"},
    **{"int": "integer", "long": "integer", "float": "number", "double": "number", "none": "null", "nonetype": "null"},
}
_NO_CONSTRAINT = frozenset(("any", "type_unspecified"))
"""Type names that say nothing."""

_MAY_BE_NULL = frozenset(("default", "const", "example"))
"""Keywords for which null is a value; elsewhere it is the padding of a columnar file."""

_ANNOTATIONS = ("title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly")

_OTHERS = frozenset((*_ANNOTATIONS, "nullable", "definitions", "components", "dependencies", "additionalItems"))

MIN_COMPARED = 4
"""Letters of a known keyword up to which its spelling must be right: "note" is not "not"."""

MAX_COMPARED = 40
"""Characters of an unknown keyword that are compared with the known ones."""

_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""Keywords whose number Gemini's JSON writes as a text."""

_REFUSED = {
    "$dynamicRef": "write '$ref'",
    "$recursiveRef": "write '$ref'",
    "extends": "write 'allOf'",
    "disallow": "write 'not'",
    "divisibleBy": "write 'multipleOf'",
}

_RULES = frozenset(Draft202012Validator.VALIDATORS) | {"$defs", "minContains", "maxContains", "then", "else"}
"""Keywords that demand something; one that is misspelt would demand nothing."""


class SchemaError(Exception):
    """A schema that cannot be used: where, and why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"at {path or 'the top level'}: {problem}")


class NoObjectError(Exception):
    """A schema that is not for the arguments of a tool; the message says what it must be."""


def normal(schema: JSON, path: str = "") -> JSON:
    """A schema, which stands at `path`, as draft 2020-12 spells it, at every depth.

    Raises:
        SchemaError: a type or a keyword that is not known; what else is wrong is left to the metaschema.
    """
    if not isinstance(schema, dict):
        return schema
    known = {key: value for key, value in schema.items() if value is not None or key in _MAY_BE_NULL}
    if "x-nullable" in known:  # Swagger 2
        known["nullable"] = known.pop("x-nullable")
    known.pop("$schema", None)  # with it, validation would change the dialect half-way
    for keyword, advice in _REFUSED.items():
        if keyword in known:
            raise SchemaError(path, f"'{keyword}' is not supported; {advice}")
    for keyword in known.keys() - _RULES - _OTHERS:
        if near := _meant(keyword):
            raise SchemaError(path, f"'{keyword}' is no keyword of JSON Schema; did you mean '{near}'?")
    if not isinstance(known.get("nullable", True), bool):
        raise SchemaError(path, f"'nullable' must be true or false, not {known['nullable']!r}")
    known |= {key: int(known[key]) for key in _COUNTS if re.fullmatch("[0-9]{1,18}", str(known.get(key)))}
    known = _tuples(_dependencies(_with_bounds(_required_names(known))))
    inside = with_inner_schemas(known, lambda place, inner: normal(inner, f"{path}.{place}" if path else place))
    return _nullable(_with_types(inside, path))


@lru_cache(maxsize=4096)
def _meant(keyword: str) -> str | None:
    """The keyword that was probably meant; None for a word of its own."""
    spelled = {name.lower(): name for name in _RULES}
    lower = keyword.lower()[:MAX_COMPARED]
    exact = [name for name in (lower, lower.removesuffix("s"), f"${lower}") if name in spelled]
    long = [name for name in spelled if len(name) > MIN_COMPARED]
    near = exact or difflib.get_close_matches(lower, long, n=1, cutoff=0.85)
    return spelled[near[0]] if near else None


def _required_names(schema: dict[str, Any]) -> dict[str, Any]:
    """`required: true` on a property becomes a name in the list of its object; a property that is null goes."""
    if not isinstance(schema.get("properties"), dict):
        return schema
    properties: dict[str, Any] = {}
    required = schema.get("required", [])
    for name, inner in schema["properties"].items():
        if isinstance(inner, dict) and _is_flag(inner, "required"):
            properties[name] = {key: value for key, value in inner.items() if key != "required"}
            if inner["required"] and isinstance(required, list) and name not in required:
                required = [*required, name]
        elif inner is not None:
            properties[name] = inner
    return {**schema, "properties": properties} | ({"required": required} if required else {})


def _with_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """`exclusiveMinimum: true` beside `minimum: 3` becomes `exclusiveMinimum: 3`."""
    changed = dict(schema)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if _is_flag(schema, exclusive):
            del changed[exclusive]
            if schema[exclusive] and bound in schema:
                changed[exclusive] = changed.pop(bound)
    return changed


def _dependencies(schema: dict[str, Any]) -> dict[str, Any]:
    """`dependencies` becomes `dependentRequired` and `dependentSchemas`."""
    if not isinstance(schema.get("dependencies"), dict):
        return schema
    changed = dict(schema)
    for name, needed in changed.pop("dependencies").items():
        keyword = "dependentRequired" if isinstance(needed, list) else "dependentSchemas"
        changed[keyword] = {**changed.get(keyword, {}), name: needed}
    return changed


def _tuples(schema: dict[str, Any]) -> dict[str, Any]:
    """A list of `items` becomes `prefixItems`, and `additionalItems` becomes `items`."""
    changed = {key: value for key, value in schema.items() if key != "additionalItems"}
    if isinstance(schema.get("items"), list):
        changed["prefixItems"] = changed.pop("items")
        if "additionalItems" in schema:
            changed["items"] = schema["additionalItems"]
    return changed


def _with_types(schema: dict[str, Any], path: str) -> dict[str, Any]:
    if "type" not in schema:
        return schema
    written = schema["type"]
    names = [_type(name, path) for name in (written if isinstance(written, list) else [written])]
    if _NO_CONSTRAINT.intersection(names):
        return {key: value for key, value in schema.items() if key != "type"}
    return {**schema, "type": list(dict.fromkeys(names)) if isinstance(written, list) else names[0]}


def _type(name: JSON, path: str) -> str:
    lower = name.lower() if isinstance(name, str) else ""
    known = _OTHER_TYPES.get(lower, lower)
    if known not in TYPES and known not in _NO_CONSTRAINT:
        raise SchemaError(path, f"the type {name!r} is not known; write one of {', '.join(TYPES)}")
    return known


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's `nullable: true` as a type that may be null."""
    if not _is_flag(schema, "nullable"):
        return schema
    bare = {key: value for key, value in schema.items() if key != "nullable"}
    if not schema["nullable"]:
        return bare
    if "$ref" in bare or "not" in bare or any(keyword in bare for keyword in IN_PLACE):
        words = {key: value for key, value in bare.items() if key in _ANNOTATIONS}
        rules = {key: value for key, value in bare.items() if key not in _ANNOTATIONS}
        return {"anyOf": [rules, {"type": "null"}], **words}
    if "const" in bare:
        bare = {"enum": [bare["const"]], **{key: value for key, value in bare.items() if key != "const"}}
    if "type" in bare:
        types = bare["type"] if isinstance(bare["type"], list) else [bare["type"]]
        bare["type"] = list(dict.fromkeys([*types, "null"]))
    if isinstance(bare.get("enum"), list) and None not in bare["enum"]:
        bare["enum"] = [*bare["enum"], None]
    return bare


def _is_flag(schema: dict[str, Any], keyword: str) -> bool:
    return isinstance(schema.get(keyword), bool)
