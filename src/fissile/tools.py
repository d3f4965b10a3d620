"""Tools: a name, a description and a JSON Schema, and the validation of arguments against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from fissile.calls import JSON
from fissile.errors import DataError, ErrorKind, ToolError

_NO_REMOTE_SCHEMAS: Registry[Any] = Registry()
"""A `$ref` to a remote schema is an error; it is never fetched."""


@dataclass(frozen=True)
class Tool:
    """A callable tool as the model sees it.

    Attributes:
        name: unique among the tools of a task.
        description: one paragraph for the model.
        parameters: a JSON Schema (draft 2020-12) of type "object".
    """

    name: str
    description: str
    parameters: dict[str, JSON]

    def __post_init__(self) -> None:
        if not self.name:
            raise DataError("A tool has no name. Give every tool a non-empty 'name'.")
        if not isinstance(self.parameters, dict) or self.parameters.get("type") != "object":
            raise DataError(f"Tool '{self.name}': 'parameters' must be a JSON Schema of type 'object'.")
        try:
            Draft202012Validator.check_schema(self.parameters)
        except jsonschema.SchemaError as error:
            path = ".".join(map(str, error.absolute_path)) or "the top level"
            raise DataError(
                f"Tool '{self.name}': 'parameters' is not a valid JSON Schema at {path}: {error.message}"
            ) from None

    @classmethod
    def from_schema(cls, schema: dict[str, JSON]) -> Tool:
        """A tool from the OpenAI form, with or without the outer {"type": "function", "function": ...}.

        Raises:
            DataError: the schema is not a tool schema.
        """
        if not isinstance(schema, dict):
            raise DataError(f"A tool must be a JSON object with 'name' and 'parameters', not {type(schema).__name__}.")
        function = schema.get("function", schema)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError("A tool has no name. Write it as {'name': ..., 'description': ..., 'parameters': {...}}.")
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        return cls(function["name"], function.get("description") or "", parameters)

    def to_schema(self) -> dict[str, JSON]:
        """The OpenAI form, as chat templates and `trl` expect it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    @property
    def properties(self) -> dict[str, JSON]:
        """Argument name to its schema."""
        properties: dict[str, JSON] = self.parameters.get("properties", {})
        return properties

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required arguments."""
        return tuple(self.parameters.get("required", ()))

    @cached_property
    def _validator(self) -> Draft202012Validator:
        return Draft202012Validator(self.parameters, registry=_NO_REMOTE_SCHEMAS)

    def validate(self, arguments: dict[str, JSON], call_index: int | None = None) -> tuple[ToolError, ...]:
        """Typed errors of `arguments` against the schema; empty when they are valid.

        An argument that the schema does not name is an error, as in a Python call, unless the schema allows
        additional properties explicitly.
        """
        errors = [
            typed
            for violation in sorted(self._validator.iter_errors(arguments), key=lambda e: list(map(str, e.path)))
            for typed in self._typed(violation, call_index)
        ]
        if "additionalProperties" not in self.parameters and "patternProperties" not in self.parameters:
            errors += [
                ToolError(
                    ErrorKind.UNEXPECTED_ARGUMENT,
                    f"{self.name}() got an unexpected argument '{name}'.",
                    call_index,
                    self.name,
                    name,
                )
                for name in arguments
                if name not in self.properties
            ]
        return tuple(dict.fromkeys(errors))  # jsonschema reports `required` once per missing argument

    def _typed(self, violation: ValidationError, call_index: int | None) -> Iterator[ToolError]:
        """One jsonschema violation as typed errors: the validator's keyword decides the kind, never its text."""
        path = ".".join(map(str, violation.absolute_path))
        rule: Any = violation.validator_value
        instance: Any = violation.instance
        match violation.validator:
            case "required":
                missing = [name for name in rule if name not in instance]
                for name in missing:
                    argument = f"{path}.{name}" if path else name
                    message = f"{self.name}() is missing the required argument '{argument}'."
                    yield ToolError(ErrorKind.MISSING_ARGUMENT, message, call_index, self.name, argument)
                return
            case "additionalProperties":
                schema: Any = violation.schema
                for name in (name for name in instance if name not in schema.get("properties", {})):
                    argument = f"{path}.{name}" if path else name
                    message = f"{self.name}() got an unexpected argument '{argument}'."
                    yield ToolError(ErrorKind.UNEXPECTED_ARGUMENT, message, call_index, self.name, argument)
                return
            case "type":
                kind = ErrorKind.WRONG_TYPE
                message = f"argument '{path}' must be of type {_type_name(rule)}, not {json_type(instance)}."
            case "enum":
                kind = ErrorKind.WRONG_VALUE
                message = f"argument '{path}' must be one of {list(rule)}."
            case _:
                kind = ErrorKind.WRONG_VALUE
                message = f"argument '{path}' violates '{violation.validator}': {rule!r}."
        yield ToolError(kind, message, call_index, self.name, path or None)


_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (bool, "boolean"),  # before int, its base class
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
)


def json_type(value: Any) -> str:
    """The JSON Schema name of a value's type."""
    return next((name for python, name in _JSON_TYPES if isinstance(value, python)), "object")


def _type_name(expected: str | list[str]) -> str:
    return expected if isinstance(expected, str) else " or ".join(expected)
