"""The formats of Mistral's instruction models, both behind the token `[TOOL_CALLS]`.

Tokenizer versions 2 to 7 write one list, `[TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...]`; from version 11 on
each call has its own token, `[TOOL_CALLS]name[ARGS]{...}`, with an optional `[CALL_ID]...` before `[ARGS]`. Both
are read; `MistralDialect.form` says which is written. Source: mistral-common, `tokens/tokenizers/instruct.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from fissile.calls import ParsedResponse, ToolCall
from fissile.dialects.json_calls import (
    CUT_OFF,
    RejectedError,
    blank_end,
    decode,
    decode_call,
    dump,
    json_end,
    json_marks,
)
from fissile.dialects.prompting import Instructing, call_bodies
from fissile.dialects.responses import THINK_TAGS, call_marks, is_mentioned, malformed, split_response
from fissile.tasks import Message
from fissile.tools import Tool, json_type

Form = Literal["list", "args"]
"""`[TOOL_CALLS] [{...}, ...]` (versions 2 to 7) or `[TOOL_CALLS]name[ARGS]{...}` (from version 11 on)."""

_TAG = "[TOOL_CALLS]"
_REASONING_TAGS = {**THINK_TAGS, "[THINK]": "[/THINK]"}
_MARKS = call_marks(r"(?:\[TOOL_CALLS\]\s*+)++", _REASONING_TAGS)
_JSON_MARKS = json_marks(r"\[TOOL_CALLS\]")
_HEAD = re.compile(r"(?P<name>[^\[\]{}\n]*+)(?:\[CALL_ID\][^\[\]{}\n]*+)?+(?:\[ARGS\])?+\s*+")
_NO_ARGUMENTS = re.compile(r'(?:null|"[ \t]*+"|)\s*+(?=\[TOOL_CALLS\]|\Z)')
_CONTROL_TOKEN = re.compile(r"\[(?:CALL_ID|ARGS)\]")

_EXAMPLE = ToolCall("function_name", {"argument": "value"}, "")
_INSTRUCTIONS = """\
You can call the functions below. To call them, answer with the calls and nothing else, in the format
"""


@dataclass(frozen=True)
class MistralDialect(Instructing):
    """Calls behind `[TOOL_CALLS]`."""

    form: Form = "list"  # how `render_calls` writes them; both forms are read

    name = "mistral"
    end_markers = ()

    @property
    def instructions(self) -> str:  # type: ignore[override]
        """With an example in either form."""
        return f"{_INSTRUCTIONS}{self.render_calls([_EXAMPLE]).replace('{', '{{').replace('}', '}}')}\n\n{{tools}}"

    def announce(self, tools: Sequence[Tool]) -> str:
        """One JSON list of the schemas between Mistral's own tokens, as its templates write it before a user turn."""
        return f"[AVAILABLE_TOOLS] {dump([tool.to_schema() for tool in tools])}[/AVAILABLE_TOOLS]" if tools else ""

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """The calls in `form`; a malformed call is written as the model wrote it."""
        if self.form == "list":
            return f"{_TAG} [{', '.join(call_bodies(calls))}]" if calls else ""
        bodies = (f"{call.name}[ARGS]{dump(call.arguments)}" if call.is_well_formed else call.text for call in calls)
        return "".join(f"{_TAG}{body}" for body in bodies)

    def render_result(self, content: str) -> Message:
        """A user turn; Mistral's own templates have a turn for results, and this is for templates that have none."""
        return {"role": "user", "content": f"The function returned:\n{content}"}

    def parse(self, text: str, offered: Collection[str] | None = None) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A call is well-formed when it has a string as its name and a JSON object of arguments (in the list form
        also a JSON string of one; other keys there are ignored). The bracket that closes the list may be missing.
        In a list that cannot be read to its end, the calls before the trouble are kept.
        """
        return split_response(text, _MARKS, _read_calls, _REASONING_TAGS)


def _read_calls(text: str, tag: re.Match[str]) -> tuple[Sequence[ToolCall] | None, int]:
    """The calls behind the tag, and the offset behind them."""
    start = tag.end()
    if is_mentioned(text, tag.start(), tag.start() + len(tag.group().rstrip())):
        return None, start
    if text.startswith("{", start) or (text.startswith("[", start) and not _CONTROL_TOKEN.match(text, start)):
        return _read_list(text, start)
    return _read_named(text, start)


def _read_list(text: str, start: int) -> tuple[Sequence[ToolCall], int]:
    """The calls of the list, or the one call of the object, that begins at `start`."""
    if text[start] == "{":
        return _read_object(text, start, start)
    calls: list[ToolCall] = []
    at = blank_end(text, start + 1)
    while True:
        found, at = _read_object(text, at, at if calls else start)
        calls += found
        at = blank_end(text, at)
        if at == len(text) or text.startswith((_TAG, "]"), at):
            return calls, at + text.startswith("]", at)
        if not text.startswith(",", at):
            found, at = _broken(text, at, at, "expected ',' or ']' behind a call")
            return [*calls, *found], at
        at = blank_end(text, at + 1)


def _read_object(text: str, at: int, start: int) -> tuple[Sequence[ToolCall], int]:
    """The call that is the object at `at`, and the offset behind it; `start` is where it begins if it is malformed."""
    end, complete = json_end(text, at, _JSON_MARKS)
    if not complete:
        return _broken(text, start, end, "expected a JSON object" if end == at else "the call is not closed")
    body = text[at:end]
    try:
        name, arguments = decode_call(body)
    except RejectedError as rejected:
        return [malformed(text, at, end, rejected.reason, at + rejected.position)], end
    return [ToolCall(name, arguments, body, at)], end


def _read_named(text: str, start: int) -> tuple[Sequence[ToolCall], int]:
    """The call `name[ARGS]{...}` that begins at `start`, and the offset behind it."""
    head = _HEAD.match(text, start)
    if head is None or not head["name"].strip():
        return _broken(text, start, start, "the call has no name")
    at = head.end()
    if "[ARGS]" in head.group() and (absent := _NO_ARGUMENTS.match(text, at)):
        end = absent.end()
        return [ToolCall(head["name"].strip(), {}, text[start:end].rstrip(), start)], end
    end, complete = json_end(text, at, _JSON_MARKS)
    if not complete:
        reason = "expected [ARGS] and a JSON object behind the name" if end == at else "the call is not closed"
        return _broken(text, start, end, reason)
    try:
        arguments = decode(text[at:end])
        if not isinstance(arguments, dict):
            raise RejectedError(f"the arguments must be an object, not of type {json_type(arguments)}")
    except RejectedError as rejected:
        return [malformed(text, start, end, rejected.reason, at + rejected.position)], end
    return [ToolCall(head["name"].strip(), arguments, text[start:end], start)], end


def _broken(text: str, start: int, position: int, reason: str) -> tuple[Sequence[ToolCall], int]:
    """What cannot be read from `position` on, up to the next tag, as one malformed call that begins at `start`."""
    end = text.find(_TAG, position)
    end = len(text) if end < 0 else end
    return [malformed(text, start, end, CUT_OFF if position == len(text) else reason, position)], end
