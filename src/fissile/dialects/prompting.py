"""How tools are put before a model by a dialect, where the chat template does not do it, and calls as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fissile.calls import JSON, ToolCall
from fissile.dialects.json_calls import dump
from fissile.tasks import Message
from fissile.tools import Tool


class Instructing:
    """The part of a dialect that is the same in all: its instructions go to the end of the system prompt."""

    instructions: str  # with the place {tools}

    def announce(self, tools: Sequence[Tool]) -> str:
        """The schemas as JSON, one a line."""
        return function_lines(tools)

    def instruct(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
        """`messages` with tools and format in the system prompt, in the words of the format's makers, shortened."""
        if not tools:
            return list(messages)
        return with_system_text(messages, self.instructions.format(tools=self.announce(tools)))


def call_bodies(calls: Sequence[ToolCall], key: str = "arguments") -> list[str]:
    """Each call as a JSON object, its arguments under `key`; a malformed one as the model wrote it."""
    return [dump({"name": call.name, key: call.arguments}) if call.is_well_formed else call.text for call in calls]


def function_lines(tools: Sequence[Tool]) -> str:
    """Name, description and parameters of each tool as compact JSON, one a line."""
    return "\n".join(_compact(tool.to_schema()["function"]) for tool in tools)


def schema_lines(tools: Sequence[Tool]) -> str:
    """As `function_lines`, each in the outer object {"type": "function", "function": ...}."""
    return "\n".join(_compact(tool.to_schema()) for tool in tools)


def with_system_text(messages: Sequence[Message], text: str) -> list[Message]:
    """`messages` with `text` at the end of their system message, or as one where they have none."""
    if messages and messages[0]["role"] == "system":
        first, *rest = messages
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    return [{"role": "system", "content": text}, *messages]


def _compact(schema: JSON) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
