"""What a worker answers: the text of a result, or of what was raised, with the kind of error that it is."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_jsonable_python

from fissile.calls import JSON
from fissile.errors import ErrorKind
from fissile.functions import DomainError, Function

MAX_MESSAGE = 500
"""Characters of an error's message that are kept."""


class WrongValueError(Exception):
    """A value that satisfies the schema, and still is none of its type."""

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(f"argument '{argument}' is not accepted: {message}.")
        self.argument = argument


def run(function: Function, arguments: dict[str, Any], max_characters: int) -> dict[str, JSON]:
    """Call a tool.

    Returns:
        {"text": for the model, "error": None or [kind, message, argument or None]}.
    """
    try:
        text, refusal = read_result(function(**arguments))
    except BaseException as error:  # SystemExit is one
        return refused(*described(error))
    refusal = cut(refusal, MAX_MESSAGE)
    return {
        "text": cut(text, max_characters),
        "error": [ErrorKind.DOMAIN_ERROR, refusal, None] if refusal else None,
    }


def refused(kind: ErrorKind, message: str, argument: str | None = None) -> dict[str, JSON]:
    """The answer that is an error, as `run` gives it."""
    return {"text": f"Error: {message}", "error": [kind, message, argument]}


def described(error: BaseException) -> tuple[ErrorKind, str, str | None]:
    """Kind, message in one line, and the argument concerned, of what was raised."""
    try:
        message = cut(printable(" ".join(str(error).split())), MAX_MESSAGE)
    except Exception:  # an exception that cannot even be told
        message = ""
    match error:
        case DomainError():
            return ErrorKind.DOMAIN_ERROR, message or "it could not be done.", None
        case WrongValueError():
            return ErrorKind.WRONG_VALUE, message, error.argument
    return ErrorKind.EXCEPTION, f"{type(error).__name__}: {message}".removesuffix(": "), None


def read_result(result: Any) -> tuple[str, str]:
    """The text of a result, and what it says under "error" ("" where it says nothing)."""
    if isinstance(result, str):
        return printable(result), ""
    try:
        plain = to_jsonable_python(result, fallback=_without_address, inf_nan_mode="constants")
        text = json.dumps(plain, ensure_ascii=False)
    except (ValueError, TypeError):  # bytes that are no text, cycles
        return printable(_without_address(result)), ""
    refusal = plain.get("error") if isinstance(plain, dict) else None
    if not refusal:
        return printable(text), ""
    said = refusal if isinstance(refusal, str) else json.dumps(refusal, ensure_ascii=False)
    return printable(text), printable(said)


def _without_address(value: Any) -> str:
    """`str(value)`; for an object that would show its address, which is never the same twice, its type's name."""
    kind: Any = type(value)
    bare = kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__
    return f"<{kind.__name__}>" if bare else str(value)


def printable(text: str) -> str:
    """`text` with a question mark for each half of a character, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit} more characters)"
