"""Whether a text gives a value to an argument, or lists it among the choices that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from fissile.feedback.leaks.secrets import Secret
from fissile.feedback.spelling import Spelled, plain, spelled

REACH = 6
"""Words between an argument's name and a value that the text ties to it, at most."""

_CONNECTORS = frozenset({"or", "and", "und", "either"})
_REFUSALS = frozenset({"not", "never", "than", "no"})
_BACKWARD = frozenset(
    (
        *("is", "for", "the", "right", "correct", "value", "as", "in", "into"),
        *("to", "of", "needed", "goes", "under", "choice", "option"),
    )
)

_GLUE = (
    r"(?:(?:must|should|shall|has|have|had|needs?|ought|to|be|been|is|are|was|were|the|value|values|set|equals?|exactly"
    r"|simply|just|string|word|use|write|pass|take|takes|expects?|expected|correct|right|being|of|both|actually|only)\b"
    r"[\s:='\"`(\[{*]*){0,6}"
)
_OPENING = r"[\s'\"`):=>\[{(*-]{0,9}"
_CLOSING = (
    r"[\"'`*]?(?=\s*(?:[.,;:!?)\]}'\"`<*]|$|\n)|\s+(?:and|for|instead|not|rather|here|in (?:both|all|every|each))\b)"
)
_ORDER = (
    r"(?:use|try|write|pass|choose|pick|select|take|give|say|set (?:it|this|that) to|should (?:be|have been)|must be"
    r"|has to be|needs? to be|expected|wanted|(?:correct|right)(?: value| answer| one)?(?: is|:)|answer(?: is|:)"
    r"|replace \S{1,40} (?:by|with)|instead of \S{1,40} (?:use|take|write)|->|=>|→)\s*"
    r"(?:just |simply |exactly |the value )?"
)


def mentions(text: Spelled, name: str, first: int = 0, reach: int | None = None) -> Iterator[tuple[int, int]]:
    """Where a tool or an argument is named, exactly or in words."""
    yield from text.find(Spelled.named(name), first, reach)
    yield from text.find(Spelled.of(name), first, reach)


def ties(sentence: Spelled, secret: Secret) -> bool:
    """True where the sentence gives the value to its argument, and not as one of several choices."""
    if secret.spelling not in sentence:
        return False
    others = other_choices(secret)
    for name in secret.names:
        for begun, named in mentions(sentence, name):
            for begin, end in sentence.find(secret.spelling, named, REACH):
                if not is_listed(sentence, begin, end, others):
                    return True
            for begin, end in sentence.find(secret.spelling, max(0, begun - REACH), REACH):
                between = sentence.words[end:begun]
                if end <= begun and _BACKWARD.issuperset(between) and not is_listed(sentence, begin, end, others):
                    return True
    return False


def assigns(text: str, secret: Secret, word: str) -> bool:
    """True where the text says that the argument is `word`, with nothing but small words between them.

    For words that stand in any text: "the mode is all" tells, "mode and all the others are missing" does not.
    """
    names = tuple(form for name in secret.names for form in dict.fromkeys((name, name.replace("_", " "))))
    return any(pattern.search(text) is not None for pattern in _assignments(names, word))


def orders(text: str, word: str) -> bool:
    """True where the text says to use the word, without saying for which argument."""
    return _order(word).search(text) is not None


@lru_cache(maxsize=2048)
def _assignments(names: tuple[str, ...], word: str) -> tuple[re.Pattern[str], ...]:
    name, value = "|".join(map(re.escape, names)), _spaced(word)
    return (
        re.compile(rf"(?<!\w)(?:{name}){_OPENING}{_GLUE}[\"'`*]?{value}{_CLOSING}", re.IGNORECASE),
        re.compile(rf"(?<!\w){value}[\"'`*]? (?:for|is the|as the|as) ['\"`]?(?:{name})(?!\w)", re.IGNORECASE),
    )


@lru_cache(maxsize=2048)
def _order(word: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<!\w){_ORDER}(?:[\"'`*]{_spaced(word)}[\"'`*]|{_spaced(word)}(?=\s*(?:[.,;!)]|$)))", re.IGNORECASE
    )


def _spaced(word: str) -> str:
    return r"[\s_-]".join(map(re.escape, re.split(r"[\s_-]+", plain(word))))


def other_choices(secret: Secret) -> list[Spelled]:
    """The schema's choices without the right ones."""
    kept = {spelled(value).compact for value in (secret.value, *secret.right)}
    return [choice for choice in map(spelled, secret.choices) if choice.compact not in kept]


def is_listed(text: Spelled, begin: int, end: int, others: Sequence[Spelled]) -> bool:
    """True where another choice stands beside the words from `begin` to `end`: "open, closed" or "open or closed"."""
    for other in others:
        for first in (max(0, begin - len(other.words) - 1), end):
            for other_begin, other_end in text.find(other, first, 1):
                if other_begin < end and other_end > begin:
                    continue
                gap = text.words[end:other_begin] if other_begin >= end else text.words[other_end:begin]
                start = min(begin, other_begin)
                before = text.words[start - 1] if start else ""
                if len(gap) <= 1 and _CONNECTORS.issuperset(gap) and before not in _REFUSALS:
                    return True
    return False
