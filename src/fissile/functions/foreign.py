"""What other libraries bring with a function: parameters that they fill themselves, defaults that stand for something,
and tool objects in place of the function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args, get_origin

_FILLED = frozenset(
    {
        "Context",  # MCP, FastMCP
        "RunContextWrapper",  # OpenAI agents
        "ToolContext",  # OpenAI agents, Google ADK
        "RunContext",  # pydantic-ai
        "ToolRuntime",  # LangChain
        "RunnableConfig",
        "CallbackManagerForToolRun",
        "AsyncCallbackManagerForToolRun",
        "InjectedToolArg",
        "InjectedToolCallId",
        "InjectedState",
        "InjectedStore",
        "CancellationToken",  # AutoGen
        "Depends",  # FastAPI, FastMCP
    }
)
_LIBRARIES = frozenset(
    "agents agno autogen_core crewai docket fast_depends fastapi fastmcp google haystack langchain langchain_core "
    "langgraph llama_index mcp pydantic_ai semantic_kernel smolagents strands typer uncalled_for".split()
)
_FUNCTION_AT = ("func", "fn", "function", "forward", "entrypoint", "original_function", "_func", "__wrapped__")
_SCHEMA_AT = ("args_schema", "params_json_schema", "parameters", "inputs", "inputSchema", "input_schema", "tool_spec")


def filled_by_library(hint: Any) -> str:
    """Name of the type by which a framework fills a parameter itself, so that no model may; "" for all others.

    Args:
        hint: a type hint, or the text of one that cannot be resolved.
    """
    for part in _parts(hint):
        if isinstance(part, str):
            name = (re.findall(r"\w+(?=\s*$|\s*\[|\s*\])", part) or [""])[0]
            if name in _FILLED:
                return name
        elif (name := _name(part)) in _FILLED and (_is_foreign(part) or not _has_json_form(part)):
            return name
    return ""


def is_marker(default: Any) -> bool:
    """True for a default that only its library understands, such as `Depends(...)` or `typer.Option(...)`."""
    return _is_foreign(type(default)) or type(default).__module__.startswith("pydantic.v1")


def tool_object(thing: Any) -> str:
    """What to write in place of a tool object of another library; "" for what is none.

    LangChain, the OpenAI agents SDK, FastMCP, smolagents and others turn a decorated function into an object with a name
    and a schema of its own.
    """
    if isinstance(thing, type) or inspect.isroutine(thing) or inspect.ismodule(thing):
        return ""
    with suppress(Exception):  # objects that answer to any attribute, and those that answer to none
        named = isinstance(getattr(thing, "name", None), str) or isinstance(getattr(thing, "tool_name", None), str)
        if not named or all(_is_nothing(getattr(thing, attribute, None)) for attribute in _SCHEMA_AT):
            return ""
        found = [attribute for attribute in _FUNCTION_AT if inspect.isroutine(getattr(thing, attribute, None))]
        return f".{found[0]}" if found else "its undecorated function"
    return ""


def _is_nothing(schema: Any) -> bool:
    return schema is None or inspect.isroutine(schema)  # such as torch's `module.parameters()`


def is_tool_class(thing: type) -> bool:
    """True for a class that another library makes a tool of, such as a subclass of LangChain's `BaseTool`."""
    return any(_is_foreign(base) and "tool" in base.__name__.lower() for base in thing.__mro__)


def _parts(hint: Any) -> Iterator[Any]:
    """A hint and all that stands inside its brackets."""
    yield hint
    if (origin := get_origin(hint)) is not None:
        yield origin
    for inner in get_args(hint):
        yield from _parts(inner)


def _name(part: Any) -> str:
    return getattr(part, "__name__", type(part).__name__)


def _is_foreign(thing: Any) -> bool:
    kind = thing if isinstance(thing, type) or inspect.isroutine(thing) else type(thing)
    return (getattr(kind, "__module__", None) or "").partition(".")[0] in _LIBRARIES


def _has_json_form(part: Any) -> bool:
    """True for a class of that name which is the user's own and holds data."""
    return isinstance(part, type) and (hasattr(part, "__annotations__") and bool(part.__annotations__))
