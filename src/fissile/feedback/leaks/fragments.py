"""Parts of a hidden value: its first letters, its last ones, some of its words, all but what a mask covers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fissile.feedback.leaks.vocabulary import EVERYDAY
from fissile.feedback.spelling import Spelled

MAX_NAMED = 6
"""Words up to which one capitalised word of a value gives it away."""

_FILLER = (
    r"(?:\s*(?:is|are|being|with|by|in|on|the|a|an|letters?|characters?|chars?|digits?|words?|part|parts|numbers?|like"
    r"|single|one|two|three|four|five|capital|named|called|string|text|value)\b)*"
)
_CUE = re.compile(
    rf"\b(?:(?P<start>starts?|begins?|starting|beginning|started|prefix(?:ed)?|first|initials?)"
    rf"|(?P<end>ends?|ending|suffix|last|final|goes on|continues)"
    rf"|(?P<middle>contains?|containing|includes?|including|middle))\b{_FILLER}[\s:=]*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\s*[\"'`“‘«]\s*[-.…]*([^\"'`”’»]{1,60})")
_BARE = re.compile(r"\s*[-.…]*(\w+(?:[ ,@.:-]{1,2}\w+){0,2})")
_MASK = re.compile(r"(?P<mask>\*{1,}|_{2,}|•+|█+|■+|#{2,}|\?+|\.{2,}|(?<=\d)x{2,}|-{3,})", re.IGNORECASE)
_TOUCHING = re.compile(r"^[\w@.]*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n]\s*|[\"'({\[]\s*)$")


class Vocabulary(Protocol):
    """What the policy was shown."""

    def __contains__(self, phrase: Spelled) -> bool:
        """True where the phrase stands in it."""
        ...


class Place(StrEnum):
    """Where in a value a fragment stands."""

    START = "start"
    END = "end"
    MIDDLE = "middle"


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a text says of a value."""

    place: Place  # where in the value it stands
    letters: str  # without anything between the words
    is_marked: bool  # in quotes, or a single capital letter: it cannot be an ordinary word


@dataclass(frozen=True, slots=True)
class Masked:
    """A value with a part of it covered."""

    before: Spelled  # the words before the mask, the last one touching it; none where none does
    after: str  # the letters behind the mask that touch it
    covered: int  # characters of the mask; 0 where it need not stand for as many letters


def fragments(text: str) -> list[Fragment]:
    """What a text says about first letters, last letters and contents."""
    return list(_fragments(text))


def _fragments(text: str) -> Iterator[Fragment]:
    for cue in _CUE.finditer(text):
        place = Place(next(name for name in ("start", "end", "middle") if cue[name]))
        quoted = _QUOTED.match(text, cue.end())
        if quoted:
            yield Fragment(place, Spelled.of(quoted[1]).compact, True)
            continue
        bare = _BARE.match(text, cue.end())
        words = Spelled.of(bare[1]).words if bare else ()
        for count in range(1, len(words) + 1):
            first = bare[1] if bare else ""
            is_letter = count == 1 and len(words[0]) == 1 and first[:1] not in "aAI"
            is_ordinary = EVERYDAY.issuperset(words[:count])
            if is_letter or not is_ordinary:
                yield Fragment(place, "".join(words[:count]), is_letter)


def masked(text: str) -> list[Masked]:
    """Every masked word in a text."""
    found = []
    for mask in _MASK.finditer(text):
        before = text[max(0, mask.start() - 60) : mask.start()]
        behind = _TOUCHING.findall(text[mask.end() : mask.end() + 30])[0]
        touches = bool(before) and (before[-1].isalnum() or before[-1] in "@.")
        if not touches and not behind:
            continue
        covers = mask["mask"][0] not in ".?" or mask["mask"] == "?"
        after = Spelled.of(behind).compact
        found.append(Masked(Spelled.of(before if touches else ""), after, len(mask["mask"]) if covers else 0))
    return found


def reveals(fragment: Fragment, value: Spelled, shown: Vocabulary) -> bool:
    """True where the fragment is that part of the value, and the words that it touches were not shown."""
    letters, compact = fragment.letters, value.compact
    if not letters or len(letters) < (1 if fragment.is_marked else 2) or letters == compact:
        return letters == compact != ""
    if fragment.place is Place.START:
        at = 0 if compact.startswith(letters) else -1
    elif fragment.place is Place.END:
        at = len(compact) - len(letters) if compact.endswith(letters) else -1
    else:
        at = compact.find(letters) if len(letters) > 2 else -1
    return at >= 0 and not _is_shown(value, at, at + len(letters), shown)


def uncovers(mask: Masked, value: Spelled, shown: Vocabulary) -> bool:
    """True where the masked word is the value: its letters before and behind the mask."""
    compact, before = value.compact, mask.before
    if not before.words:
        at = len(compact) - len(mask.after)
        return len(mask.after) > 2 and compact.endswith(mask.after) and not _is_shown(value, at, len(compact), shown)
    for index in range(max(0, len(before.words) - len(value.words)), len(before.words)):
        head = before.compact[before.starts[index] :]
        length = len(head) + mask.covered + len(mask.after)
        least = 1 if mask.covered and length == len(compact) else 2 if mask.covered or mask.after else 3
        is_ordinary = not mask.covered and EVERYDAY.issuperset(before.words[index:])
        if (
            len(head) + len(mask.after) >= least
            and len(head) < len(compact)
            and not is_ordinary
            and compact.startswith(head)
            and compact.endswith(mask.after)
            and not _is_shown(value, 0, len(head), shown)
        ):
            return True
    return False


def scattered(value: Spelled, said: Spelled, shown: Vocabulary) -> bool:
    """True where every word of the value that was not shown is said, one here, one there; two of them at least."""
    words = [word for word in dict.fromkeys(value.words) if len(word) > 2 and word not in EVERYDAY]
    if len(words) < 2 or not set(words).issubset(said.words):
        return False
    return sum(Spelled.of(word) not in shown for word in words) > 1


def named(value: str, text: str, shown: Vocabulary) -> bool:
    """True where a proper name or a code out of a value is said that was not shown: Francisco of San Francisco."""
    codes = re.findall(r"(?<!\w)\d{5,}(?!\w)", value)
    if any(re.search(rf"(?<!\w){code}(?!\w)", text) and Spelled.of(code) not in shown for code in codes):
        return True
    words = re.findall(r"[^\W\d_]+", value)
    if not 1 < len(words) <= MAX_NAMED:
        return False
    return any(
        word[:1].isupper() and len(word) > 2 and word.casefold() not in EVERYDAY and Spelled.of(word) not in shown
        for word in words
        if _stands_as_name(word, text)
    )


def _stands_as_name(word: str, text: str) -> bool:
    """True where the word is in the text with its capital letter, and not only because a sentence begins with it."""
    return any(
        not _SENTENCE_START.search(text[max(0, found.start() - 4) : found.start()])
        or text[found.start() - 1 : found.start()] in "\"'"
        for found in re.finditer(rf"\b{re.escape(word)}\b", text)
        if found.start()
    )


def _is_shown(value: Spelled, begin: int, end: int, shown: Vocabulary) -> bool:
    """True where the words of the value between two offsets of its letters were shown in a row."""
    touched = [
        word for index, word in enumerate(value.words) if value.starts[index] < end and value.starts[index + 1] > begin
    ]
    return Spelled.of(" ".join(touched)) in shown
