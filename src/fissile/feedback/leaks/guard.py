"""The leak guard: a diagnosis says what is wrong, it never hands over what is right.

**The definition.** A value is *visible* where it stands in what the policy was shown or wrote: the conversation, the
world's answers, earlier feedback, the tools. Every other value that the ground truth accepts is *hidden*.

Feedback may say:

- which call, tool or argument is wrong, missing or too much, and what kind of error it is;
- the rule that it violates: type, bound, format, an example that the schema gives, how long a value is and how many
  items or calls are needed;
- all choices that a schema enumerates, and that the written one is not the right one;
- a visible value, in any case, spacing, punctuation and number format of the spelling in which it was shown.

It may not say:

- a hidden value, in any spelling: case, spacing, punctuation, quotes, number formats ("12.5k"), number words, percent,
  dates and times in any format (`Leak.VALUE`), nor encoded, escaped, reversed, masked by look-alikes or by what cannot
  be seen (`Leak.ENCODED`). A value that was shown in another spelling only, such as a date, is hidden in the spelling
  that the call needs;
- a part of a hidden value: its first or last letters, half of a long one, a proper name out of it, its pieces one by
  one, a mask with some letters (`Leak.PART`);
- that an argument is true, null, 7, "cm" or "all": short and everyday values occur in any text by accident, so they
  leak only where the text ties them to their argument or says to use them (`Leak.TIED`). What the user wrote, or the
  policy under that name, may be repeated;
- which of the enumerated choices is right, unless the conversation names it: by name, by its place in the list, or by
  ruling out all the others (`Leak.PICK`);
- a whole right call that the policy did not make, even if every value in it can be seen: the tool with every required
  argument, or all arguments of the called tool where it takes several (`Leak.CALL`);
- more than `MAX_CHARACTERS`: a diagnosis is short, and whatever is not has something else in it (`Leak.LENGTH`).

**Its limits.** It reads spellings, not meanings: a paraphrase ("the capital of France"), a translation, a sum or a
riddle passes. A number that is right by accident passes where the words around it count errors or name a place.

The guard stands over every source, at training and at evaluation (`fissile.feedback.diagnoser`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property

from fissile.errors import ErrorKind
from fissile.feedback.base import Failure
from fissile.feedback.leaks import fragments
from fissile.feedback.leaks.dates import Moment, moments
from fissile.feedback.leaks.encodings import decodings, undecoded
from fissile.feedback.leaks.fragments import Fragment, Masked
from fissile.feedback.leaks.picks import SENTENCE_END, Speech, picks
from fissile.feedback.leaks.quantities import Quantity, quantities, settled
from fissile.feedback.leaks.secrets import Secret, Visible, secrets
from fissile.feedback.leaks.ties import assigns, mentions, orders, ties
from fissile.feedback.leaks.whole_calls import spells_call
from fissile.feedback.spelling import Spelled, plain

LONG = 4
"""Words from which on a value is long: half of it is a leak."""

MAX_CHARACTERS = 4000
"""Longest text of a source."""


MIN_QUOTED = 12
"""Characters of the shortest answer of the world that a text quotes, and does not hold by accident."""

_OF_THE_WORLD = (ErrorKind.DOMAIN_ERROR, ErrorKind.EXCEPTION)


class Leak(StrEnum):
    """Why a text was blocked."""

    VALUE = "value"
    ENCODED = "encoded_value"
    PART = "part_of_value"
    TIED = "tied_value"
    PICK = "picked_choice"
    CALL = "whole_call"
    LENGTH = "too_long"


class LeakGuard:
    """Tells feedback that hands over the answer from feedback that does not."""

    def check(self, text: str, failure: Failure) -> str:
        """Why `text` must not be shown for this failure (a `Leak`); "" if it may."""
        return next(_leaks(text, failure), "")


class _SaidText:
    """A text, read in every way that a secret asks for; each only once, and only if it is asked for."""

    def __init__(self, text: str, names: frozenset[str], shown: Visible) -> None:
        self.raw = text
        self.names = names
        self.text = settled(plain(text), names, lambda words: Spelled.of(words) in shown)

    @cached_property
    def words(self) -> Spelled:
        """All words."""
        return Spelled.of(self.text)

    @cached_property
    def with_names(self) -> Spelled:
        """All words, names of tools and arguments kept whole."""
        return Spelled.of(self.text, self.names)

    @cached_property
    def speech(self) -> Speech:
        """Sentence by sentence."""
        parts = [part for part in SENTENCE_END.split(self.text) if part.strip()]
        return Speech(
            self.text, tuple((part, Spelled.of(part, self.names)) for part in parts), self.with_names, self.names
        )

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """The numbers that do not stand there by accident."""
        return tuple(quantities(self.text))

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """Dates and times."""
        return tuple(moments(self.text))

    def encodes(self, phrase: Spelled) -> bool:
        """True where decoding brings out a phrase that does not stand in the text as it is."""
        if len(phrase.compact) < (LONG if phrase.compact.isdigit() else 3):
            return False
        return any(read.count(phrase) > self.undecoded.count(phrase) for read in self.decoded)

    @cached_property
    def undecoded(self) -> Spelled:
        """All words that stand there without any decoding."""
        return Spelled.of(undecoded(self.raw))

    @cached_property
    def decoded(self) -> tuple[Spelled, ...]:
        """What is found by decoding, as words."""
        return tuple(map(Spelled.of, decodings(self.raw)))

    @cached_property
    def fragments(self) -> list[Fragment]:
        """What is said about parts of a value."""
        return fragments.fragments(self.text)

    @cached_property
    def masked(self) -> list[Masked]:
        """Values with a part covered."""
        return fragments.masked(self.text)


def _leaks(text: str, failure: Failure) -> Iterator[Leak]:
    """Every reason to block `text`."""
    if len(text) > MAX_CHARACTERS:
        yield Leak.LENGTH
        return
    shown = Visible(failure)
    said = _SaidText(_without_answers(text, failure), _names(failure), shown)
    for expected in failure.task.ground_truth:
        tool = failure.task.tool(expected.name)
        for secret in secrets(expected, tool):
            if (leak := _leak(said, secret, shown)) is not None:
                yield leak
        if spells_call(said.words, said.with_names, expected, tool, failure, said.names) and not shown.call(expected):
            yield Leak.CALL


def _without_answers(text: str, failure: Failure) -> str:
    """The text without the world's own words, which the policy has been shown."""
    raised = (error.message for error in failure.attempt.errors if error.kind in _OF_THE_WORLD)
    for answer in (*failure.answers, *raised):
        if len(answer) >= MIN_QUOTED:
            text = text.replace(answer, " § ")
    return text


