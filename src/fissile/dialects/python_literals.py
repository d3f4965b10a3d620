r"""A reader of Python literals that hold JSON values. Nothing is compiled or evaluated, and time is linear.

It stands where `ast.parse` might, which is not made for hostile text: it refuses NUL bytes and lone surrogates,
warns on stderr about a stray backslash (silencing that is a setting of the whole process), counts offsets in
bytes, and cannot say where in a longer text an expression ends. What both accept they read alike; a test compares
them. Beyond Python, JSON's `true`, `false` and `null` are read, since models write them.
"""

from __future__ import annotations

import math
import re
import unicodedata

from fissile.calls import JSON
from fissile.dialects.json_calls import CUT_OFF, MAX_DEPTH, MAX_DIGITS, RejectedError, shorten

# Long and short strings, without their prefix. A short one ends on its line.
_QUOTED = (
    r"'''(?:[^'\\]++|\\.|'(?!''))*+'''"
    r'|"""(?:[^"\\]++|\\.|"(?!""))*+"""'
    r"|(?!''')'(?:[^'\\\n]++|\\.)*+'"
    r'|(?!""")"(?:[^"\\\n]++|\\.)*+"'
)
_STRING = re.compile(rf"(?P<prefix>[bBfFrRtTuU]{{0,2}})(?P<quoted>{_QUOTED})", re.DOTALL)
_STRING_BEGINS = re.compile(r"""[bBfFrRtTuU]{0,2}["']""")
_REST_OF_STRING = re.compile(r"(?:[^\\\n]++|\\.)*+", re.DOTALL)
_NUMBER = re.compile(r"\.?[0-9](?:[eE][+-]|[\w.])*+")
_WORD = re.compile(r"[^\W\d]\w*+")
_BLANK = re.compile(r"(?:\s++|#[^\n]*+|\\\n)*+")
# Escapes count outside strings too: an escaped quote must not begin a scan that the one before it has done.
_BRACKET = re.compile(rf"{_QUOTED}|#[^\n]*+|\\.|(?P<opens>[(\[{{])|(?P<closes>[)\]}}])", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|(?P<hex>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
    r"|N\{(?P<name>[^{}\n]{1,100})\}|(?P<other>.))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_ESCAPED |= {character: character for character in "\\'\""}
_CONSTANTS: dict[str, JSON] = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_RAW_OR_PLAIN = frozenset({"", "r", "u"})
_TOO_LARGE = 10**MAX_DIGITS


def skip_blank(text: str, at: int) -> int:
    """The offset of the first character from `at` on that is neither white space nor in a comment."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def brackets_end(text: str, start: int) -> int | None:
    """The offset behind the bracket that closes the first one from `start` on; None where it stays open.

    Brackets in strings and comments do not count; the quote of a string that is not closed is skipped.
    """
    depth = 0
    for mark in _BRACKET.finditer(text, start):
        if mark["opens"] is not None:
            depth += 1
        elif mark["closes"] is not None:
            depth -= 1
            if depth <= 0:
                return mark.end()
    return None


def read_literal(text: str, at: int, depth: int = 0) -> tuple[JSON, int]:
    """The literal that begins at `at`, inside `depth` brackets, and the offset behind it.

    It is a string, number, constant, list, tuple (a list) or dict with string keys.

    Raises:
        RejectedError: there is none; the position is an offset in `text`.
    """
    if at >= len(text):
        raise RejectedError(CUT_OFF, at)
    if depth > MAX_DEPTH:
        raise RejectedError(f"the call is nested deeper than {MAX_DEPTH} levels", at)
    if read_brackets := _BRACKETS.get(text[at]):
        return read_brackets(text, skip_blank(text, at + 1), depth + 1)
    if text[at] == "-":
        return _read_negative(text, skip_blank(text, at + 1))
    if _NUMBER.match(text, at):
        return _read_number(text, at)
    if _STRING_BEGINS.match(text, at):
        return _read_strings(text, at)
    if word := _WORD.match(text, at):
        return _constant(text, word), word.end()
    raise RejectedError(f"'{text[at]}' does not begin a literal value", at)


def expect(text: str, at: int, wanted: str, behind: str) -> str:
    """The character at `at`, which must be one of `wanted`.

    Raises:
        RejectedError: it is another, or the text ends there.
    """
    if at >= len(text):
        raise RejectedError(CUT_OFF, at)
    if text[at] not in wanted:
        names = " or ".join(f"'{character}'" for character in wanted)
        raise RejectedError(f"expected {names} behind {behind}; only literal values can be passed", at)
    return text[at]


def _read_items(text: str, at: int, closing: str, depth: int) -> tuple[list[JSON], bool, int]:
    """Values up to `closing`, whether a comma stands behind the last one, and the offset behind `closing`."""
    items: list[JSON] = []
    comma = False
    while not text.startswith(closing, at):
        value, at = read_literal(text, at, depth)
        items.append(value)
        at = skip_blank(text, at)
        comma = expect(text, at, f",{closing}", "a value") == ","
        at = skip_blank(text, at + 1) if comma else at
    return items, comma, at + 1


def _read_list(text: str, at: int, depth: int) -> tuple[JSON, int]:
    items, _, end = _read_items(text, at, "]", depth)
    return items, end


def _read_tuple(text: str, at: int, depth: int) -> tuple[JSON, int]:
    """A tuple as a list; one value in round brackets without a comma is that value."""
    items, comma, end = _read_items(text, at, ")", depth)
    return (items[0] if len(items) == 1 and not comma else items), end


def _read_dict(text: str, at: int, depth: int) -> tuple[JSON, int]:
    entries: dict[str, JSON] = {}
    while not text.startswith("}", at):
        start = at
        key, at = read_literal(text, at, depth)
        at = skip_blank(text, at)
        if text.startswith((",", "}"), at):
            raise RejectedError("a set is not a JSON value", start)
        expect(text, at, ":", "a key")
        if not isinstance(key, str):
            raise RejectedError("a key must be a string", start)
        if key in entries:
            raise RejectedError(f"the key '{shorten(key)}' stands twice in one dict", start)
        entries[key], at = read_literal(text, skip_blank(text, at + 1), depth)
        at = skip_blank(text, at)
        if expect(text, at, ",}", "a value") == ",":
            at = skip_blank(text, at + 1)
    return entries, at + 1


_BRACKETS = {"[": _read_list, "(": _read_tuple, "{": _read_dict}


def _read_negative(text: str, at: int) -> tuple[JSON, int]:
    if at >= len(text):
        raise RejectedError(CUT_OFF, at)
    if not _NUMBER.match(text, at):
        raise RejectedError("'-' can stand before a number only", at)
    number, end = _read_number(text, at)
    return -number, end


def _read_number(text: str, at: int) -> tuple[int | float, int]:
    found = _NUMBER.match(text, at)
    token = found.group() if found else ""
    if len(token) > MAX_DIGITS:
        raise RejectedError(f"a number has more than {MAX_DIGITS} digits", at)
    number = _number(token)
    if number is None or not token.isascii():
        raise RejectedError(f"{shorten(token)} is not a JSON number", at)
    if number >= _TOO_LARGE if isinstance(number, int) else math.isinf(number):
        raise RejectedError(f"{shorten(token)} is too large for a number", at)
    return number, at + len(token)


def _number(token: str) -> int | float | None:
    is_float = not {".", "e", "E"}.isdisjoint(token) and not token.startswith(("0x", "0X"))
    try:
        return float(token) if is_float else int(token, 0)
    except ValueError:
        return None


def _read_strings(text: str, at: int) -> tuple[str, int]:
    """One string, or several side by side, which Python joins."""
    parts = []
    end = at
    while _STRING_BEGINS.match(text, at):
        string = _STRING.match(text, at)
        if string is None:
            raise _unclosed(text, at)
        parts.append(_string_value(string))
        end = string.end()
        at = skip_blank(text, end)
    return "".join(parts), end


def _unclosed(text: str, at: int) -> RejectedError:
    quote = at + len(text[at : at + 2].rstrip("\"'"))
    rest = _REST_OF_STRING.match(text, quote)
    end = rest.end() if rest else len(text)
    if end >= len(text) or text.startswith(('"""', "'''"), quote):
        return RejectedError(CUT_OFF, len(text))
    return RejectedError("the string is not closed on its line; write a line break in it as \\n", quote)


def _string_value(string: re.Match[str]) -> str:
    prefix, quoted = string["prefix"].lower(), string["quoted"]
    if prefix not in _RAW_OR_PLAIN:
        raise RejectedError(f"a string with the prefix '{prefix}' is not a literal text", string.start())
    width = 3 if quoted.startswith(('"""', "'''")) else 1
    body = quoted[width:-width]
    if prefix == "r":
        return body
    first = string.start("quoted") + width
    return _ESCAPE.sub(lambda escape: _character(escape, first), body)


def _character(escape: re.Match[str], first: int) -> str:
    """What an escape in a string stands for; as in Python, an unknown one for itself."""
    position = first + escape.start()
    try:
        if escape["octal"]:
            return chr(int(escape["octal"], 8))
        if escape["hex"]:
            return chr(int(escape["hex"][1:], 16))
        if escape["name"]:
            return unicodedata.lookup(escape["name"])
    except (ValueError, OverflowError, KeyError):
        raise RejectedError(f"{escape.group()} stands for no character", position) from None
    if escape["other"] in "xuUN":
        raise RejectedError(f"the escape {escape.group()} is incomplete", position)
    return _ESCAPED.get(escape["other"], escape.group())


def _constant(text: str, word: re.Match[str]) -> JSON:
    if word.group() in _CONSTANTS:
        return _CONSTANTS[word.group()]
    if word.end() == len(text):
        raise RejectedError(CUT_OFF, word.end())
    name = shorten(word.group())
    if text.startswith("(", word.end()):
        raise RejectedError(f"the value is a call of '{name}'; only literal values can be passed", word.start())
    raise RejectedError(f"'{name}' is a name, not a literal value; a text stands in quotes", word.start())
