"""Tools from Python functions: the schema from the type hints, the words from the docstring.

    def reserve(item: str, quantity: int = 1) -> str:
        '''Set items aside for a customer.'''

becomes a tool `reserve` with a required string `item` and an optional integer `quantity`. Every type that pydantic
can read from JSON is understood: also enums, literals, unions, dataclasses, typed dicts and pydantic models.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pydantic import PydanticUserError, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import PydanticSerializationError

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tools import Tool

Function = Callable[..., Any]


class DomainError(Exception):
    """To be raised by a tool that cannot do what was asked: `raise DomainError("There is no item 'x'.")`.

    The model reads the message, as it reads the value of "error" where a tool returns {"error": "..."}. Any other
    exception counts as a tool that broke.
    """


def tool_from_function(function: Function) -> Tool:
    """The tool that a function, or a method of a class, makes.

    The description is the docstring up to its first section; the arguments' descriptions come from its Google-style
    `Args:` section, unless the annotation brings its own (`Annotated[int, Field(description=...)]`).

    Raises:
        DataError: a parameter cannot be filled from JSON by name; the message says what to change.
    """
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise DataError(f"A tool needs a name: {function!r} has none. Write it with 'def'.")
    if any(is_kind(inspect.unwrap(function)) for is_kind in _NOT_PLAIN):
        raise DataError(f"{name}() is asynchronous or a generator. Write a plain function that returns its result.")
    parameters = parameters_of(function)
    for parameter in parameters:
        if parameter.annotation is parameter.empty:
            _fail(parameter, name, f"has no type hint; write for instance '{parameter.name}: str'")
    adapters = adapters_of(function)
    description, documented = _docstring(inspect.getdoc(function) or "")
    schemas, shared = _schemas(adapters)
    for parameter in parameters:
        schema = schemas[parameter.name]
        schema |= _default(parameter, adapters[parameter.name])
        if parameter.name in documented:
            schema.setdefault("description", documented[parameter.name])
    properties = {key: _tidy(schema, shared) for key, schema in schemas.items()}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [parameter.name for parameter in parameters if parameter.default is parameter.empty],
        "additionalProperties": False,
    }
    recursive = {
        key: _tidy(definition, shared) for key, definition in shared.items() if _reaches(definition, key, shared)
    }
    if recursive:
        schema["$defs"] = recursive
    return Tool(name, description, schema)


_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def adapters_of(function: Function) -> dict[str, TypeAdapter[Any]]:
    """What reads each annotated parameter from a JSON value.

    Raises:
        DataError: a type hint has no JSON form.
    """
    name = getattr(function, "__name__", "the function")
    return {
        parameter.name: _adapter(parameter, name)
        for parameter in parameters_of(function)
        if parameter.annotation is not parameter.empty
    }


def parameters_of(function: Function) -> tuple[inspect.Parameter, ...]:
    """The parameters that a call by name fills, annotations resolved; a method's `self` is left out.

    Raises:
        DataError: the signature cannot be read, or a parameter has no name to be called by.
    """
    name = getattr(function, "__name__", "the function")
    try:
        signature = inspect.signature(function, eval_str=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"The parameters of {name}() cannot be read ({error}). Wrap it in a plain function.") from None
    except Exception as error:  # whatever evaluating an annotation raises
        raise DataError(
            f"A type hint of {name}() cannot be resolved: {error}. Import its names at the top of the module."
        ) from None
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self" and parameters[0].annotation is inspect.Parameter.empty:
        del parameters[0]
    for parameter in parameters:
        if parameter.kind in _UNNAMED:
            _fail(parameter, name, _UNNAMED[parameter.kind])
    return tuple(parameters)


_UNNAMED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, and a model passes arguments by name; remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes unnamed arguments; replace it by a list, such as 'items: list[str]'",
    inspect.Parameter.VAR_KEYWORD: "takes any arguments; replace it by named ones, or by 'options: dict[str, str]'",
}


def _adapter(parameter: inspect.Parameter, function: str) -> TypeAdapter[Any]:
    """The reader of one parameter, once it is known to have a schema."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(parameter.annotation)
        adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = str(error.message).partition(". ")[0].rstrip(".")
        _fail(
            parameter,
            function,
            f"has a type hint that cannot be read from JSON ({reason}); "
            f"use str, int, float, bool, list, dict, Literal, an Enum, a dataclass or a pydantic model",
        )
    return adapter


