"""The JSON format of Llama 3.1 to 3.3: one object with "name" and "parameters", without tags around it.

Several calls are separated by `;` or line ends, and `<|python_tag|>` may stand before a call. Since nothing else tells
a call from an answer in JSON, the keys do: an object is a call when it has a name and arguments, or nothing but keys of
a call. Any other JSON in a response is content, `{"name": "Ines", "age": 31}` for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fissile.calls import ParsedResponse, ToolCall
from fissile.dialects.json_calls import CALL_KEYS, CUT_OFF, RejectedError, decode_call, json_end, json_marks
from fissile.dialects.prompting import Instructing, call_bodies, schema_lines
from fissile.dialects.responses import call_marks, is_mentioned, malformed, split_response
from fissile.tasks import Message
from fissile.tools import Tool

_TAG = "<|python_tag|>"
_ARGUMENT_KEYS = ("parameters", "arguments")
_MARKS = call_marks(rf"(?:{re.escape(_TAG)}\s*+)++|\{{\s*+[\"'](?:name|type|function|parameters|arguments)[\"']\s*+:")
# What stands between two objects and never in one: a call that is not closed ends there.
_JSON_MARKS = json_marks(rf"{re.escape(_TAG)}|;|(?<=\}})\s*+(?=\{{)")
_SEPARATOR = re.compile(r"\s*+;")
_ALL_KEYS = CALL_KEYS.union(_ARGUMENT_KEYS)
# Strings, with the colon behind a key, and brackets; a string reaches to the end of the text when it is not closed.
_KEY_MARKS = re.compile(
    r"(?:\"(?P<double>(?:[^\"\\]++|\\.)*+)(?:\"(?P<colon>\s*+:)?)?|'(?P<single>(?:[^'\\]++|\\.)*+)(?:'(?P<other>\s*+:)?)?)"
    r"|[{}\[\]]",
    re.DOTALL,
)

_FUNCTION = re.compile(r"[\"']function[\"']\s*+:\s*+(?:\{|[\"'](?P<name>[^\"']*+)[\"'])")

_INSTRUCTIONS = """\
You can call the functions below. To call one, respond with JSON and nothing else, in the format
{{"name": function name, "parameters": dictionary of argument name and its value}}
and do not use variables. Separate several calls with "; ".

{tools}"""


@dataclass(frozen=True)
class LlamaJsonDialect(Instructing):
    """`{"name": ..., "parameters": {...}}`, after Llama 3.1, 3.2 and 3.3."""

    name = "llama3_json"
    instructions = _INSTRUCTIONS
    end_markers = ("<|eom_id|>",)

    def announce(self, tools: Sequence[Tool]) -> str:
        """The schemas as JSON, one a line. In their outer object, as in Llama's prompts, they do not read as calls."""
        return schema_lines(tools)

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """One object a call, with "; " between them; a malformed call is written as the model wrote it."""
        return "; ".join(call_bodies(calls, "parameters"))

    def render_result(self, content: str) -> Message:
        """A turn of the role "ipython", in which Llama 3 reads what its calls gave."""
        return {"role": "ipython", "content": content}

    def parse(self, text: str, offered: Collection[str] | None = None) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A call is well-formed when it is one JSON object with a string "name" and an object "parameters" (or
        "arguments", or a JSON string of one; see `decode_call` for a call without any); other keys are ignored.
        A name without arguments and without a tag is a call only of a tool that is `offered`, where that is known.
        """
        return split_response(text, _MARKS, partial(_read_call, offered))


def _read_call(
    offered: Collection[str] | None, text: str, mark: re.Match[str]
) -> tuple[Sequence[ToolCall] | None, int]:
    """The call that begins at `mark`, or None for content; and the offset behind it."""
    tagged = mark["call"].startswith(_TAG)
    if tagged and is_mentioned(text, mark.start(), mark.start() + len(_TAG)):
        return None, mark.end()
    start = mark.end() if tagged else mark.start()
    end, complete = json_end(text, start, _JSON_MARKS)
    if not tagged and not _is_call(text, start, end, offered if complete else None):
        return None, end
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


def _is_call(text: str, start: int, end: int, offered: Collection[str] | None) -> bool:
    """Whether the object at `start`, broken or whole, has the keys of a call; without arguments, a tool's name too."""
    keys = set(_first_keys(text, start, end))
    if not keys.isdisjoint(_ARGUMENT_KEYS) and "name" in keys:
        return True
    if not _ALL_KEYS.issuperset(keys) or keys <= {"type", "id"}:
        return False
    if offered is not None and keys <= {"type", "id", "function"}:  # {"function": "x^2"} is an answer
        function = _FUNCTION.search(text, start, end)
        return function is not None and (function["name"] is None or function["name"] in offered)
    if offered is None or not keys.isdisjoint(_ARGUMENT_KEYS):
        return True
    try:
        return decode_call(text[start:end], _ARGUMENT_KEYS)[0] in offered
    except RejectedError:
        return True


def _first_keys(text: str, start: int, end: int) -> Iterator[str]:
    """The keys of the object at `start` itself, not of those inside it."""
    depth = 0
    for mark in _KEY_MARKS.finditer(text, start, end):
        if mark["double"] is None and mark["single"] is None:
            depth += 1 if mark.group() in "{[" else -1
        elif depth == 1 and (mark["colon"] or mark["other"]):
            yield mark["double"] if mark["double"] is not None else mark["single"]
