"""The leak guard: a diagnosis says what is wrong, it never hands over what is right.

What feedback may say:

- which call, tool or argument is wrong, and the rule that it violates;
- the choices that a schema enumerates, as long as it does not pick one;
- any value that the policy can see: in the messages, in the tools, or in what it wrote itself.

What it may not say:

- any other value of the ground truth (`Leak.VALUE`), nor half of a long one (`Leak.PART`), in whatever case, spacing,
  punctuation or number format (`spelling`);
- that an argument is true, null, 7 or "cm": such short values occur in any text by accident, so they leak only where
  the text ties them to their argument (`Leak.TIED`);
- a whole right call, even if every value in it can be seen (`Leak.CALL`);
- more than `MAX_CHARACTERS`: a diagnosis is short, and whatever is not has something else in it (`Leak.LENGTH`).

The guard stands over every source (`fissile.feedback.diagnoser`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from fissile.calls import JSON
from fissile.feedback.base import Failure
from fissile.feedback.spelling import Spelled, spelled
from fissile.tasks import ExpectedCall
from fissile.tools import Tool

REACH = 6
"""Words between an argument's name and a value that the text ties to it, at most."""

LONG = 4
"""Words from which on a value is long: half of it is a leak."""

MAX_CHARACTERS = 4000
"""Longest text of a source."""

_SENTENCE_END = re.compile(r"[.!?;]+(?:\s+|$)|\n")


class Leak(StrEnum):
    """Why a text was blocked."""

    VALUE = "value"
    PART = "part_of_value"
    TIED = "tied_value"
    CALL = "whole_call"
    LENGTH = "too_long"


class LeakGuard:
    """Tells feedback that hands over the answer from feedback that does not."""

    def check(self, text: str, failure: Failure) -> str:
        """Why `text` must not be shown for this failure (a `Leak`); "" if it may."""
        return next(_leaks(text, failure), "")


@dataclass(frozen=True, slots=True)
class _Secret:
    """One value of the truth, with the names of the argument that holds it, outermost first."""

    names: tuple[str, ...]
    value: JSON
    spelling: Spelled

    @property
    def is_short(self) -> bool:
        """True for what occurs in any text by accident: true, null, one digit, up to two letters."""
        compact = self.spelling.compact
        return self.value is None or isinstance(self.value, bool) or len(compact) < (2 if compact.isdigit() else 3)


def _leaks(text: str, failure: Failure) -> Iterator[Leak]:
    """Every reason to block `text`."""
    if len(text) > MAX_CHARACTERS:
        yield Leak.LENGTH
        return
    names = _names(failure)
    said, said_with_names = Spelled.of(text), Spelled.of(text, names)
    sentences = [Spelled.of(sentence, names) for sentence in _SENTENCE_END.split(text)]
    shown = _Shown(failure)
    for expected in failure.task.ground_truth:
        tool = failure.task.tool(expected.name)
        for secret in _secrets(expected):
            if secret.is_short:
                if any(_ties(sentence, secret, tool) for sentence in sentences) and not shown.short(secret):
                    yield Leak.TIED
            elif secret.spelling in said and secret.spelling not in shown:
                yield Leak.VALUE
            elif any(part in said and part not in shown for part in _halves(secret.spelling)):
                yield Leak.PART
        if _spells_call(said_with_names, expected, tool, names) and not shown.call(expected):
            yield Leak.CALL


class _Shown:
    """What the policy can see; read only when something was found, since tools are long."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self._all: Spelled | None = None

    def __contains__(self, phrase: Spelled) -> bool:
        if self._all is None:
            tools = [spelled([tool.name, tool.description, tool.parameters]).words for tool in self._failure.task.tools]
            words = [*Spelled.of(self._failure.visible_text).words, *(word for tool in tools for word in tool)]
            places = [f"{error.argument} {error.position}" for error in self._failure.attempt.errors]
            self._all = Spelled.of(" ".join([*words, *places]))
        return phrase in self._all

    def short(self, secret: _Secret) -> bool:
        """True where the user wrote the value, or the policy itself under that name."""
        messages = Spelled.of(" ".join(message["content"] for message in self._failure.task.messages))
        own = (call.arguments or {} for call in self._failure.attempt.calls)
        return secret.spelling in messages or any(
            secret.spelling.compact == spelled(arguments.get(secret.names[0], "")).compact for arguments in own
        )

    def call(self, expected: ExpectedCall) -> bool:
        """True where the policy made this call."""
        return any(
            call.name == expected.name
            and all(
                spelled((call.arguments or {}).get(name)).compact in {spelled(value).compact for value in values}
                for name, values in expected.arguments.items()
                if name not in expected.optional
            )
            for call in self._failure.attempt.calls
        )


def _names(failure: Failure) -> frozenset[str]:
    """Names of tools and arguments, and paths: "Hotels_4" and "items.0" give no value."""
    attempt, tools = failure.attempt, failure.task.tools
    offered = [name for tool in tools for name in (tool.name, *tool.properties)]
    written = [name for call in attempt.calls for name in (call.name or "", *(call.arguments or ()))]
    return frozenset([*offered, *written, *(error.argument or "" for error in attempt.errors)])


def _mentions(text: Spelled, name: str, first: int = 0, reach: int | None = None) -> Iterator[tuple[int, int]]:
    """Where a tool or an argument is named, exactly or in words."""
    yield from text.find(Spelled.named(name), first, reach)
    yield from text.find(Spelled.of(name), first, reach)


def _secrets(expected: ExpectedCall) -> Iterator[_Secret]:
    for name, accepted in expected.arguments.items():
        for value in accepted:
            yield from _leaves((name,), value)


def _leaves(names: tuple[str, ...], value: JSON) -> Iterator[_Secret]:
    """The scalars in `value`; an object's keys count as values, since a schema need not show them."""
    match value:
        case dict():
            for key, inner in value.items():
                yield _Secret(names, key, spelled(key))
                yield from _leaves((*names, key), inner)
        case list():
            for inner in value:
                yield from _leaves(names, inner)
        case _:
            yield _Secret(names, value, spelled(value))


