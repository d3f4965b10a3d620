"""How others spell a tool: OpenAI's two forms, Anthropic, MCP, Gemini, Bedrock."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.nearest import nearest

_FORM = "{'name': ..., 'description': ..., 'parameters': {...}}"

_PARAMETERS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema", "parameters_json_schema")
"""The keys under which the schema of the arguments stands."""

_SILENT = frozenset(
    (
        *("strict", "cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming"),
        *("title", "annotations", "outputSchema", "output_schema", "_meta", "icons", "execution"),
        *("return", "returns", "response", "responseJsonSchema", "response_json_schema", "behavior"),
    )
)
"""Keys that say nothing of what a right call is."""

_KNOWN = ("type", "name", "description", *_PARAMETERS, *sorted(_SILENT))
_WRAPPERS = ("function", "toolSpec")
_GROUPS = ("functionDeclarations", "function_declarations", "tools", "functions")


def read_tool(schema: JSON) -> tuple[str, str, JSON]:
    """Name, description and the schema of the arguments.

    Raises:
        DataError: it is no function, or it has a key that is not known; the message names tool and key.
    """
    if not isinstance(schema, dict):
        raise DataError(f"A tool must be a JSON object with 'name' and 'parameters', not {type(schema).__name__}.")
    given = {key: value for key, value in schema.items() if value is not None}
    _refuse_others(given)
    for wrapper in _WRAPPERS:
        if isinstance(given.get(wrapper), dict):
            _refuse_unknown(given, str(given[wrapper].get("name", "")), ("type", wrapper, *sorted(_SILENT)))
            given = {key: value for key, value in given[wrapper].items() if value is not None}
            break
    name, description = given.get("name"), given.get("description", "")
    if not isinstance(name, str) or not name.strip():
        if name is not None:
            raise DataError(f"A tool has no name: its 'name' is {name!r}, which must be a text that is not empty.")
        keys = f" among its keys ({', '.join(map(repr, given))})" if given else ""
        raise DataError(f"A tool has no name{keys}. Write it as {_FORM}.")
    if not isinstance(description, str):
        raise DataError(f"Tool '{name}': 'description' must be a text, not {type(description).__name__}.")
    _refuse_unknown(given, name, _KNOWN)
    return name, description, _parameters(given, name)


def _refuse_others(given: dict[str, Any]) -> None:
    """Tools that are no functions."""
    for key in _GROUPS:
        if key in given and not given.keys() & {"name", *_WRAPPERS}:
            raise DataError(f"A tool is a group of '{key}'. List the declarations themselves, each as a tool.")
    kind = given.get("type", "function")
    if str(kind).lower() not in ("function", "custom", "object") or (
        kind == "custom" and not set(_PARAMETERS) & given.keys()
    ):
        raise DataError(
            f"A tool of type {kind!r} is run by its provider and has no schema to check calls against. "
            f"Leave it out, or write it as a function: {_FORM}."
        )


def _refuse_unknown(given: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            hint = nearest(str(key), known) or f". Write it as {_FORM}"
            raise DataError(f"Tool '{name}' has the key '{key}', which is not known{hint}.")


def _parameters(given: dict[str, Any], name: str) -> JSON:
    found = {key: _decoded(given[key], name, key) for key in _PARAMETERS if key in given}
    schemas = list(found.values())
    if any(schema != schemas[0] for schema in schemas):
        raise DataError(f"Tool '{name}' has {' and '.join(map(repr, found))}, and they differ. Keep one of them.")
    schema = schemas[0] if schemas else {}
    if isinstance(schema, dict) and set(schema) == {"json"}:  # Bedrock
        schema = schema["json"]
    return schema


def _decoded(value: JSON, name: str, key: str) -> JSON:
    """A schema that is a string of JSON, decoded."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        _fail(name, f"'{key}' is a text, and not JSON")


def _fail(name: str, problem: str) -> NoReturn:
    raise DataError(f"Tool '{name}': {problem}.")
