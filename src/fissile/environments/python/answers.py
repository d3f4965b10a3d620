"""What a worker answers: the text of a result, or of what was raised, with the kind of error that it is."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from fissile.calls import JSON
from fissile.environments.python.plain import NoJSONFormError, digest, plain
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
        {"text": for the model, cut, "digest": of the whole result, "error": None or [kind, message, argument or None],
        "printed": characters that went to the standard output, which nobody reads}.
    """
    before = characters_printed()
    try:
        result = function(**arguments)
        if isinstance(result, BaseException):
            raise result  # returned is as good as raised
        value = plain(result)
    except NoJSONFormError as error:
        return refused(ErrorKind.EXCEPTION, f"{error}. {_RETURN}")
    except MemoryError as error:
        return refused(*described(error)) | {"out_of_memory": True}
    except BaseException as error:  # SystemExit is one
        return refused(*described(error))
    text = str(value) if isinstance(result, str) else json.dumps(value, ensure_ascii=False)
    refusal = said_error(value)
    return {
        "text": cut(printable(text), max_characters),
        "digest": digest({"result": value}),
        "error": [ErrorKind.DOMAIN_ERROR, told(refusal), None] if refusal else None,
        "printed": characters_printed() - before,
    }


_RETURN = "A tool returns what JSON can say: text, a number, a list, a dict, a dataclass or a pydantic model."


class CountedOutput(io.TextIOWrapper):
    """A standard output that knows how much was printed."""

    characters = 0

    def write(self, text: str) -> int:
        """Write the text, and count it."""
        self.characters += len(text)
        return super().write(text)


def characters_printed() -> int:
    """How much was printed since the process began, where its standard output counts."""
    return getattr(sys.stdout, "characters", 0)


def refused(kind: ErrorKind, message: str, argument: str | None = None) -> dict[str, JSON]:
    """The answer that is an error, as `run` gives it."""
    shown = told(message)
    return {
        "text": f"Error: {shown}",
        "digest": digest({"error": message}),
        "error": [kind, shown, argument],
        "printed": 0,
    }


def told(message: str) -> str:
    """A message as it is shown."""
    return cut(printable(message), MAX_MESSAGE)


def described(error: BaseException) -> tuple[ErrorKind, str, str | None]:
    """Kind, message in one line, and the argument concerned, of what was raised."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # an exception that cannot even be told
        message = ""
    match error:
        case DomainError():
            return ErrorKind.DOMAIN_ERROR, message or "it could not be done.", None
        case WrongValueError():
            return ErrorKind.WRONG_VALUE, message, error.argument
        case BaseExceptionGroup():
            return _described_group(error, message)
    return ErrorKind.EXCEPTION, f"{type(error).__name__}: {message}".removesuffix(": "), None


def _described_group(group: BaseExceptionGroup[Any], message: str) -> tuple[ErrorKind, str, str | None]:
    """What the exceptions of a group say; a group of domain errors alone is one."""
    inner = [described(error) for error in group.exceptions]
    all_told = "; ".join(message for _, message, _ in inner)
    if all(kind is ErrorKind.DOMAIN_ERROR for kind, _, _ in inner):
        return ErrorKind.DOMAIN_ERROR, all_told, None
    return ErrorKind.EXCEPTION, f"{type(group).__name__}: {message}: {all_told}", None


def said_error(value: JSON) -> str:
    """What a result says went wrong; "" for a success.

    It says so under "error" ({"error": "no such item"}), or as MCP does ({"isError": true, "content": [...]}). A text
    that is such an object counts like the object.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ""
    if not isinstance(value, dict):
        return ""
    marked = value.get("isError") is True or value.get("is_error") is True
    said = value.get("error") or (marked and (value.get("content") or value.get("message") or True))
    if said is True:
        said = value.get("message") or value
    if isinstance(said, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in said):
        said = " ".join(part["text"] for part in said)  # MCP's content
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False) if said else ""


def printable(text: str) -> str:
    """`text` with a question mark for each half of a character, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit} more characters)"
