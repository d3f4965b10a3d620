"""`Tool`: a name, a description and a JSON Schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fissile.calls import JSON
from fissile.errors import DataError, ToolError
from fissile.tools.foreign import read_tool
from fissile.tools.normal import NoObjectError, SchemaError
from fissile.tools.schema import Schema, read_schema
from fissile.tools.validation import is_valid, takes, validate


@dataclass(frozen=True)
class Tool:
    """A callable tool as the model sees it. Its schema is read and checked as a whole when the tool is made.

    Attributes:
        name: unique among the tools of a task.
        description: one paragraph for the model.
        parameters: a JSON Schema of type "object". Other spellings (OpenAPI's `nullable`, Gemini's "STRING", the
            drafts 4 to 7) are rewritten as draft 2020-12.

    Raises:
        DataError: there is no name, or the schema cannot be used; the message says where and why.
    """

    name: str
    description: str
    parameters: dict[str, JSON]

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise DataError("A tool has no name. Give every tool a non-empty 'name'.")
        try:
            schema = read_schema(json.dumps(self.parameters, allow_nan=False))
        except SchemaError as error:
            problem = str(error).removesuffix("?") + ("?" if str(error).endswith("?") else ".")
            raise DataError(f"Tool '{self.name}': 'parameters' is not a valid JSON Schema {problem}") from None
        except NoObjectError as error:
            raise DataError(f"Tool '{self.name}': 'parameters' {error}.") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"Tool '{self.name}': 'parameters' must be a JSON Schema, and is no JSON: {error}."
            ) from None
        object.__setattr__(self, "parameters", schema.rules)
        self.__dict__["schema"] = schema

    @classmethod
    def from_schema(cls, schema: dict[str, JSON]) -> Tool:
        """A tool as OpenAI, Anthropic, MCP, Gemini or Bedrock spell it.

        Read are name, description and the schema of the arguments. What is known to say nothing of a call (such as
        `strict`, `annotations` or `outputSchema`) is left out, and any other key is refused.

        Raises:
            DataError: the schema is not that of a function.
        """
        name, description, parameters = read_tool(schema)
        return cls(name, description, parameters)

    def to_schema(self) -> dict[str, JSON]:
        """The OpenAI form, as chat templates and `trl` expect it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    @cached_property
    def schema(self) -> Schema:
        """The checked schema of the arguments."""
        return read_schema(json.dumps(self.parameters))

    @property
    def readable(self) -> dict[str, JSON]:
        """`parameters` for whoever explains them: references and in-place keywords (`allOf`, ...) are folded in."""
        return self.schema.readable

    @property
    def properties(self) -> dict[str, JSON]:
        """Argument name to its readable schema, wherever `parameters` describes it."""
        return self.schema.properties

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required arguments."""
        return tuple(self.readable.get("required", ()))

    def takes(self, argument: str) -> bool:
        """True for an argument that the schema knows, by name or by a rule for others."""
        return takes(self.schema, argument)

    def satisfies(self, rule: dict[str, Any], value: JSON) -> bool:
        """True where a value satisfies one rule of the schema, such as {"maximum": 3}."""
        return is_valid(self.schema, rule, value)

    def validate(self, arguments: dict[str, JSON], call_index: int | None = None) -> tuple[ToolError, ...]:
        """Typed errors of `arguments` against the schema; empty when they are valid. Never raises on arguments.

        An argument that the schema does not know is an error, as in a Python call.
        """
        return tuple(dict.fromkeys(validate(self.name, self.schema, arguments, call_index)))

    def __getstate__(self) -> dict[str, Any]:
        """Without the checked schema: a copy in another process reads its own."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}
