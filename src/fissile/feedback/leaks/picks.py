"""Whether a text picks one of the choices that a schema enumerates: by name, by place, or by ruling out the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fissile.feedback.leaks.secrets import Secret
from fissile.feedback.leaks.ties import assigns, mentions, orders, other_choices
from fissile.feedback.leaks.vocabulary import EVERYDAY
from fissile.feedback.spelling import Spelled, plain, spelled

SENTENCE_END = re.compile(r"[.!?;]+(?:\s+|$)|\n")
_CONTRAST = frozenset(["not", "rather", "instead", "but", "than", "over", "against", "replace", "change", "by"])
_RULED_OUT = frozenset(["neither", "nor", "not", "no", "except", "excluding", "other", "without"])
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_KINDS = r"(?:choices?|options?|alternatives?|enum(?:erated)?(?: values?| entry)?|listed (?:values?|ones?))"
_BY_ORDINAL = re.compile(
    rf"\b(?P<place>{'|'.join(_ORDINALS)}|\d{{1,2}}(?:st|nd|rd|th)|last|middle|former|latter|only other)\b"
    rf"(?P<kind> (?:{_KINDS}|of (?:the|these|those|them|its|\[|\(|\{{|['\"])|one\b))?",
    re.IGNORECASE,
)
_BY_NUMBER = re.compile(rf"\b{_KINDS} ?(?:no\.? ?|number |#)?(?P<place>\d{{1,2}})\b", re.IGNORECASE)
_END = re.compile(r"\s*(?:[.,;!]|$|in (?:the|this|that) list)")


@dataclass(frozen=True)
class Speech:
    """A text with what is needed to read it."""

    text: str  # as it looks
    sentences: tuple[tuple[str, Spelled], ...]  # each as it looks, and its words with names kept whole
    whole: Spelled  # the words of the whole text, names kept whole
    names: frozenset[str]  # of tools and arguments


def picks(speech: Speech, secret: Secret) -> bool:
    """True where the text singles out a right choice of an argument that the schema enumerates the choices of."""
    others = other_choices(secret)
    if not others:
        return False
    return _by_name(speech, secret, others) or _by_place(speech, secret) or _by_exclusion(speech, secret, others)


def _by_name(speech: Speech, secret: Secret, others: Sequence[Spelled]) -> bool:
    written = str(secret.value)
    alone = _list_of(tuple(map(str, secret.choices))).sub(" § ", speech.text)
    for text in SENTENCE_END.split(alone):
        words = Spelled.of(text, speech.names)
        if secret.spelling not in words and Spelled.named(written) not in words:
            continue
        if assigns(text, secret, written) or orders(text, written):
            return True
        is_told = any(True for name in secret.names for _ in mentions(words, name))
        is_contrasted = not _CONTRAST.isdisjoint(words.words) and any(other in words for other in others)
        if (is_told or is_contrasted) and (is_contrasted or not _is_ordinary(secret, text)):
            return True
    return False


@lru_cache(maxsize=1024)
def _list_of(choices: tuple[str, ...]) -> re.Pattern[str]:
    """Matches two or more of the choices in a row, unless they are refused."""
    choice = "|".join(map(_written, sorted(choices, key=len, reverse=True)))
    gap = r"(?:[\s'\"`‘’“”,;|/&•*\[\](){}-]|\d[.)]){0,12}(?:\b(?:or|and)\b)?[\s'\"`‘’“”-]{0,6}"
    return re.compile(
        rf"(?<!not )(?<!than )(?<!never )(?<!\w)(?:{choice})(?!\w)(?:{gap}(?<!\w)(?:{choice})(?!\w))+", re.IGNORECASE
    )


def _written(choice: str) -> str:
    return r"[\s_-]".join(map(re.escape, re.split(r"[\s_-]+", plain(choice))))


def _is_ordinary(secret: Secret, text: str) -> bool:
    """True where the choice is an everyday word or a digit, and is neither in quotes nor written as the schema does."""
    written = plain(str(secret.value))
    if not EVERYDAY.issuperset(secret.spelling.words) and not written.isdigit():
        return False
    quoted = rf"[\"'`]{re.escape(written)}[\"'`]"
    as_name = rf"(?<=[a-z] ){re.escape(written)}\b" if written[:1].isupper() else r"(?!)"
    return re.search(f"{quoted}|{as_name}", text) is None


def _by_place(speech: Speech, secret: Secret) -> bool:
    """True where the text says which of the choices it is: "the second option", "option 2", "the last of them"."""
    is_told = any(True for name in secret.names for _ in mentions(speech.whole, name))
    are_listed = all(spelled(choice) in speech.whole for choice in secret.choices)
    if not is_told and not are_listed:
        return False
    count = len(secret.choices)
    right = {index for index, choice in enumerate(secret.choices) if choice in secret.right}
    for found in _BY_NUMBER.finditer(speech.text):
        if int(found["place"]) - 1 in right:
            return True
    for found in _BY_ORDINAL.finditer(speech.text):
        is_meant = found["kind"] or (are_listed and _END.match(speech.text, found.end()))
        if is_meant and _index(found["place"].lower(), count) in right:
            return True
    return False


def _index(place: str, count: int) -> int | None:
    """Which of `count` choices "third", "3rd" or "last" is."""
    if place[0].isdigit():
        return int(re.sub(r"\D", "", place)) - 1
    if place in _ORDINALS:
        return _ORDINALS.index(place)
    special = {"last": count - 1, "former": 0 if count == 2 else None, "latter": 1 if count == 2 else None}
    return count // 2 if place == "middle" and count % 2 else special.get(place)


def _by_exclusion(speech: Speech, secret: Secret, others: Sequence[Spelled]) -> bool:
    """True where every other choice is ruled out by name; two of them at least."""
    return len(others) > 1 and any(
        not _RULED_OUT.isdisjoint(words.words)
        and secret.spelling not in words
        and all(other in words for other in others)
        for _, words in speech.sentences
    )
