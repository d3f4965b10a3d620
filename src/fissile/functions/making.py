"""A tool from a function."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.functions.docstrings import read_docstring
from fissile.functions.field_words import describe_fields
from fissile.functions.hints import fail
from fissile.functions.layers import Function, documentation, is_plain, layers
from fissile.functions.library_markers import tool_object
from fissile.functions.parameters import Parameters, parameters_of
from fissile.functions.shorter import recursive_definitions, tidy
from fissile.nearest import nearest
from fissile.tools import Tool


class DomainError(Exception):
    """To be raised by a tool that cannot do what was asked: `raise DomainError("There is no item 'x'.")`.

    The model reads the message, as it reads the value of "error" where a tool returns {"error": "..."}. Any other
    exception counts as a tool that broke.
    """


def tool_from_function(function: Function, name: str = "") -> Tool:
    """The tool that a function, or a method of a class, makes.

    The description is the docstring without its sections on arguments, results and exceptions. An argument's
    description is that of its hint (`Field(description=...)`, `Annotated[int, "..."]`, `Doc("...")`), else what the
    docstring says of it.

    What wraps the function (functools.wraps, partial) shows in the schema as it does in a call. `name` is the tool's,
    where it is not the function's own.

    Raises:
        DataError: it is no plain function, a parameter cannot be filled from JSON by name, or the docstring documents
            an argument that there is not; the message says what to change.
    """
    refuse_tool_object(function, name)
    name = name or getattr(function, "__name__", "")
    if not name.isidentifier():
        what = "a lambda" if name == "<lambda>" else f"an object of type {type(function).__name__}"
        raise DataError(f"A tool needs a name: {what} has none. Write it with 'def'.")
    if not is_plain(function):
        raise DataError(
            f"{name}() is asynchronous or a generator. Write a plain function that returns its result; "
            f"it may call 'asyncio.run(...)' or 'list(...)' itself."
        )
    parameters = parameters_of(function, name)
    for parameter in parameters.signature.parameters.values():
        if parameter.annotation is parameter.empty:
            method = parameter.name in ("self", "cls")
            what = "is for a method, and this is a function; give its class, or remove it"
            hint = f"has no type hint; write for instance '{parameter.name}: str'"
            fail(parameter, name, what if method else hint)
    description, documented = read_docstring(documentation(function))
    return Tool(name, description, _schema(parameters, _by_name(documented, parameters, function, name)))


def refuse_tool_object(thing: Any, name: str = "") -> None:
    """Raises DataError for a tool object of another library, which holds the function that is wanted."""
    instead = tool_object(thing)
    if instead:
        kind = type(thing)
        name = name or str(getattr(thing, "name", ""))
        place = f"'TOOLS = [{name}{instead}]'" if instead.startswith(".") else instead
        raise DataError(
            f"'{name}' is a {kind.__name__} of {kind.__module__.partition('.')[0]}, not a function. "
            f"Give {place} instead."
        )


def _by_name(documented: dict[str, str], parameters: Parameters, function: Function, name: str) -> dict[str, str]:
    """The documented texts by the name that a model writes.

    Raises:
        DataError: one is about an argument that there is not.
    """
    names = parameters.names
    bound = {argument for layer in layers(function) for argument in _arguments(layer)}
    by_name = {}
    for argument, text in documented.items():
        if argument in names or argument in names.values():
            by_name[names.get(argument, argument)] = text
        elif argument not in bound | {"self", "cls"}:
            meant = nearest(argument, names) or f" ({', '.join(names) or 'it has none'})"
            raise DataError(
                f"The docstring of {name}() documents '{argument}', which is none of its parameters{meant}."
            )
    return by_name


def _arguments(layer: Any) -> tuple[str, ...]:
    code = getattr(layer, "__code__", None)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code is not None else ()


def _schema(parameters: Parameters, documented: dict[str, str]) -> dict[str, JSON]:
    raw = parameters.schema()
    shared = raw.get("$defs", {})
    describe_fields((parameter.annotation for parameter in parameters.signature.parameters.values()), shared)
    tidied = tidy({"properties": raw["properties"]}, shared)["properties"]
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {
            key: _argument(tidied[key], "" if "description" in written else documented.get(key, ""))
            for key, written in raw["properties"].items()
        },
        "required": raw.get("required", []),
        "additionalProperties": False,
    }
    if recursive := recursive_definitions(shared):
        schema["$defs"] = recursive
    return schema


_CHOICES = re.compile(r"\s*\(choices:\s*(\[.*\])\)\s*$", re.IGNORECASE)


def _argument(schema: dict[str, JSON], documented: str) -> dict[str, JSON]:
    """The schema of an argument with what the docstring says of it, and without a default that JSON cannot say.

    What the class of its type says about itself follows after that.
    """
    default = {key: value for key, value in schema.items() if key == "default" and _is_json(value)}
    schema = {key: value for key, value in schema.items() if key != "default"} | default  # the type first
    choices = _CHOICES.search(documented)  # as transformers.get_json_schema has it
    if choices and "enum" not in schema:
        with suppress(ValueError):
            schema = {**schema, "enum": json.loads(choices[1])}
            documented = documented[: choices.start()]
    if not documented:
        return schema
    return {**schema, "description": " ".join(filter(None, (documented, schema.get("description"))))}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        return False
    return True