def _halves(phrase: Spelled) -> Iterator[Spelled]:
    """Every run of half the words of a long value, three at least."""
    count = len(phrase.words)
    size = max(3, (count + 1) // 2)
    if count >= LONG:
        yield from (Spelled.of(" ".join(phrase.words[at : at + size])) for at in range(count - size + 1))


def _ties(sentence: Spelled, secret: _Secret, tool: Tool | None) -> bool:
    """True where the sentence gives the value to its argument, and not as one of several choices."""
    others = _other_choices(secret.names[0], [secret.value], tool)
    return any(
        not _is_listed(sentence, begin, end, others)
        for name in secret.names
        for _, named in _mentions(sentence, name)
        for begin, end in sentence.find(secret.spelling, named, REACH)
    )


def _other_choices(argument: str, right: Sequence[JSON], tool: Tool | None) -> list[Spelled]:
    """The schema's choices for the argument, or true and false for one of them, without the right ones."""
    schema = tool.properties.get(argument, {}) if tool else {}
    booleans = [True, False] if any(isinstance(value, bool) for value in right) else []
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or booleans
    kept = {spelled(value).compact for value in right}
    return [choice for choice in map(spelled, choices) if choice.compact not in kept]


def _is_listed(text: Spelled, begin: int, end: int, others: Sequence[Spelled]) -> bool:
    """True where another choice stands beside the words from `begin` to `end`: "open, closed" or "open or closed"."""
    gaps = [
        range(end, other_begin) if other_begin >= end else range(other_end, begin)
        for other in others
        for first in (max(0, begin - len(other.words) - 1), end)
        for other_begin, other_end in text.find(other, first, 1)
        if other_begin >= end or other_end <= begin
    ]
    return any(len(gap) <= 1 and not any(map(text.is_name, gap)) for gap in gaps)


@dataclass(frozen=True, slots=True)
class _Given:
    """A required argument of a right call: how its right values are spelled, and the wrong choices."""

    name: str
    values: tuple[Spelled, ...]
    others: tuple[Spelled, ...]


def _spells_call(said: Spelled, expected: ExpectedCall, tool: Tool | None, names: frozenset[str]) -> bool:
    """True where the tool's name is followed by a right value for every required argument, by name or by place."""
    required = []
    for name in expected.required:
        right = [_plain(value) for value in expected.arguments[name]]
        values = dict.fromkeys(
            form for value in right for form in (spelled(value), spelled(value, names)) if form.words
        )
        leaves = [secret.value for value in right for secret in _leaves((name,), value)]
        if values:
            required.append(_Given(name, tuple(values), tuple(_other_choices(name, leaves, tool))))
    return bool(required) and any(_consumes(said, end, required) for _, end in _mentions(said, expected.name))


def _consumes(said: Spelled, at: int, required: Sequence[_Given]) -> bool:
    """True where all of `required` are given from word `at` on, in any order, each right behind the one before."""
    left = list(required)
    while left:
        ends = [(end, given.name) for given in left if (end := _given_by(said, at, given)) is not None]
        if not ends:
            return False
        at, name = min(ends)
        left = [given for given in left if given.name != name]
    return True


def _given_by(said: Spelled, at: int, given: _Given) -> int | None:
    """Index behind the value of an argument that is given by place at word `at`, or by name close behind it."""
    named = [end for _, end in islice(_mentions(said, given.name, at, REACH), 1)]
    for start, reach in [(at, 0), *((end, REACH) for end in named)]:
        for value in given.values:
            for begin, end in islice(said.find(value, start, reach), 1):
                if not _is_listed(said, begin, end, given.others):
                    return end
    return None


def _plain(accepted: JSON) -> JSON:
    """One accepted value; of BFCL's {key: [accepted, ...]} the first accepted value of each key."""
    match accepted:
        case dict():
            choices = {key: inner if isinstance(inner, list) else [inner] for key, inner in accepted.items()}
            written = {key: [value for value in values if value != ""] for key, values in choices.items()}
            return {key: values[0] for key, values in written.items() if values}
        case list():
            return [_plain(inner) for inner in accepted]
        case _:
            return accepted
