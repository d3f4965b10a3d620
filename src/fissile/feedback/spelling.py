"""Text as a reader takes it in: words and numbers, whatever their case, spacing, punctuation and number format.

"San Francisco", "san-francisco", "SanFrancisco" and "S a n Francisco" are spelled alike, and so are 1000, 1,000 and
1000.0. Accents, the sign of a number and what cannot be seen are dropped, and letters that look like Latin ones are
taken for them. Not covered here: number words (`quantities`), dates (`dates`) and codes (`encodings`).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from fissile.calls import JSON

_WHOLE = "\0"
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("авеіјкмнорсѕтухһԁԛԝ", "abeijkmhopcstyxhdqw", strict=True)),  # Cyrillic
        **dict(zip("АВЕІЈКМНОРСЅТУХҺԀԚԜ", "ABEIJKMHOPCSTYXHDQW", strict=True)),
        **dict(zip("αεικνορτυχ", "aeikvoptux", strict=True)),  # Greek
        **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
        "ı": "i",
        "ɑ": "a",
        "ɡ": "g",
    }
)
_UNSEEN = ("Mn", "Me", "Cf")
"""Unicode categories of what adds nothing to a text that a reader sees: accents, joiners, soft hyphens, directions."""
_NAME = re.compile(r"\w+(?:\.\w+)*")
_WORD = re.compile(r"\d+(?:\.\d+)?e[+-]?\d{1,3}(?!\w)|\d+(?:\.\d+){2,}|\d+(?:\.\d+)?|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text split into words and numbers."""

    words: tuple[str, ...]  # in order, normalised
    compact: str  # the words without anything between them
    starts: tuple[int, ...]  # offset in `compact` at which each word starts, then its length

    @classmethod
    def of(cls, text: str, names: Container[str] = ()) -> Spelled:
        """Split `text`; what stands in it exactly as one of `names` is kept whole and is found by `named` only."""
        words: list[str] = []
        at = 0
        for found in _NAME.finditer(text) if names else ():
            if found[0] in names:
                words += [*_words(text[at : found.start()]), _whole(found[0])]
                at = found.end()
        return cls._joined([*words, *_words(text[at:])])

    @classmethod
    def named(cls, name: str) -> Spelled:
        """A name that was kept whole."""
        return cls._joined([_whole(name)])

    @classmethod
    def _joined(cls, words: Sequence[str]) -> Spelled:
        starts = accumulate(map(len, words), initial=0)
        return cls(tuple(words), "".join(words), tuple(starts))

    def find(self, phrase: Spelled, first: int = 0, reach: int | None = None) -> Iterator[tuple[int, int]]:
        """Where `phrase` is spelled: (index of its first word, index behind its last word).

        The search begins at the word `first`; at most `reach` words behind it may come before the phrase, any number
        for None.
        """
        if not phrase.compact or first >= len(self.words):
            return
        stop = len(self.compact) if reach is None else self.starts[min(first + reach, len(self.words))]
        at = self.compact.find(phrase.compact, self.starts[first])
        while 0 <= at <= stop:
            begin, end = self._word_at(at), self._word_at(at + len(phrase.compact))
            if begin is not None and end is not None:
                yield begin, end
            at = self.compact.find(phrase.compact, at + 1)

    def _word_at(self, offset: int) -> int | None:
        """Index of the word that starts at this offset of `compact`; None inside a word."""
        index = bisect_left(self.starts, offset)
        return index if self.starts[index] == offset else None

    def count(self, phrase: Spelled) -> int:
        """How often `phrase` is spelled."""
        return sum(True for _ in self.find(phrase)) if phrase.compact in self.compact else 0

    def __contains__(self, phrase: Spelled) -> bool:
        return any(True for _ in self.find(phrase))


def spelled(value: JSON, names: Container[str] = ()) -> Spelled:
    """A JSON value as it would be written, `names` kept whole; of a list or object the keys and leaves in order."""
    return Spelled.of(_written(value), names)


def _written(value: JSON) -> str:
    match value:
        case dict():
            return " ".join(f"{key} {_written(inner)}" for key, inner in value.items())
        case list():
            return " ".join(map(_written, value))
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float():
            return f"{Decimal(repr(value)):f}"
        case _:
            return str(value)


def plain(text: str) -> str:
    """The text as it looks, in plain letters: no accents, nothing invisible, no look-alikes; upper case is kept."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    seen = "".join(letter for letter in decomposed if unicodedata.category(letter) not in _UNSEEN)
    return seen.translate(_LOOKALIKES)


def _words(text: str) -> list[str]:
    return [_normalised(word) for word in _WORD.findall(plain(text).casefold())]


def _whole(name: str) -> str:
    return f"{_WHOLE}{name}"


def _normalised(word: str) -> str:
    """A number without exponent and without a fraction of zeros; a date or version written with points as digits."""
    if word[0].isdigit() and "e" in word:
        word = f"{Decimal(word):f}"
    if "." not in word:
        return word
    return word.rstrip("0").rstrip(".") if word.count(".") == 1 else word.replace(".", "")
