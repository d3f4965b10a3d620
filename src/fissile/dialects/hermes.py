"""The Hermes format, also Qwen's: `<tool_call>` tags around one JSON object with "name" and "arguments".

Qwen 2.5 and Qwen 3 were trained on it, so "qwen3" names this same dialect. Whether Qwen 3 thinks is decided by the
prompt and not by the format: see `ChatFormat`'s `template_options` and `enable_thinking`. (Qwen 3.5 and Qwen3-Coder
write XML calls, which is another format.)

The parser reads the JSON first and looks for the closing tag only behind it, so a tag inside a JSON string is
text. It takes time linear in the length of the response, whatever a model writes: every region is scanned once
for its end and decoded once, and a scan that runs over later tags can do so only inside a string, which no
other scan can then share.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fissile.calls import ParsedResponse, ToolCall
from fissile.dialects.json_calls import CUT_OFF, RejectedError, blank_end, decode_call, json_end, json_marks
from fissile.dialects.prompting import Instructing, call_bodies, function_lines
from fissile.dialects.responses import call_marks, is_mentioned, malformed, split_response
from fissile.tasks import Message
from fissile.tools import Tool

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_MARKS = call_marks(_OPEN)
_CALL_END = re.compile("</?tool_call>|</think>")
_JSON_MARKS = json_marks(_CALL_END.pattern)

_INSTRUCTIONS = """\
# Tools

You may call one or more functions to assist with the user query. The functions are:
{tools}

For each function call, return a JSON object with function name and arguments within <tool_call></tool_call> tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


@dataclass(frozen=True)
class HermesDialect(Instructing):
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, after Nous Hermes 2 Pro and Qwen 2.5 and 3."""

    name = "hermes"
    instructions = _INSTRUCTIONS
    end_markers = ()

    def announce(self, tools: Sequence[Tool]) -> str:
        """The schemas in `<tools>` tags, one a line."""
        return f"<tools>\n{function_lines(tools)}\n</tools>" if tools else ""

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """One tag a call, one below the other; a malformed call is written as the model wrote it."""
        return "\n".join(f"{_OPEN}\n{body}\n{_CLOSE}" for body in call_bodies(calls))

    def render_result(self, content: str) -> Message:
        """A user turn with the content in `<tool_response>` tags, which every chat template can render."""
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}

    def parse(self, text: str, offered: Collection[str] | None = None) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A call is well-formed when its tag holds exactly one JSON object with a string "name" and an object
        "arguments" (or a JSON string of one; see `decode_call` for a call without any); other keys are ignored and the
        closing tag may be missing. A tag in quotes or in the middle of a sentence is content.
        """
        return split_response(text, _MARKS, _read_call)


def _read_call(text: str, tag: re.Match[str]) -> tuple[Sequence[ToolCall] | None, int]:
    """The call behind its opening tag, and the offset behind it."""
    if is_mentioned(text, tag.start(), tag.end()):
        return None, tag.end()
    start = blank_end(text, tag.end())
    end, complete = json_end(text, start, _JSON_MARKS)
    call, behind = _read_region(text, start, end if complete else start, complete)
    if complete and not call.is_well_formed:  # an unclosed string may have swallowed the closing tag
        call, behind = _read_region(text, start, start, complete)
    return [call], behind


def _read_region(text: str, start: int, value_end: int, complete: bool) -> tuple[ToolCall, int]:
    """The call between `start` and the first tag from `value_end` on, and the offset behind that tag."""
    mark = _CALL_END.search(text, value_end)
    end = mark.start() if mark else len(text)
    behind = mark.end() if mark and mark.group() == _CLOSE else end
    body = text[start:end].rstrip()
    try:
        name, arguments = decode_call(body)
    except RejectedError as rejected:
        cut_off = not complete and mark is None and body.startswith("{")
        reason, offset = (CUT_OFF, len(body)) if cut_off else (rejected.reason, rejected.position)
        return malformed(text, start, end, reason, start + offset), behind
    return ToolCall(name, arguments, body, start), behind