def _leak(said: _SaidText, secret: Secret, shown: Visible) -> Leak | None:
    """How the text tells one value of the truth, if it does."""
    if secret.is_short or secret.is_everyday:
        return _leak_of_common(said, secret, shown)
    if _tells(said, secret, shown):
        return Leak.VALUE
    if (leak := _disguised(said, secret, shown)) is not None:
        return leak
    if secret.choices and not shown.is_own(secret) and picks(said.speech, secret):
        return None if secret.spelling in shown.conversation else Leak.PICK
    return None


def _leak_of_common(said: _SaidText, secret: Secret, shown: Visible) -> Leak | None:
    """Of a value that occurs in any text by accident."""
    if isinstance(secret.value, str) and not secret.is_short:
        if _is_set_apart(said, secret) and secret.spelling not in shown:
            return Leak.VALUE
        if (leak := _disguised(said, secret, shown)) is not None:
            return leak
    if secret.choices and isinstance(secret.value, str):
        if picks(said.speech, secret) and secret.spelling not in shown.conversation and not shown.is_own(secret):
            return Leak.PICK
        return None
    is_told = (
        any(_gives(part, words, secret) for part, words in said.speech.sentences)
        if secret.is_short
        else secret.spelling in said.words and assigns(said.text, secret, str(secret.value))
    )
    if not is_told and secret.spelling in said.words:
        is_told = orders(said.text, str(secret.value)) and secret.value is not None
    if not is_told or shown.short(secret):
        return None
    is_answered = any(True for name in secret.names for _ in mentions(shown.answers, name)) and (
        secret.spelling in shown.answers
    )
    return None if is_answered else Leak.TIED


