"""BFCL's format: a Python list of calls with keyword arguments, `[f(a=1, b='x'), g(c=[1, {'k': None}])]`.

The text is read, never compiled or evaluated (`python_literals`). Where BFCL's own decoder fails on calls in a
fence, among prose or on lines of their own, this parser reads them. What it takes beyond Python: `true`, `false`
and `null`, names with hyphens, keywords as names of arguments, and a list that the end of the text leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fissile.calls import JSON, ParsedResponse, ToolCall
from fissile.dialects.json_calls import CUT_OFF, RejectedError, blank_end, shorten
from fissile.dialects.prompting import Instructing
from fissile.dialects.python_literals import brackets_end, expect, read_literal, skip_blank
from fissile.dialects.responses import call_marks, malformed, split_response
from fissile.tasks import Message

_NAME = r"[^\W\d][\w.-]*+"
# `[name(` that is no subscript, or `name(` at the beginning of a line.
_MARKS = call_marks(rf"(?<![\w)\]])\[\s*+{_NAME}\s*+\(|^[ \t]*+{_NAME}\(")
_CALL = re.compile(rf"(?P<name>{_NAME})\s*+\(")
_KEYWORD = re.compile(r"(?P<name>[^\W\d]\w*+)\s*+=(?!=)")
_PLAIN_KEYWORD = re.compile(r"[^\W\d]\w*+")
_CUT_NAME = re.compile(rf"(?:{_NAME})?\s*+\Z")
_SEPARATOR = re.compile(r"[ \t]*+[,;]")
_LINE_ENDS = re.compile(r"[ \t]*+\]?[ \t\r]*+(?:#[^\n]*+)?(?=\n|\Z)")
_EMPTY_FENCE = re.compile(r"```\w*+\s*+(?:```|\Z)")

MAX_LINE = 200
"""Characters of a line, on either side, in which words are looked for."""

_INSTRUCTIONS = """\
You compose function calls. Given a request and the functions below, make the calls that fulfil it.
If none of the functions fits, or the request lacks a required argument, say so instead.

Answer with the calls and no other text, as a list; every argument has its name, every value is a literal:
[function_name(argument=value, other_argument=value), second_function(argument=value)]

In each turn go on calling functions until the request is fulfilled. An answer without calls ends the turn.

The functions in JSON, one a line:
{tools}"""


@dataclass(frozen=True)
class PythonDialect(Instructing):
    """`[f(a=1, b='x'), g()]`, after the prompting mode of the Berkeley Function Calling Leaderboard.

    A name of a tool must be made of letters, digits, `_`, `.` and `-`, and not begin with a digit: no other can be
    called in this format.
    """

    name = "python"
    instructions = _INSTRUCTIONS
    end_markers = ()

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """One list; a malformed call is written as the model wrote it."""
        texts = [_render_call(call) if call.is_well_formed else call.text for call in calls]
        return f"[{', '.join(texts)}]" if texts else ""

    def render_result(self, content: str) -> Message:
        """A user turn that holds the list of the tool's message, as BFCL's prompting handlers write it."""
        return {"role": "user", "content": repr([{"role": "tool", "content": content}])}

    def parse(self, text: str, offered: Collection[str] | None = None) -> ParsedResponse:
        """Split a response into calls, content and reasoning. Never raises on any text.

        A list that begins with `[name(` is read wherever it stands, and calls without a list on lines of their
        own. In a list or line that cannot be read to its end, the calls before the trouble are kept, and the rest
        of it is one malformed call. Where it is known what is `offered`, a line of its own that names no tool is
        content unless it reads as a call with arguments: `print("x")` and `f(x) = 2 * x` are plain answers. So is a
        list in the middle of a line: "It takes [O(n)] steps".
        """
        parsed = split_response(text, _MARKS, partial(_read_calls, offered))
        return replace(parsed, content=_EMPTY_FENCE.sub("", parsed.content).strip()) if parsed.calls else parsed


def _render_call(call: ToolCall) -> str:
    arguments = call.arguments or {}
    return f"{call.name}({', '.join(_render_argument(name, value) for name, value in arguments.items())})"


def _render_argument(name: str, value: JSON) -> str:
    """`name=value`, or Python's way to pass a name that cannot stand there."""
    return f"{name}={value!r}" if _PLAIN_KEYWORD.fullmatch(name) else f"**{ ({name: value})!r}"


