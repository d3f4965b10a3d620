"""The Hermes format, also Qwen's: `<tool_call>` tags around one JSON object with "name" and "arguments".

The parser reads the JSON first and looks for the closing tag only behind it, so a tag inside a JSON string is
text. It takes time linear in the length of the response, whatever a model writes: every region is scanned once
for its end and decoded once, and a scan that runs over later tags can do so only inside a string, which no
other scan can then share.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fissile.calls import JSON, ParsedResponse, ParseError, ToolCall
from fissile.tasks import Message
from fissile.tools import Tool, json_type

MAX_DEPTH = 64
"""Deepest nesting of a call's JSON: far above any tool schema, far below the interpreter's recursion limit."""

MAX_DIGITS = 300
"""Longest integer: beyond it a number no longer fits a float, and converting it is slow."""

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_UNTHINK = "</think>"
_TAG = re.compile("</?tool_call>|</?think>")
_CALL_END = re.compile("</?tool_call>|</think>")
_BLANK = re.compile(r"\s*+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A string (to the end of the text when it is not closed), a bracket, or what cannot stand outside a string.
_JSON_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]|\\|</?tool_call>|</think>', re.DOTALL)

_TOO_DEEP = f"the JSON is nested deeper than {MAX_DEPTH} levels"

_INSTRUCTIONS = """\
# Tools

You may call one or more functions to assist with the user query. The functions are:
<tools>
{tools}
</tools>

For each function call, return a JSON object with function name and arguments within <tool_call></tool_call> tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


@dataclass(frozen=True)
class HermesDialect:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, after Nous Hermes 2 Pro and Qwen 2.5 and 3."""

    name = "hermes"

    def instruct(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
        """`messages` with tools and format in the system prompt, in Qwen's words, shortened; see the protocol."""
        if not tools:
            return list(messages)
        schemas = (tool.to_schema()["function"] for tool in tools)
        lines = (json.dumps(schema, ensure_ascii=False, separators=(",", ":")) for schema in schemas)
        text = _INSTRUCTIONS.format(tools="\n".join(lines))
        if messages and messages[0]["role"] == "system":
            first, *rest = messages
            return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
        return [{"role": "system", "content": text}, *messages]

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """One tag a call, one below the other; a malformed call is written as the model wrote it."""
        bodies = (
            _dump({"name": call.name, "arguments": call.arguments}) if call.is_well_formed else call.text
            for call in calls
        )
        return "\n".join(f"{_OPEN}\n{body}\n{_CLOSE}" for body in bodies)

    def render_result(self, content: str) -> Message:
        """A user turn with the content in `<tool_response>` tags, which every chat template can render."""
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}

    def parse(self, text: str) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A call is well-formed when its tag holds exactly one JSON object with a string "name" and an object
        "arguments" (or a JSON string of one); other keys are ignored and the closing tag may be missing.
        Reasoning that is never closed takes the rest of the text. A first `</think>` that was never opened (some
        templates open it in the prompt) makes everything before it reasoning, whatever looked like calls there.
        """
        calls: list[ToolCall] = []
        content: list[str] = []
        reasoning: list[str] = []
        at = 0
        while tag := _TAG.search(text, at):
            content.append(text[at : tag.start()])
            at = tag.end()
            match tag.group():
                case "<tool_call>":
                    call, at = _read_call(text, at)
                    calls.append(call)
                case "<think>":
                    end = text.find(_UNTHINK, at)
                    end = len(text) if end < 0 else end
                    reasoning.append(text[at:end].strip())
                    at = min(end + len(_UNTHINK), len(text))
                case "</think>" if not reasoning:
                    calls, content, reasoning = [], [], [text[: tag.start()].strip()]
                case stray:
                    content.append(stray)
        content.append(text[at:])
        return ParsedResponse(tuple(calls), "".join(content).strip(), "\n".join(filter(None, reasoning)))


class _RejectedError(ValueError):
    """Text that is no call: a clause that says why, and the character offset of the trouble in it."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def _read_call(text: str, at: int) -> tuple[ToolCall, int]:
    """The call whose opening tag ends at `at`, and the offset behind it."""
    start = _blank_end(text, at)
    json_end = _json_end(text, start)
    call, behind = _read_region(text, start, json_end)
    if json_end is not None and not call.is_well_formed:  # an unclosed string may have swallowed the closing tag
        call, behind = _read_region(text, start, start)
    return call, behind


def _read_region(text: str, start: int, json_end: int | None) -> tuple[ToolCall, int]:
    """The call between `start` and the first tag from `json_end` on, and the offset behind that tag."""
    mark = _CALL_END.search(text, start if json_end is None else json_end)
    end = mark.start() if mark else len(text)
    behind = mark.end() if mark and mark.group() == _CLOSE else end
    body = text[start:end].rstrip()
    try:
        name, arguments = _decode_call(body)
    except _RejectedError as rejected:
        reason, position = rejected.reason, rejected.position
        if json_end is None and mark is None and body.startswith("{"):
            reason, position = "the text ends inside the call", len(body)
        return ToolCall(None, None, body, start, ParseError(reason, start + position)), behind
    return ToolCall(name, arguments, body, start), behind


def _blank_end(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _json_end(text: str, start: int) -> int | None:
    """Offset behind the JSON object or array at `start`; None where its brackets do not close before a tag."""
    if not text.startswith(("{", "["), start):
        return None
    depth = 0
    for mark in _JSON_MARK.finditer(text, start):
        first = text[mark.start()]
        if first in "{[":
            depth += 1
        elif first in "}]":
            depth -= 1
            if depth == 0:
                return mark.end()
        elif first != '"':
            return None
    return None


def _decode_call(body: str) -> tuple[str, dict[str, JSON]]:
    """Name and arguments of the call that is `body`, or `_RejectedError`."""
    call = _decode(body)
    if not isinstance(call, dict):
        raise _RejectedError(f"a call is a JSON object, not of type {json_type(call)}")
    for key in ("name", "arguments"):
        if key not in call:
            raise _RejectedError(f"the call has no key '{key}'")
    name, arguments = call["name"], call["arguments"]
    if not isinstance(name, str):
        raise _RejectedError(f"'name' must be a string, not of type {json_type(name)}")
    if isinstance(arguments, str):
        try:
            arguments = _decode(arguments)
        except _RejectedError as rejected:
            raise _RejectedError(f"'arguments' is a string that holds no JSON object: {rejected.reason}") from None
    if not isinstance(arguments, dict):
        raise _RejectedError(f"'arguments' must be an object, not of type {json_type(arguments)}")
    return name, arguments


def _decode(text: str) -> JSON:
    """The value of a JSON text, strict but for control characters in strings, or `_RejectedError`."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _RejectedError(error.msg, error.pos) from None
    except RecursionError:
        raise _RejectedError(_TOO_DEEP) from None
    if _is_deeper(value, MAX_DEPTH):
        raise _RejectedError(_TOO_DEEP)
    return value


def _is_deeper(value: JSON, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inner))


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise _RejectedError(f"the key '{_shorten(key)}' stands twice in one object")
        keys.add(key)
    return dict(pairs)


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RejectedError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _RejectedError(f"{_shorten(digits)} is too large for a number")
    return number


def _reject_constant(name: str) -> JSON:
    raise _RejectedError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(
    strict=False,
    object_pairs_hook=_unique_keys,
    parse_int=_parse_int,
    parse_float=_parse_float,
    parse_constant=_reject_constant,
)


def _shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _dump(value: JSON) -> str:
    """JSON as models write it: non-ASCII letters as they are, lone surrogates escaped, since no encoder takes them."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
