"""JSON as models write it: calls as objects, found and decoded in linear time and never evaluated.

Shared by the dialects whose calls are JSON objects. A scan finds where a value ends, with strings skipped, and only
that region is decoded; so a tag inside a JSON string is text, and no text is decoded twice.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence

from fissile.calls import JSON
from fissile.tools import json_type

MAX_DEPTH = 64
"""Deepest nesting of a call: far above any tool schema, far below the interpreter's recursion limit."""

MAX_DIGITS = 300
"""Longest integer: beyond it a number no longer fits a float, and converting it is slow."""

CUT_OFF = "the text ends inside the call"
"""The reason of a call that the response's end broke off."""

CALL_KEYS = frozenset({"name", "type", "id", "function"})
"""What a call has besides its arguments. An object of these alone is a call without arguments."""

_BLANK = re.compile(r"\s*+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class RejectedError(ValueError):
    """Text that is no call: a clause that says why, and the character offset of the trouble in it."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


_TOO_DEEP = f"the JSON is nested deeper than {MAX_DEPTH} levels"


def json_marks(stop: str) -> re.Pattern[str]:
    """What `json_end` looks at in a text: strings, brackets, and what cannot stand outside a string.

    `stop` is a regular expression for the dialect's own tags, which end a value that is not closed. It needs no
    capturing groups and must match in time linear in the length of its match.
    """
    # A string reaches to the end of the text when it is not closed.
    return re.compile(rf'(?P<stop>{stop}|\\)|"(?:[^"\\]++|\\.)*+"?|[{{}}\[\]]', re.DOTALL)


def json_end(text: str, start: int, marks: re.Pattern[str]) -> tuple[int, bool]:
    """The extent of the JSON object or array that `start` points at.

    Returns:
        The offset behind its closing bracket and True; or the offset where it breaks off (at a tag or at the end of
        the text; `start` itself where no bracket opens there) and False.
    """
    if not text.startswith(("{", "["), start):
        return start, False
    depth = 1
    for mark in marks.finditer(text, start + 1):
        if mark["stop"] is not None:
            return mark.start(), False
        first = text[mark.start()]
        if first in "{[":
            depth += 1
        elif first in "}]":
            depth -= 1
            if depth == 0:
                return mark.end(), True
    return len(text), False


def blank_end(text: str, at: int) -> int:
    """The offset of the first character from `at` on that is not white space."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def decode_call(body: str, argument_keys: Sequence[str] = ("arguments",)) -> tuple[str, dict[str, JSON]]:
    """Name and arguments of the call that is `body`.

    A call whose arguments are null, "" or absent has none: {}. They are absent only where nothing else stands in their
    place, so every key must then be one of `CALL_KEYS`.

    Args:
        body: the whole text of one JSON object with a string "name" and an object of arguments, or a JSON string
            of one. Other keys are ignored, as TRL and vLLM do: the same text makes the same call where a model is
            served.
        argument_keys: the keys under which the arguments may stand, the usual one first.

    Raises:
        RejectedError: it is none.
    """
    call = decode(body)
    if not isinstance(call, dict):
        raise RejectedError(f"a call is a JSON object, not of type {json_type(call)}")
    if "name" not in call:
        raise RejectedError("the call has no key 'name'")
    key = next((key for key in argument_keys if key in call), None)
    if key is None and not CALL_KEYS.issuperset(call):
        raise RejectedError(f"the call has no key '{argument_keys[0]}'")
    name, arguments = call["name"], None if key is None else call[key]
    if not isinstance(name, str):
        raise RejectedError(f"'name' must be a string, not of type {json_type(name)}")
    if isinstance(arguments, str):
        try:
            arguments = decode(arguments) if arguments.strip() else None
        except RejectedError as rejected:
            raise RejectedError(f"'{key}' is a string that holds no JSON object: {rejected.reason}") from None
    if arguments is None or arguments == "":
        return name, {}
    if not isinstance(arguments, dict):
        raise RejectedError(f"'{key}' must be an object, not of type {json_type(arguments)}")
    return name, arguments


def decode(text: str) -> JSON:
    """The value of a JSON text, strict but for control characters in strings.

    Raises:
        RejectedError: it is no JSON, nested too deep, holds a key twice, or a number that does not fit.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise RejectedError(error.msg.removesuffix(" at"), error.pos) from None
    except RecursionError:
        raise RejectedError(_TOO_DEEP) from None
    if _is_deeper(value, MAX_DEPTH):
        raise RejectedError(_TOO_DEEP)
    return value


def dump(value: JSON) -> str:
    """JSON as models write it: non-ASCII letters as they are, lone surrogates escaped, since no encoder takes them."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def shorten(text: str, limit: int = 40) -> str:
    """`text` for a message."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def _is_deeper(value: JSON, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(item, levels - 1) for item in inner))


def _unique_keys(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    if len(unique := dict(pairs)) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise RejectedError(f"the key '{shorten(key)}' stands twice in one object")
    return unique


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise RejectedError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RejectedError(f"{shorten(digits)} is too large for a number")
    return number


def _reject_constant(name: str) -> JSON:
    raise RejectedError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(
    strict=False,
    object_pairs_hook=_unique_keys,
    parse_int=_parse_int,
    parse_float=_parse_float,
    parse_constant=_reject_constant,
)
