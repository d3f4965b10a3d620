"""What other libraries bring with a function: parameters that they fill themselves, defaults that stand for something,
and tool objects in place of the function.
"""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter

from fissile.functions.field_words import parts

_FILLED = frozenset(
    (
        *("Context", "RunContextWrapper", "ToolContext", "RunContext"),  # MCP, OpenAI agents, Google ADK, pydantic-ai
        *("ToolRuntime", "RunnableConfig", "CallbackManagerForToolRun", "AsyncCallbackManagerForToolRun"),  # LangChain
        *("InjectedToolArg", "InjectedToolCallId", "InjectedState", "InjectedStore"),
        *("CancellationToken", "Depends"),  # AutoGen, FastAPI
    )
)
_LIBRARIES = frozenset(
    (
        *("agents", "agno", "autogen_core", "crewai", "docket", "fast_depends", "fastapi", "fastmcp", "google"),
        *("haystack", "langchain", "langchain_core", "langgraph", "llama_index", "mcp", "pydantic_ai"),
        *("semantic_kernel", "smolagents", "strands", "typer", "uncalled_for"),
    )
)
_FUNCTION_AT = ("func", "fn", "function", "entrypoint", "original_function", "_func", "__wrapped__")
_SCHEMA_AT = ("args_schema", "params_json_schema", "parameters", "inputs", "inputSchema", "input_schema", "tool_spec")


def filled_by_library(hint: Any) -> str:
    """Name of the type by which a framework fills a parameter, so that no model may; "" for all others.

    `hint` is a type hint, or the text of one that cannot be resolved.
    """
    if isinstance(hint, str):
        return next((name for name in re.findall(r"\w+", hint) if name in _FILLED), "")
    for part in parts(hint):
        if (name := _name(part)) in _FILLED and (_is_foreign(part) or not _has_json_form(part)):
            return name
    return ""


def is_marker(default: Any) -> bool:
    """True for a default that only its library understands, such as `Depends(...)` or `typer.Option(...)`."""
    return _is_foreign(type(default)) or type(default).__module__.startswith("pydantic.v1")


def tool_object(thing: Any) -> str:
    """What to write in place of a tool object of another library; "" for what is none.

    LangChain, the OpenAI agents SDK, FastMCP, smolagents and others turn a decorated function into an object with a
    name and a schema of its own.
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


def _name(part: Any) -> str:
    return getattr(part, "__name__", type(part).__name__)


def _is_foreign(thing: Any) -> bool:
    kind = thing if isinstance(thing, type) or inspect.isroutine(thing) else type(thing)
    return (getattr(kind, "__module__", None) or "").partition(".")[0] in _LIBRARIES


def _has_json_form(part: Any) -> bool:
    """True for a type of that name which is the user's own and holds data."""
    try:
        TypeAdapter(part).json_schema()
    except Exception:  # pydantic raises of several kinds
        return False
    return True