def _disguised(said: _SaidText, secret: Secret, shown: Visible) -> Leak | None:
    """How a hidden value is told otherwise than by writing it: encoded, or in parts."""
    if any(map(said.encodes, (secret.spelling, *_halves(secret)))):
        return None if secret.spelling in shown else Leak.ENCODED
    return Leak.PART if _tells_part(said, secret, shown) and secret.spelling not in shown else None


def _is_set_apart(said: _SaidText, secret: Secret) -> bool:
    """True where everyday words stand there as a value: in quotes, as a proper name, or with their letters apart."""
    written = re.escape(plain(str(secret.value)))
    if any(end - begin != len(secret.spelling.words) for begin, end in said.words.find(secret.spelling)):
        return True
    as_name = rf"|(?<=[a-z,] )(?:{written}|{written.upper()})\b" if written[0].isupper() else ""
    return re.search(rf"([\"'`*_]){written}\1{as_name}", said.text) is not None


def _gives(text: str, words: Spelled, secret: Secret) -> bool:
    """True where a sentence gives a short value to its argument."""
    return ties(words, secret) or any(
        synonym in text.casefold() and assigns(text, secret, synonym) for synonym in secret.synonyms
    )


def _tells(said: _SaidText, secret: Secret, shown: Visible) -> bool:
    """True where the text holds a hidden value in a spelling that was not shown."""
    is_spelled_out = secret.number is None or len(secret.spelling.compact) >= LONG
    if is_spelled_out and secret.spelling in said.words and secret.spelling not in shown:
        return True
    if secret.number is not None:
        return any(
            quantity.value == secret.number and Spelled.of(quantity.written) not in shown
            for quantity in said.quantities
        ) and (secret.spelling not in shown)
    if secret.moment is not None and secret.spelling not in shown:
        return any(_tells_moment(found, secret.moment, shown) for found in said.moments)
    return False


def _tells_moment(found: Moment, hidden: Moment, shown: Visible) -> bool:
    """True for a date that was not shown, and for one that was shown otherwise and is written as the call needs it."""
    if not found.tells(hidden):
        return False
    is_known = any(found.tells(other) or other == found for other in shown.moments)
    return not is_known or (found.order == hidden.order != "" and found.fields[0] > 0)


def _tells_part(said: _SaidText, secret: Secret, shown: Visible) -> bool:
    """True where the text holds a piece of a hidden value that was not shown either."""
    spelling = secret.spelling
    if any(part in said.words and part not in shown for part in _halves(secret)):
        return True
    if said.fragments and any(fragments.reveals(one, spelling, shown) for one in said.fragments):
        return True
    if said.masked and any(fragments.uncovers(one, spelling, shown) for one in said.masked):
        return True
    if not isinstance(secret.value, str) or not any(word in said.words.words for word in spelling.words):
        return False
    return fragments.scattered(spelling, said.words, shown) or fragments.named(plain(secret.value), said.text, shown)


def _halves(secret: Secret) -> Iterator[Spelled]:
    """Every run of half the words of a long value, three at least, and the two sides of an address."""
    phrase = secret.spelling
    if isinstance(secret.value, str) and "@" in secret.value:
        yield from (side for side in map(Spelled.of, secret.value.split("@")) if len(side.words) > 1)
    count = len(phrase.words)
    size = max(3, (count + 1) // 2)
    if count >= LONG:
        yield from (Spelled.of(" ".join(phrase.words[at : at + size])) for at in range(count - size + 1))


def _names(failure: Failure) -> frozenset[str]:
    """Names of tools and arguments, and paths: "Hotels_4" and "items.0" give no value."""
    attempt, tools = failure.attempt, failure.task.tools
    offered = [name for tool in tools for name in (tool.name, *tool.properties)]
    written = [name for call in attempt.calls for name in (call.name or "", *(call.arguments or ()))]
    return frozenset([*offered, *written, *(error.argument or "" for error in attempt.errors)])