def _read_calls(
    offered: Collection[str] | None, text: str, mark: re.Match[str]
) -> tuple[Sequence[ToolCall] | None, int]:
    """The calls of the list or the line that begins at `mark`, or None for content; and the offset behind them."""
    start = blank_end(text, mark.start())
    is_list = text[start] == "["
    calls, end = _read_list(text, start) if is_list else _read_line(text, start)
    head = _CALL.match(text, blank_end(text, start + is_list))
    if offered is None or head is None or head["name"] in offered or all(call.arguments for call in calls):
        return calls, end
    if is_list and not _is_in_a_sentence(text, start, end):
        return calls, end
    return None, end


def _is_in_a_sentence(text: str, start: int, end: int) -> bool:
    """True for a list that is closed, with words before or behind it on its line."""
    before = text[max(start - MAX_LINE, 0) : start].rpartition("\n")[2]
    behind = text[end : end + MAX_LINE].partition("\n")[0]
    return text[end - 1] == "]" and any(letter.isalnum() for letter in before + behind)


def _read_list(text: str, start: int) -> tuple[Sequence[ToolCall], int]:
    """The calls of the list that opens at `start`; the end of the text may stand for its closing bracket."""
    calls: list[ToolCall] = []
    at = skip_blank(text, start + 1)
    try:
        while at < len(text) and text[at] != "]":
            call, at = _read_call(text, at)
            calls.append(call)
            at = skip_blank(text, at)
            if at < len(text) and expect(text, at, ",]", "a call") == ",":
                at = skip_blank(text, at + 1)
    except RejectedError as rejected:
        closed = brackets_end(text, start)
        end = max(closed or len(text), rejected.position)
        last = end - 1 if end == closed and text[at:end].endswith("]") else end
        return [*calls, malformed(text, at, last, rejected.reason, rejected.position)], end
    return calls, min(at + 1, len(text))


def _read_line(text: str, start: int) -> tuple[Sequence[ToolCall], int]:
    """The calls from `start` on to the end of the line, with `,` or `;` between them."""
    calls: list[ToolCall] = []
    at = start
    try:
        while _CALL.match(text, at):
            call, at = _read_call(text, at)
            calls.append(call)
            separator = _SEPARATOR.match(text, at)
            at = skip_blank(text, separator.end()) if separator else at
    except RejectedError as rejected:
        end = max(brackets_end(text, at) or len(text), rejected.position)
        return [*calls, malformed(text, at, end, rejected.reason, rejected.position)], end
    if separator:
        return calls, at
    if line_end := _LINE_ENDS.match(text, at):
        return calls, line_end.end()
    at = skip_blank(text, at)
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return [*calls, malformed(text, at, end, "expected the end of the line behind a call", at)], end


def _read_call(text: str, start: int) -> tuple[ToolCall, int]:
    """The call that begins at `start`, and the offset behind it; or `RejectedError`, with an offset in `text`."""
    head = _CALL.match(text, start)
    if head is None:
        if _CUT_NAME.match(text, start):
            raise RejectedError(CUT_OFF, len(text))
        raise RejectedError("a call is written name(argument=value)", start)
    arguments: dict[str, JSON] = {}
    at = skip_blank(text, head.end())
    while not text.startswith(")", at):
        given, behind = _read_argument(text, at)
        if twice := given.keys() & arguments.keys():
            raise RejectedError(f"the argument '{shorten(min(twice))}' is given twice", at)
        arguments |= given
        at = skip_blank(text, behind)
        if expect(text, at, ",)", "an argument") == ",":
            at = skip_blank(text, at + 1)
    return ToolCall(head["name"], arguments, text[start : at + 1], start), at + 1


def _read_argument(text: str, at: int) -> tuple[dict[str, JSON], int]:
    """The argument `name=value`, or those of `**{...}`, and the offset behind; or `RejectedError`."""
    if text.startswith("**", at):
        given, end = read_literal(text, skip_blank(text, at + 2))
        if not isinstance(given, dict):
            raise RejectedError("only a dict can stand behind '**'", at)
        return given, end
    keyword = _KEYWORD.match(text, at)
    if keyword is None:
        if _CUT_NAME.match(text, at):
            raise RejectedError(CUT_OFF, len(text))
        raise RejectedError("an argument is written name=value; a value without its name cannot be passed", at)
    value, end = read_literal(text, skip_blank(text, keyword.end()))
    return {keyword["name"]: value}, end
