"""Calls, results and attempts: what a model wrote and what came of it. Torch-free and JSON-ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fissile.errors import ErrorKind, ToolError

JSON = Any
"""A JSON value: None, bool, int, float, str, list or dict."""


@dataclass(frozen=True, slots=True)
class ParseError:
    """Why a call could not be parsed, and where (character offset in the response)."""

    reason: str
    position: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as the model wrote it. A malformed call is kept as a call, with its `parse_error`.

    Attributes:
        name: the tool name; None where it could not be parsed.
        arguments: argument name to JSON value; None where they could not be parsed.
        text: the exact text of the call, delimiters excluded.
        position: character offset of `text` in the response.
        parse_error: None for a well-formed call.
    """

    name: str | None
    arguments: dict[str, JSON] | None
    text: str
    position: int = 0
    parse_error: ParseError | None = None

    @property
    def is_well_formed(self) -> bool:
        """True when name and arguments could both be parsed."""
        return self.parse_error is None

    @property
    def signature(self) -> str:
        """A canonical form: equal for two calls that ask for the same thing, whatever their spacing or key order."""
        if self.name is None or self.arguments is None:
            return " ".join(self.text.split())
        return f"{self.name}({canonical_json(self.arguments)})"

    @classmethod
    def of(cls, name: str, arguments: dict[str, JSON]) -> ToolCall:
        """A well-formed call, in canonical JSON."""
        return cls(name, arguments, canonical_json({"name": name, "arguments": arguments}))


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A response split by its dialect.

    Attributes:
        calls: every call in order, malformed ones included.
        content: the text outside calls and reasoning, stripped.
        reasoning: the text inside reasoning tags, stripped.
    """

    calls: tuple[ToolCall, ...]
    content: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to one call. `error` is None for a success."""

    content: str
    call_index: int = 0
    error: ToolError | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One assistant response that calls tools, or should have, with its verdict.

    Attributes:
        text: the response as decoded, without special tokens.
        calls: its calls in order.
        errors: what was found wrong; empty exactly when the attempt succeeded.
        truncated: the response hit its token limit.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    errors: tuple[ToolError, ...] = field(default=())
    truncated: bool = False

    @property
    def failed(self) -> bool:
        """True when the record carries at least one error."""
        return bool(self.errors)

    @property
    def signature(self) -> str:
        """Canonical form of what was called, for the repeat rate and for deduplication. Order-sensitive.

        An attempt without any call is identified by its text with the white space folded.
        """
        if not self.calls:
            return " ".join(self.text.split())
        return "\n".join(call.signature for call in self.calls)

    @property
    def failed_calls(self) -> frozenset[int | None]:
        """Indices of the calls that an error is about; None where one is about none of them."""
        return frozenset(error.call_index for error in self.errors)

    @property
    def error_kinds(self) -> tuple[ErrorKind, ...]:
        """The distinct kinds, in the order in which they were found."""
        return tuple(dict.fromkeys(error.kind for error in self.errors))


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A failed attempt and the feedback that answered it."""

    attempt: Attempt
    feedback: str


def unreadable(call: ToolCall, index: int, cut_off: bool = False) -> ToolError:
    """The error of a malformed call, the `index`-th of its response; `cut_off` where the token limit ended it."""
    assert call.parse_error is not None
    reason, position = call.parse_error.reason, call.parse_error.position
    if cut_off:
        kind, message = ErrorKind.TRUNCATED, "the response reached its length limit inside a tool call."
    else:
        kind, message = ErrorKind.MALFORMED_CALL, f"the tool call cannot be parsed: {reason} (character {position})."
    return ToolError(kind, message, index, call.name, position=position)


def shorten(text: str, limit: int = 60) -> str:
    """What a model wrote, cut to what a message can hold."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def scalars(value: JSON) -> Iterator[JSON]:
    """The values inside objects and lists, at every depth, in order."""
    match value:
        case dict():
            for inner in value.values():
                yield from scalars(inner)
        case list():
            for inner in value:
                yield from scalars(inner)
        case _:
            yield value


def canonical_json(value: JSON) -> str:
    """JSON with sorted keys and no spaces; non-finite floats are allowed, since models write them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
