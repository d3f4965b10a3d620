"""Numbers in a text, in figures and in words, and which of them stand there by accident."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

MAX_INCIDENTAL = 4
"""Characters of the longest number that counts or places something."""

_UP_TO_NINETEEN = """zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"""
_UP_TO_NINETY = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = dict(zip(_UP_TO_NINETEEN.split(), range(20), strict=True))
_TENS = dict(zip(_UP_TO_NINETY.split(), range(20, 100, 10), strict=True))
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_SUFFIXES = {"k": 1000, "m": 10**6, "mln": 10**6, "bn": 10**9, **_SCALES}

_WORD = "|".join([*_TENS, *sorted(_SMALL, key=len, reverse=True), *_SCALES])
_WORDS = re.compile(
    rf"\b(?:{_WORD})(?:(?:[\s-]{{1,3}}|[\s-]and[\s-])(?:{_WORD}))*(?:\s+point(?:\s+(?:{_WORD}))+)?\b", re.IGNORECASE
)
_ONE_OF = re.compile(r" (?:of|that|which|by|another|you|more|or)\b", re.IGNORECASE)
_THE_ONE = re.compile(
    r"\b(?:the|this|that|which|any|each|every|no|another|right|wrong|other|only|first|second|third|last|next)\s$",
    re.IGNORECASE,
)
_FIGURES = re.compile(r"(?<![\w.])(?<!\w-)(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d{1,3})?(?!\.?\d)", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:([,.'’_ ])\d{3})(?:\1\d{3})*(?:[.,]\d{1,2})?(?!\w)")
_DECIMAL_COMMA = re.compile(r"(?<![\w.,])\d+,\d{1,2}(?![\w,])")
_SCALE = re.compile(rf"\s?(?:({'|'.join(_SUFFIXES)})\b|(%|per ?cent\b))", re.IGNORECASE)

_PLACE = re.compile(
    r"(?:\b(char|character|position|offset|index|line|column|code|status|http|error|errno|step|attempt|call|argument"
    r"|parameter|request|query|turn|port|section|version|rfc)s?(?: (?:no\.?|number))?[\s:#(\[=]{1,2}|#|\d+ of )$",
    re.IGNORECASE,
)
"""Before a number: it says where something is, or is a code."""

_COUNTED = re.compile(
    r" ?(?:of (?:the|your|these|those|\d+)\b|(?:[a-z]+ )?(?:errors?|arguments?|parameters?|fields?|calls?|items?"
    r"|elements?|characters?|letters?|digits?|tokens?|attempts?|choices|options|values|tries|problems?|mistakes?|entries"
    r"|failures?|keys)\b)",
    re.IGNORECASE,
)
"""Behind a number: it counts what a diagnosis speaks of."""

_WAIT = re.compile(r" ?(?:(ms|milliseconds?)|s|sec|seconds?|minutes?)\b", re.IGNORECASE)
_WAITING = re.compile(r"\b(?:after|in|within|for|every|took|retry)\s+$|^\s*$", re.IGNORECASE)
"""Around a number: it says how long something takes."""

_BOUND = re.compile(
    r"\b(?:at least|at most|between|between \S{1,12} and|from \S{1,12} to|minimum|maximum|greater than|less than"
    r"|more than|fewer than|larger than|smaller than|up to|above|below|no less than|multiple of|exceed)(?: is| of)? ?$",
    re.IGNORECASE,
)
"""Before a number: it is a bound."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a text."""

    value: Decimal  # without its sign
    written: str  # as it stands there


def quantities(text: str) -> Iterator[Quantity]:
    """Every number in the text in every reading that it has: 12.500 is twelve and a half, and twelve thousand."""
    for found in _FIGURES.finditer(text):
        yield from _scaled(text, found, _decimal(found[0]))
    for found in _GROUPED.finditer(text):
        yield from _scaled(text, found, _decimal(_ungrouped(found[0], found[1])))
    for found in _DECIMAL_COMMA.finditer(text):
        yield from _scaled(text, found, _decimal(found[0].replace(",", ".")))


def settled(text: str, names: Container[str], is_known: Callable[[str], bool]) -> str:
    """The text with numbers in words as figures, and without the numbers that stand in it by accident.

    Args:
        text: what is said.
        names: of the arguments; a number behind one of them is no accident.
        is_known: whether the policy was shown this wording: number words may be repeated as they are, and so may
            the bounds of a schema.
    """
    figures = _WORDS.sub(lambda found: found[0] if _is_pronoun(found) else _in_figures(found[0], is_known), text)
    return _FIGURES.sub(partial(_unless_incidental, names=names, is_known=is_known), figures)


def _is_pronoun(found: re.Match[str]) -> bool:
    """True for the "one" of "one of", "the one that" and "the wrong one"."""
    if found[0].lower() != "one":
        return False
    return bool(_ONE_OF.match(found.string, found.end()) or _THE_ONE.search(found.string[: found.start()][-12:]))


def _in_figures(words: str, is_known: Callable[[str], bool]) -> str:
    value = number_in_words(words)
    return words if value is None or is_known(words) else f"{value:f}"


def _unless_incidental(found: re.Match[str], names: Container[str], is_known: Callable[[str], bool]) -> str:
    text, before = found.string, found.string[max(0, found.start() - 32) : found.start()]
    if len(found[0]) > MAX_INCIDENTAL:
        return found[0]
    place = _PLACE.search(before)
    if place and (place[1] or "").lower() not in names:
        return "§"
    if _COUNTED.match(text, found.end()):
        return "§"
    if _BOUND.search(before) and is_known(found[0]):
        return "§"
    wait = _WAIT.match(text, found.end())
    return "§" if wait and (wait[1] or _WAITING.search(before)) else found[0]


def number_in_words(words: str) -> Decimal | None:
    """The value of number words: "two thousand and two", "twenty twenty-two", "nine four zero", "one point five".

    Returns:
        None where they are only a scale ("hundred"), which is no number of its own.
    """
    whole, _, fraction = words.lower().partition("point")
    tokens = [token for token in re.split(r"[\s-]+", whole) if token and token != "and"]
    if tokens[0] in _SCALES:
        return None
    digits = "".join(str(_SMALL.get(token, "")) for token in fraction.split())
    if len(tokens) > 1 and all(_SMALL.get(token, 10) < 10 for token in tokens):
        value = int("".join(str(_SMALL[token]) for token in tokens))
    else:
        value = _composed(tokens)
    return Decimal(f"{value}.{digits}" if digits else value)


def _composed(tokens: list[str]) -> int:
    total = part = 0
    for token in tokens:
        if token == "hundred":
            part *= 100
        elif token in _SCALES:
            total, part = total + part * _SCALES[token], 0
        else:
            number = _SMALL.get(token, _TENS.get(token, 0))
            is_year = 10 <= part < 100 and (number >= 10 or part % 10)
            part = part * 100 + number if is_year else part + number
    return total + part


def _scaled(text: str, found: re.Match[str], value: Decimal) -> Iterator[Quantity]:
    yield Quantity(value, found[0])
    scale = _SCALE.match(text, found.end())
    if scale:
        factor = Decimal(_SUFFIXES[scale[1].lower()]) if scale[1] else Decimal("0.01")
        yield Quantity(value * factor, found[0] + (scale[0] if scale[1] else ""))


def _ungrouped(written: str, separator: str) -> str:
    return written.replace(separator, "").replace(",", ".")


def _decimal(figures: str) -> Decimal:
    return Decimal(figures)
