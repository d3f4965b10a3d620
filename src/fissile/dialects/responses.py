"""How every dialect splits a response: calls, reasoning in tags, and the content around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from fissile.calls import ParsedResponse, ParseError, ToolCall

THINK_TAGS: Mapping[str, str] = {"<think>": "</think>"}
"""Opening to closing tag of reasoning, for most models."""

ReadCalls = Callable[[str, re.Match[str]], tuple[Sequence[ToolCall] | None, int]]
"""(the response, where a call may begin in it) to (the calls that stand there, or None for content; the offset behind).
"""

_QUOTES = frozenset("`'\"")
_REST_OF_SENTENCE = re.compile(r"[ \t]++[^\W\d][^{}()\[\]=:\"<\n]*+(?=[<\n]|\Z)")


def call_marks(call: str, tags: Mapping[str, str] = THINK_TAGS) -> re.Pattern[str]:
    """What `split_response` looks for: the beginning of a call, in a group "call", and the tags of reasoning.

    `call` is a regular expression, in which "^" is the beginning of a line.
    """
    thoughts = "|".join(map(re.escape, [*tags, *tags.values()]))
    return re.compile(rf"(?P<call>{call})|{thoughts}", re.MULTILINE)


def split_response(
    text: str, marks: re.Pattern[str], read: ReadCalls, tags: Mapping[str, str] = THINK_TAGS
) -> ParsedResponse:
    """Split a response from left to right into calls, content and reasoning.

    Reasoning that is never closed takes the rest of the text. A first closing tag that was never opened (some
    templates open it in the prompt) makes everything before it reasoning, whatever looked like calls there.

    `marks` are of `call_marks`. `read` reads the calls where one begins, or None where what stands there is content
    after all; it must never raise, and return an offset behind the beginning. `tags` are those of reasoning.
    """
    calls: list[ToolCall] = []
    content: list[str] = []
    reasoning: list[str] = []
    at = 0
    while mark := marks.search(text, at):
        content.append(text[at : mark.start()])
        at = mark.end()
        if mark["call"] is not None:
            found, at = read(text, mark)
            calls += found or ()
            if found is None:
                content.append(text[mark.start() : at])
        elif closing := tags.get(mark.group()):
            end = text.find(closing, at)
            end = len(text) if end < 0 else end
            reasoning.append(text[at:end].strip())
            at = min(end + len(closing), len(text))
        elif not reasoning:
            calls, content, reasoning = [], [], [text[: mark.start()].strip()]
        else:
            content.append(mark.group())
    content.append(text[at:])
    return ParsedResponse(tuple(calls), "".join(content).strip(), "\n".join(filter(None, reasoning)))


def is_mentioned(text: str, start: int, end: int) -> bool:
    """True where the tag `text[start:end]` is spoken of: it stands in quotes, or in the middle of a sentence."""
    before = text[max(start - 2, 0) : start]
    if before[-1:] in _QUOTES and text[end : end + 1] in _QUOTES:
        return True
    follows_a_word = len(before) == 2 and before[1] in " \t" and not before[0].isspace()
    return follows_a_word and _REST_OF_SENTENCE.match(text, end) is not None


def malformed(text: str, start: int, end: int, reason: str, position: int) -> ToolCall:
    """The call that `text[start:end]` failed to be, because of what stands at the offset `position`."""
    body = text[start:end].rstrip()
    return ToolCall(None, None, body, start, ParseError(reason, min(max(position, start), start + len(body))))
