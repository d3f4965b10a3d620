"""The JSON format of Llama 3.1 to 3.3: one object with "name" and "parameters", without tags around it.

Several calls are separated by `;` or line ends, and `<|python_tag|>` may stand before a call. Since nothing closes a
call, an object counts as one when its first key is one that calls have ("name", "type", "parameters", ...); any
other JSON in a response is content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fissile.calls import ParsedResponse, ToolCall
from fissile.dialects.json_calls import CUT_OFF, RejectedError, decode_call, dump, json_end, json_marks
from fissile.dialects.prompting import schema_lines, with_system_text
from fissile.dialects.responses import call_marks, malformed, split_response
from fissile.tasks import Message
from fissile.tools import Tool

_TAG = "<|python_tag|>"
_ARGUMENT_KEYS = ("parameters", "arguments")
_MARKS = call_marks(rf"(?:{re.escape(_TAG)}\s*+)++|\{{\s*+[\"'](?:name|type|function|parameters|arguments)[\"']\s*+:")
# What stands between two objects and never in one: a call that is not closed ends there.
_JSON_MARKS = json_marks(rf"{re.escape(_TAG)}|;|(?<=\}})\s*+(?=\{{)")
_SEPARATOR = re.compile(r"\s*+;")

_INSTRUCTIONS = """\
You can call the functions below. To call one, respond with JSON and nothing else, in the format
{{"name": function name, "parameters": dictionary of argument name and its value}}
and do not use variables. Separate several calls with "; ".

{tools}"""


@dataclass(frozen=True)
class LlamaJsonDialect:
    """`{"name": ..., "parameters": {...}}`, after Llama 3.1, 3.2 and 3.3."""

    name = "llama3_json"
    end_markers = ("<|eom_id|>",)

    def instruct(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
        """`messages` with tools and format in the system prompt, in Llama's words, shortened; see the protocol."""
        if not tools:
            return list(messages)
        return with_system_text(messages, _INSTRUCTIONS.format(tools=self.announce(tools)))

    def announce(self, tools: Sequence[Tool]) -> str:
        """The schemas as JSON, one a line. In their outer object, as in Llama's prompts, they do not read as calls."""
        return schema_lines(tools)

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """One object a call, with "; " between them; a malformed call is written as the model wrote it."""
        return "; ".join(
            dump({"name": call.name, "parameters": call.arguments}) if call.is_well_formed else call.text
            for call in calls
        )

    def render_result(self, content: str) -> Message:
        """A turn of the role "ipython", in which Llama 3 reads what its calls gave."""
        return {"role": "ipython", "content": content}

    def parse(self, text: str) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A call is well-formed when it is one JSON object with a string "name" and an object "parameters" (or
        "arguments", or a JSON string of one); other keys are ignored.
        """
        return split_response(text, _MARKS, _read_call)


def _read_call(text: str, mark: re.Match[str]) -> tuple[Sequence[ToolCall], int]:
    """The call that begins at `mark`, and the offset behind it."""
    start = mark.end() if mark["call"].startswith(_TAG) else mark.start()
    end, complete = json_end(text, start, _JSON_MARKS)
    if end == start:  # a tag without an object behind it
        end = text.find(_TAG, start)
        end = len(text) if end < 0 else end
    body = text[start:end].rstrip()
    separator = _SEPARATOR.match(text, end)
    behind = separator.end() if separator else end
    try:
        name, arguments = decode_call(body, _ARGUMENT_KEYS)
    except RejectedError as rejected:
        cut_off = not complete and end == len(text) and body.startswith("{")
        reason, position = (CUT_OFF, end) if cut_off else (rejected.reason, start + rejected.position)
        return [malformed(text, start, end, reason, position)], behind
    return [ToolCall(name, arguments, body, start)], behind
