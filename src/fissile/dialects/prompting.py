"""How tools are put before a model by a dialect, where the chat template does not do it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fissile.calls import JSON
from fissile.dialects.base import Dialect
from fissile.tasks import Message
from fissile.tools import Tool


def function_lines(tools: Sequence[Tool]) -> str:
    """Name, description and parameters of each tool as compact JSON, one a line."""
    return "\n".join(_compact(tool.to_schema()["function"]) for tool in tools)


def schema_lines(tools: Sequence[Tool]) -> str:
    """As `function_lines`, each in the outer object {"type": "function", "function": ...}."""
    return "\n".join(_compact(tool.to_schema()) for tool in tools)


def instructed(
    messages: Sequence[Message], tools: Sequence[Tool], instructions: str, dialect: Dialect, **parts: str
) -> list[Message]:
    """`messages` with the instructions at the end of their system message, or as one where they have none.

    Args:
        messages: of the conversation.
        tools: that are offered; without any nothing is written.
        instructions: a template with {tools}, filled by `dialect.announce`.
        dialect: whose tools and format they explain.
        parts: fill what else the template names.
    """
    if not tools:
        return list(messages)
    text = instructions.format(tools=dialect.announce(tools), **parts)
    if messages and messages[0]["role"] == "system":
        first, *rest = messages
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    return [{"role": "system", "content": text}, *messages]


def _compact(schema: JSON) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
