r"""Patterns of JSON Schema: read as ECMA 262 writes them, matched within a limit of time and memory.

`\d`, `\w` and `\s` are ASCII digits, ASCII letters and ECMA's white space; `$` is the end of the text, not the place
before a last line break. `(?<name>...)`, `(?P<name>...)`, `\k<name>`, `\p{L}`, look-ahead and look-behind are known.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from functools import lru_cache

import regex

MAX_LENGTH = 20_000
"""Characters of a pattern."""

MAX_REPEATED = 100_000
"""Smallest length of a match, in single characters: a count is written out when a pattern is compiled."""


MAX_NESTING = 100
"""Groups within groups."""


class PatternError(Exception):
    """A pattern that cannot be used; the message says why."""


class SlowPatternError(Exception):
    """A match that ran out of time.

    Attributes:
        pattern: as the schema writes it.
        text: that was searched.
    """

    def __init__(self, pattern: str, text: str) -> None:
        super().__init__(pattern)
        self.pattern = pattern
        self.text = text


def matches(pattern: str, text: str, seconds: float) -> bool:
    """True where `pattern` occurs in `text`.

    Args:
        pattern: one that `compiled` takes.
        text: to search.
        seconds: of processor time that the search may take.

    Raises:
        SlowPatternError: it took longer.
    """
    try:
        return compiled(pattern).search(text, timeout=max(seconds, 1e-3)) is not None
    except (TimeoutError, MemoryError):
        raise SlowPatternError(pattern, text) from None


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern in the engine that matches it.

    Raises:
        PatternError: it is none of ECMA 262, too long, or it repeats too much.
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"it has more than {MAX_LENGTH} characters")
    try:
        return regex.compile(_Translation(pattern).text(), regex.V1)
    except regex.error as error:
        raise PatternError(str(error)) from None
    except (RecursionError, OverflowError, MemoryError):
        raise PatternError("it is nested too deeply or repeats too much") from None


_WHITE = r"\t\n\x0B\f\r\x20\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": _WHITE}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_HEXADECIMAL = {"x": 2, "u": 4}
_ANCHORS = {"b": r"\b", "B": r"\B", "A": r"\A", "Z": r"\Z", "z": r"\Z"}
_GROUPS = ("(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i)", "(?s)", "(?u)", "(?a)", "(?i:", "(?s:")


class _Translation:
    """One reading of a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._lengths = [[0]]  # of each open group: the lengths of its parts so far

    def text(self) -> str:
        """The pattern as `regex` writes it."""
        parts = []
        while self._at < len(self._pattern):
            parts.append(self._part())
        return "".join(parts)

    def _part(self) -> str:
        letter = self._take()
        if letter in _READERS:
            return _READERS[letter](self)
        return self._counted(letter if letter in "^|*+?." else _literal(letter))

    def _take(self, count: int = 1) -> str:
        taken = self._pattern[self._at : self._at + count]
        self._at += count
        return taken

    def _counted(self, part: str) -> str:
        """`part`, which matches one character."""
        self._lengths[-1].append(1)
        return part

    def _count(self) -> str:
        """`{2}`, `{2,}` or `{2,5}`; any other brace is a letter."""
        found = regex.compile(r"(\d+)(,\d*)?\}").match(self._pattern, self._at)
        if not found:
            return self._counted(_literal("{"))
        self._at = found.end()
        repeated = self._lengths[-1].pop() if len(self._lengths[-1]) > 1 else 0
        length = repeated * max(1, int(found[1][:9]))
        if length > MAX_REPEATED or len(found[0]) > 20:
            raise PatternError(f"its count {{{found[0]} is too large")
        self._lengths[-1].append(length)
        return f"{{{found[0]}"

    def _end_of_group(self) -> str:
        if len(self._lengths) > 1:
            inside = sum(self._lengths.pop())
            self._lengths[-1].append(inside)
        return ")"

    def _group(self) -> str:
        rest = self._pattern[self._at - 1 :]
        self._lengths.append([0])
        if len(self._lengths) > MAX_NESTING:
            raise PatternError("it is nested too deeply")
        if not rest.startswith("(?"):
            return "("
        named = regex.match(r"\(\?P?<([A-Za-z_$][\w$]*)>", rest)
        if named:
            self._at += len(named[0]) - 1
            return f"(?P<{named[1].replace('$', '_')}>"
        opening = next((group for group in _GROUPS if rest.startswith(group)), None)
        if opening is None:
            raise PatternError(f"it has a group '{rest[:4]}' that JSON Schema does not know")
        self._at += len(opening) - 1
        if opening.endswith(")"):
            self._lengths.pop()
            return "" if opening in ("(?u)", "(?a)") else opening
        return opening

    def _escape(self) -> str:
        """What follows a backslash, outside brackets."""
        letter = self._take()
        if letter in _ANCHORS:
            return _ANCHORS[letter]
        if letter.isdigit() and letter != "0":
            return rf"\{letter}"
        if letter == "k" and (named := regex.match(r"<([\w$]+)>", self._pattern[self._at :])):
            self._at += len(named[0])
            return f"(?P={named[1].replace('$', '_')})"
        code = self._set_of(letter)
        return f"[{code}]" if code is not None else _literal(self._character(letter))

    def _set_of(self, letter: str) -> str | None:
        r"""The characters that `\d`, `\W` or `\\p{L}` stand for, to be put into brackets; None for a single one."""
        if letter in ("p", "P"):
            name = regex.match(r"[A-Z]|\{[\w=^ .-]+\}", self._pattern[self._at :])
            if not name:
                raise PatternError(f"'\\{letter}' needs a property, such as \\p{{L}}")
            self._at += len(name[0])
            return rf"\{letter}{name[0]}"
        ranges = _CLASSES.get(letter.lower())
        if ranges is None:
            return None
        return ranges if letter.islower() else f"[^{ranges}]"

    def _character(self, letter: str) -> str:
        """The one character that an escape stands for."""
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "c" and self._pattern[self._at : self._at + 1] in string.ascii_letters:
            return chr(ord(self._take()) % 32)
        if letter in _HEXADECIMAL:
            digits = regex.match(
                rf"([0-9A-Fa-f]{{{_HEXADECIMAL[letter]}}})|\{{([0-9A-Fa-f]{{1,6}})\}}", self._pattern[self._at :]
            )
            if digits and (digits[1] or letter == "u"):
                self._at += len(digits[0])
                code = int(digits[1] or digits[2], 16)
                low = regex.match(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})", self._pattern[self._at :])
                if 0xD800 <= code < 0xDC00 and low:
                    self._at += len(low[0])
                    code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
                if code > 0x10FFFF:
                    raise PatternError(f"'\\u{digits[0]}' is no character")
                return chr(code)
        if letter == "" or (letter.isascii() and letter.isalnum()):
            raise PatternError(f"it has the escape '\\{letter}', which JSON Schema does not know")
        return letter

    def _class(self) -> str:
        """What stands in brackets."""
        negated = "^" if self._pattern[self._at : self._at + 1] == "^" else ""
        self._at += len(negated)
        if self._pattern[self._at : self._at + 1] == "]":
            self._at += 1
            if negated:
                return r"(?s:.)"
            raise PatternError(r"it has empty brackets; write '\]' for a bracket")
        items: list[str] = []
        while (letter := self._take()) != "]":
            if letter == "":
                raise PatternError("a bracket is not closed")
            is_range = letter == "-" and items and items[-1] != "-" and self._pattern[self._at : self._at + 1] != "]"
            items.append("-" if is_range else self._item(letter))
        return f"[{negated}{''.join(_ranges(items))}]"

    def _item(self, letter: str) -> str:
        """One character, or one set, in brackets."""
        if letter != "\\":
            return _literal(letter)
        letter = self._take()
        if letter == "b":
            return r"\x08"
        code = self._set_of(letter)
        return code if code is not None else _literal(self._character(letter))


def _ranges(items: list[str]) -> list[str]:
    """The items of brackets, where a hyphen beside a set is a letter."""
    single = [item == "-" or item in _SINGLE or len(item) == 1 for item in items]
    return [
        item if item != "-" or (single[at - 1] and single[at + 1]) else _literal("-") for at, item in enumerate(items)
    ]


def _literal(letter: str) -> str:
    """One character that stands for itself, in brackets and outside."""
    return letter if letter.isalnum() or not letter.isascii() else rf"\x{ord(letter):02X}"


_SINGLE = frozenset(_literal(chr(code)) for code in range(128)) | {r"\x08"}

_READERS: Mapping[str, Callable[[_Translation], str]] = {
    "\\": lambda reading: reading._counted(reading._escape()),
    "[": lambda reading: reading._counted(reading._class()),
    "(": _Translation._group,
    ")": _Translation._end_of_group,
    "{": _Translation._count,
    "$": lambda _: r"\Z",
}
