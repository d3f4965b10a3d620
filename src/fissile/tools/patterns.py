r"""Patterns of JSON Schema: read as ECMA 262 writes them, matched within a limit of time and memory.

`\d`, `\w` and `\s` are ASCII digits, ASCII letters and ECMA's white space; `$` is the end of the text, not the place
before a last line break. `(?<name>...)`, `(?P<name>...)`, `\k<name>`, `\p{L}`, look-ahead and look-behind are known.
"""

from __future__ import annotations

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
    """A match of `text` with `pattern` that ran out of time."""

    def __init__(self, pattern: str, text: str) -> None:
        super().__init__(pattern)
        self.pattern = pattern
        self.text = text


def matches(pattern: str, text: str, seconds: float) -> bool:
    """True where `pattern` occurs in `text`; SlowPatternError after so many seconds of processor time."""
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
        return regex.compile(_translated(pattern), regex.V1)
    except regex.error as error:
        raise PatternError(str(error)) from None
    except (RecursionError, OverflowError, MemoryError):
        raise PatternError("it is nested too deeply or repeats too much") from None


_WHITE = r"\t\n\x0B\f\r\x20\xA0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"
_SETS = {"d": "0-9", "w": "A-Za-z0-9_", "s": _WHITE}
_SETS |= {letter.upper(): f"[^{characters}]" for letter, characters in _SETS.items()}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_ANCHORS = {"b": r"\b", "B": r"\B", "A": r"\A", "Z": r"\Z", "z": r"\Z"}
_SILENT = ("?u)", "?a)")
"""Flags that change nothing here."""

_ESCAPE = r"""\\(?:[pP](?P<property>[A-Z]|\{[\w=^\ .-]+\})|c(?P<control>[A-Za-z])|x(?P<x>[0-9A-Fa-f]{2})
    |u(?P<high>[Dd][89ABab][0-9A-Fa-f]{2})\\u(?P<low>[Dd][C-Fc-f][0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})
    |u\{(?P<code>[0-9A-Fa-f]{1,6})\}|k<(?P<reference>[\w$]+)>|(?P<letter>.))"""
_ITEM = regex.compile(rf"{_ESCAPE}|(?P<plain>.)", regex.VERBOSE | regex.DOTALL)
_TOKEN = regex.compile(
    rf"""{_ESCAPE} | \[(?P<negated>\^?)(?P<items>(?:\\.|[^\\\]])*+)\] | \{{(?P<count>\d+)(?:,\d*)?\}}
    | \((?:\?P?<(?P<name>[A-Za-z_$][\w$]*)>|(?P<kind>\?(?:[:=!]|<[=!]|[isua]\)|[is]:)|(?!\?)))
    | (?P<wrong>\(\?|\[|\\) | (?P<plain>.)""",
    regex.VERBOSE | regex.DOTALL,
)


def _translated(pattern: str) -> str:
    """The pattern as `regex` writes it."""
    parts: list[str] = []
    lengths = [[0]]  # of each open group: the shortest matches of its parts so far
    for found in _TOKEN.finditer(pattern):
        if found["wrong"]:
            raise PatternError(
                f"it has '{pattern[found.start() : found.start() + 4]}', which JSON Schema does not know"
            )
        if found["count"]:
            repeated = lengths[-1].pop() if len(lengths[-1]) > 1 else 0
            lengths[-1].append(repeated * max(1, int(found["count"][:9])))
            if lengths[-1][-1] > MAX_REPEATED or len(found[0]) > 20:
                raise PatternError(f"its count {found[0]} is too large")
            parts.append(found[0])
        elif found["name"] or found["kind"] is not None:
            is_flag = (found["kind"] or "").endswith(")")
            lengths += [] if is_flag else [[0]]
            if len(lengths) > MAX_NESTING:
                raise PatternError("it is nested too deeply")
            name = found["name"] and found["name"].replace("$", "_")
            parts.append(f"(?P<{name}>" if name else "" if found["kind"] in _SILENT else found[0])
        elif found[0] == ")":
            inside = sum(lengths.pop()) if len(lengths) > 1 else 0
            lengths[-1].append(inside)
            parts.append(")")
        else:
            lengths[-1].append(int(found[0] != "$"))
            parts.append(_single(found))
    return "".join(parts)


def _single(found: regex.Match[str]) -> str:
    """What stands for one character, or for a place between two."""
    letter = found["letter"] or ""
    if found["items"] is not None:
        return _brackets(found["negated"], found["items"])
    if found["plain"]:
        letter = str(found[0])
        return r"\Z" if letter == "$" else letter if letter in "^|*+?." else _literal(letter)
    if found["reference"]:
        return f"(?P={found['reference'].replace('$', '_')})"
    if letter in _ANCHORS:
        return _ANCHORS[letter]
    if letter.isdigit() and letter != "0":
        return rf"\{letter}"
    code = _set(found)
    return f"[{code}]" if code else _literal(_character(found))


def _brackets(negated: str, items: str) -> str:
    """A set of characters; a hyphen beside another set stands for itself."""
    if not items:
        if negated:
            return r"(?s:.)"
        raise PatternError(r"it has empty brackets; write '\]' for a bracket")
    written: list[tuple[str, bool]] = []  # and whether it is a single character
    for found in _ITEM.finditer(items):
        code = "" if found["plain"] else _set(found)
        letter = found["plain"] or ("" if code else "\b" if found["letter"] == "b" else _character(found))
        written.append(("-" if found["plain"] == "-" else code or _literal(letter), not code))
    for at, (item, _) in enumerate(written):
        is_range = 0 < at < len(written) - 1 and written[at - 1][0] != "-"
        if item == "-" and not (is_range and written[at - 1][1] and written[at + 1][1]):
            written[at] = (_literal("-"), True)
    return f"[{negated}{''.join(item for item, _ in written)}]"


def _set(found: regex.Match[str]) -> str:
    r"""The characters that `\d`, `\W` or `\p{L}` stand for, to be put into brackets; "" for a single one."""
    return str(found[0]) if found["property"] else _SETS.get(found["letter"], "")


def _character(found: regex.Match[str]) -> str:
    """The one character that an escape stands for."""
    letter = found["letter"] or ""
    if found["control"]:
        return chr(ord(found["control"]) % 32)
    if found["high"]:
        return chr(0x10000 + ((int(found["high"], 16) - 0xD800) << 10) + int(found["low"], 16) - 0xDC00)
    if digits := found["x"] or found["u"] or found["code"]:
        if int(digits, 16) > 0x10FFFF:
            raise PatternError(f"'{found[0]}' is no character")
        return chr(int(digits, 16))
    if letter in _CONTROLS:
        return _CONTROLS[letter]
    if not letter or (letter.isascii() and letter.isalnum()):
        raise PatternError(f"it has the escape '{found[0]}', which JSON Schema does not know")
    return letter


def _literal(letter: str) -> str:
    """One character that stands for itself, in brackets and outside."""
    return letter if letter.isalnum() or not letter.isascii() else rf"\x{ord(letter):02X}"
