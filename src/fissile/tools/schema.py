"""The schema of a tool's arguments, read and checked once: what it refers to, which arguments it knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator, FormatChecker

from fissile.calls import JSON
from fissile.tools.keywords import validator_of
from fissile.tools.normal import NoObjectError, SchemaError, normal
from fissile.tools.patterns import PatternError, compiled
from fissile.tools.positions import all_schemas
from fissile.tools.readable import readable
from fissile.tools.references import References

_OF_OBJECTS = ("properties", "required", "additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf")
"""Keywords of which one at the top says that a schema without `type` is meant for an object."""


MAX_NESTING = 128
"""Levels of objects and lists in a schema: what walks it does so by recursion."""


@lru_cache(maxsize=8192)
def read_schema(text: str) -> Schema:
    """The schema that a text of JSON holds. Equal texts give the same object, since checking takes milliseconds.

    Raises:
        NoObjectError: it is not for an object.
        SchemaError: it cannot be used.
    """
    return Schema(json.loads(text))


class Schema:
    """A schema of type "object", usable as a whole.

    Attributes:
        rules: draft 2020-12; what the model sees, and what arguments are validated against.
        references: where each `$ref` leads.

    Raises:
        SchemaError: a type, keyword, reference or pattern that cannot be used, and where it stands.
    """

    def __init__(self, schema: JSON) -> None:
        try:
            _refuse_nesting(schema)
            self.rules = _of_an_object(normal(schema))
            Draft202012Validator.check_schema(self.rules, format_checker=FormatChecker(()))
            self.references = References(self.rules)
            self._check_patterns()
            self._check_closed()
            if "" in self.properties:
                raise SchemaError("properties", "an argument has no name")
        except jsonschema.SchemaError as error:
            raise SchemaError(".".join(map(str, error.absolute_path)), error.message) from None
        except RecursionError:
            raise SchemaError("", "it is nested too deeply") from None

    @cached_property
    def readable(self) -> dict[str, JSON]:
        """The schema with references and in-place keywords folded into it."""
        return readable(self.rules, self.references)

    @cached_property
    def validator(self) -> Any:
        """What applies the rules to arguments, within a `Check`."""
        return validator_of(self.rules)

    @property
    def properties(self) -> dict[str, JSON]:
        """The arguments that the schema describes, wherever it does so, each with its readable schema."""
        properties: dict[str, JSON] = self.readable.get("properties", {})
        return properties

    @cached_property
    def is_open(self) -> bool:
        """True where further arguments may be allowed: the schema says what holds for those that it does not name."""
        return any(
            node.get(keyword, False) is not False
            for node in self._of_the_arguments
            for keyword in ("additionalProperties", "unevaluatedProperties", "propertyNames")
        )

    @cached_property
    def name_patterns(self) -> tuple[str, ...]:
        """The patterns for names of arguments."""
        return tuple(pattern for node in self._of_the_arguments for pattern in node.get("patternProperties", ()))

    @cached_property
    def _of_the_arguments(self) -> list[dict[str, Any]]:
        """The schemas that speak of the arguments as a whole."""
        return _reached(self.rules, self.references.same_value)

    def _check_patterns(self) -> None:
        for node in all_schemas(self.rules):
            patterns = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
            for pattern in (*patterns, *node.get("patternProperties", ())):
                try:
                    compiled(pattern)
                except PatternError as error:
                    place = self.references.places[id(node)]
                    raise SchemaError(place, f"the pattern {pattern[:80]!r} cannot be used: {error}") from None

    def _check_closed(self) -> None:
        """What is required beside `additionalProperties: false` must be described with it: else no call is right."""
        for node in all_schemas(self.rules):
            parts = _reached(node, self._holding_with)
            required = {name for part in parts for name in part.get("required", ())}
            for closed in (part for part in parts if part.get("additionalProperties") is False):
                refused = sorted(required - closed.get("properties", {}).keys())
                if refused and not closed.get("patternProperties"):
                    problem = (
                        f"'{refused[0]}' is required, and 'additionalProperties': false refuses it; describe it in the "
                        f"same 'properties', or write 'unevaluatedProperties': false"
                    )
                    raise SchemaError(self.references.places[id(node)], problem)

    def _holding_with(self, node: dict[str, Any]) -> list[JSON]:
        """The schemas that always hold with a schema."""
        return [self.references.target(node), *node.get("allOf", ())]


def _reached(start: JSON, following: Callable[[dict[str, Any]], Iterable[JSON]]) -> list[dict[str, Any]]:
    """A schema and all that one comes to from it, each once."""
    found: dict[int, dict[str, Any]] = {}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and id(node) not in found:
            found[id(node)] = node
            waiting += following(node)
    return list(found.values())


def _of_an_object(schema: JSON) -> dict[str, Any]:
    """The schema with `type: object`, which may go without saying. Raises NoObjectError: it is for something else."""
    if schema in ({}, None):
        return {"type": "object", "properties": {}}
    if isinstance(schema, dict):
        kind = schema.get("type")
        if kind == "object":
            return schema
        if isinstance(kind, list) and "object" in kind:
            return {**schema, "type": "object"}
        if kind is None and any(keyword in schema for keyword in _OF_OBJECTS):
            return {"type": "object", **schema}
        if kind is None and all(isinstance(inner, dict) for inner in schema.values()):
            raise NoObjectError("looks like bare arguments; write {'type': 'object', 'properties': {...}}")
    raise NoObjectError("must be a JSON Schema of type 'object'")


def _refuse_nesting(schema: JSON) -> None:
    waiting = [(schema, 1)]
    while waiting:
        node, level = waiting.pop()
        if level > MAX_NESTING:
            raise SchemaError("", f"it is nested too deeply, in more than {MAX_NESTING} levels")
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        waiting += [(part, level + 1) for part in inner]