def _schemas(adapters: Mapping[str, TypeAdapter[Any]]) -> tuple[dict[str, dict[str, JSON]], dict[str, JSON]]:
    """A schema for each parameter, and the definitions that they share."""
    by_key, shared = TypeAdapter.json_schemas([(name, "validation", adapter) for name, adapter in adapters.items()])
    return {str(name): dict(schema) for (name, _), schema in by_key.items()}, shared.get("$defs", {})


def _default(parameter: inspect.Parameter, adapter: TypeAdapter[Any]) -> dict[str, JSON]:
    """{"default": ...} where there is one that JSON can say."""
    if parameter.default is parameter.empty:
        return {}
    try:
        value = adapter.dump_python(parameter.default, mode="json", warnings="none")
        json.dumps(value, allow_nan=False)
    except (PydanticSerializationError, ValueError, TypeError):
        return {}
    return {"default": value}


def _fail(parameter: inspect.Parameter, function: str, problem: str) -> NoReturn:
    raise DataError(f"The parameter '{parameter.name}' of {function}() {problem}.")


# --- shorter schemas ---------------------------------------------------------------------------------------------

_REFERENCE = "#/$defs/"
_ONE_SCHEMA = ("items", "additionalProperties")
_LIST_OF_SCHEMAS = ("prefixItems", "anyOf", "oneOf", "allOf")
_MAP_OF_SCHEMAS = ("properties", "patternProperties")


def _tidy(schema: JSON, shared: Mapping[str, JSON]) -> JSON:
    """An equal schema that is easier to read for a small model, and for the rules of the feedback.

    Definitions stand where they are used (unless they hold themselves), titles are dropped, an alternative of plain
    types is one list of types, and objects with fields take no others, unless their type says that they do.

    Args:
        schema: as pydantic writes it.
        shared: name to definition.
    """
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    if name in shared and not _reaches(shared[name], name, shared):
        return _tidy({**shared[name], **_without(schema, "$ref")}, shared)
    tidied = _without(schema, "title", "discriminator") if isinstance(schema.get("title", ""), str) else dict(schema)
    for keyword in _ONE_SCHEMA:
        if keyword in tidied:
            tidied[keyword] = _tidy(tidied[keyword], shared)
    for keyword in _LIST_OF_SCHEMAS:
        if keyword in tidied:
            tidied[keyword] = [_tidy(inner, shared) for inner in tidied[keyword]]
    for keyword in _MAP_OF_SCHEMAS:
        if keyword in tidied:
            tidied[keyword] = {key: _tidy(inner, shared) for key, inner in tidied[keyword].items()}
    if "properties" in tidied:  # of a dataclass, a typed dict, a model: pydantic would drop other keys in silence
        tidied.setdefault("additionalProperties", False)
    return _merge_alternatives(tidied)


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


# --- docstrings --------------------------------------------------------------------------------------------------

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Attributes|Returns?|Yields?|Raises|Examples?|Notes?|Warnings?|References|See Also"
    r"|Todo):\s*"
)
_ARGUMENTS = ("Args", "Arguments", "Parameters")
_ENTRY = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:\s*(?P<text>.*)")


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first section, in one paragraph, and the description of each argument.

    Args:
        text: a Google-style docstring without its indentation.
    """
    summary: list[str] = []
    documented: dict[str, list[str]] = {}
    section, indent = "", 0
    entry: list[str] | None = None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if header := (_SECTION.fullmatch(line) if depth == 0 else None):
            section, indent, entry = header[1], 0, None
        elif not section:
            summary.append(line)
        elif section in _ARGUMENTS and line.strip():
            indent = indent or depth
            match = _ENTRY.match(line.strip()) if depth <= indent else None
            if match:
                entry = documented.setdefault(match["name"], [])
                entry.append(match["text"])
            elif entry is not None:
                entry.append(line)
    return _folded(summary), {name: _folded(lines) for name, lines in documented.items() if _folded(lines)}


def _folded(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
