"""What a simulator says as fields: kind | tool | argument | rule, one line before the sentence that the policy reads.

A line of the four is compact enough for a small model to write, and read strictly: what is right in it is found by
equality with what the judge set (`truths`). It is a model's text, so it is data: it is split, compared, never shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fissile.calls import ParsedResponse, shorten
from fissile.environments import judge
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Failure
from fissile.feedback.rules import Finding, Hint, find

SEPARATOR = " | "
"""Between two fields."""

NONE = "-"
"""A field that has nothing in it."""

MAX_FIELD = 60
"""Characters of a field."""

MAX_ERRORS = 50
"""Errors of one failure that a simulator may rightly tell."""

_KINDS = {kind.value: kind for kind in ErrorKind}

_RULES = {
    ErrorKind.MALFORMED_CALL: "syntax",
    ErrorKind.TRUNCATED: "length",
    ErrorKind.UNKNOWN_TOOL: "tools",
    ErrorKind.MISSING_CALL: "request",
    ErrorKind.EXTRA_CALL: "request",
    ErrorKind.WRONG_TOOL: "request",
    ErrorKind.WRONG_VALUE: "request",
    ErrorKind.MISSING_ARGUMENT: "required",
    ErrorKind.UNEXPECTED_ARGUMENT: "properties",
}
"""The rule that an error of a kind violates where nothing nearer is known; of all others it is one of the world's."""

_FUTILE = (ErrorKind.WRONG_TOOL, ErrorKind.EXTRA_CALL)
_OF_CALLS = (ErrorKind.MISSING_CALL, ErrorKind.EXTRA_CALL)
_OF_A_WORLD = (ErrorKind.DOMAIN_ERROR, ErrorKind.EXCEPTION, ErrorKind.WRONG_STATE, ErrorKind.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Fields:
    """One error as a simulator tells it.

    Attributes:
        kind: what is wrong.
        tool: name of the called tool as the model wrote it, "" where none is concerned.
        argument: path of the argument without the indices of lists, "" where none is concerned.
        rule: the violated constraint: a keyword of JSON Schema with its short value ("type integer", "minimum 1",
            "enum", "required", "properties": the tool takes no such one), "schema" for one over several arguments,
            "request" for what the user asked for, "syntax", "length", "tools" or "world".
    """

    kind: ErrorKind
    tool: str = ""
    argument: str = ""
    rule: str = ""

    @property
    def line(self) -> str:
        """As a simulator writes them."""
        return SEPARATOR.join(text or NONE for text in (self.kind.value, self.tool, self.argument, self.rule))


def read_fields(line: str) -> Fields | None:
    """The inverse of `Fields.line`; None for a line that is not of this form, or of a kind that is none."""
    parts = line.split(SEPARATOR.strip(), 4)
    kind = _KINDS.get(parts[0].strip())
    if kind is None or len(parts) != 4:
        return None
    return Fields(kind, *("" if part.strip() == NONE else part.strip() for part in parts[1:]))


def is_like_fields(line: str) -> bool:
    """True for a line that is nothing but fields, be they right or not: it must not be shown as a sentence."""
    first, *others = line.split(SEPARATOR.strip(), 4)
    return bool(others) and (first.strip() in _KINDS or (len(others) == 3 and first.strip().isidentifier()))


def truths(failure: Failure) -> tuple[Fields, ...]:
    """All that a simulator may rightly say of a failure; the first is what it is taught to say.

    They are the errors that the judge set. A world says *that* a call failed; which argument is to blame is found by
    comparing the call with the truth of its turn, as a single-step task is judged. To say either is right.
    """
    recorded = [*_told(failure)]
    if not any(error.kind in _OF_A_WORLD and error.argument is None for error in failure.attempt.errors):
        return tuple(dict.fromkeys(recorded))
    compared = [*_told(replace(failure, attempt=replace(failure.attempt, errors=_compared(failure))))]
    blamed = [
        replace(said, tool=said.tool or found.tool, argument=found.argument)
        for said in recorded
        for found in compared
        if said.kind in _OF_A_WORLD and not said.argument and found.argument and said.tool in ("", found.tool)
    ]
    return tuple(dict.fromkeys([*blamed, *recorded, *compared]))


def _compared(failure: Failure) -> tuple[ToolError, ...]:
    """The errors of the calls beside the truth of their turn; before its last response a turn may lack calls."""
    attempt = failure.attempt
    found = judge(failure.task, ParsedResponse(attempt.calls), attempt.truncated)
    return tuple(error for error in found if failure.silent or error.kind not in _OF_CALLS)


def _told(failure: Failure) -> Iterator[Fields]:
    for finding in find(failure, MAX_ERRORS):
        for argument in finding.arguments or ("",):
            is_futile = finding.kind in _FUTILE
            yield Fields(
                finding.kind,
                field_text(finding.tool),
                "" if is_futile else field_text(without_indices(argument)),
                field_text(_rule(finding)),
            )


def _rule(finding: Finding) -> str:
    """The constraint that a finding's error violates."""
    match finding.kind, finding.hint:
        case _, Hint.WHOLE:
            return "schema"
        case ErrorKind.WRONG_TYPE, _:
            return f"type {' '.join(finding.expected)}".strip()
        case ErrorKind.WRONG_VALUE, Hint.CHOICES:
            return "enum"
        case ErrorKind.WRONG_VALUE, Hint.BOUND if finding.bound:
            keyword, limit = finding.bound
            return keyword if isinstance(limit, str) else f"{keyword} {limit}"
        case _, Hint.NEEDED | Hint.UNASKED:
            return "request"
        case kind, _:
            return _RULES.get(kind, "world")


def field_text(text: str) -> str:
    """A name as it stands in a field: printable, on one line, not too long, without the separator."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_FIELD])
    return shorten(" ".join(printable.replace(SEPARATOR.strip(), "/").split()), MAX_FIELD)


def without_indices(path: str) -> str:
    """Of "items.0.name": "items.name"."""
    return ".".join(key for key in path.split(".") if not key.isdigit())
