"""Whether a text spells a whole call: the tool, and a right value for every argument that is required."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fissile.calls import JSON
from fissile.feedback.base import Failure
from fissile.feedback.leaks.secrets import leaves
from fissile.feedback.leaks.ties import REACH, is_listed, mentions, other_choices
from fissile.feedback.spelling import Spelled, spelled
from fissile.tasks import ExpectedCall
from fissile.tools import Tool

_FILLERS = frozenset(["for", "in", "with", "at", "to", "of", "on", "and", "the", "as", "is", "set"])
"""Words that may stand between the arguments of a call that are given by place."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A required argument of a right call: how its right values are spelled, and the wrong choices."""

    name: str
    values: tuple[Spelled, ...]
    others: tuple[Spelled, ...]


def spells_call(
    said: Spelled, words: Spelled, expected: ExpectedCall, tool: Tool | None, failure: Failure, names: frozenset[str]
) -> bool:
    """True where the tool is named with a right value for every required argument, or all arguments of the called one.

    Behind the tool's name an argument is given by name or by place, before it by name.

    In `words` the text has the `names` of tools and arguments kept whole.
    """
    named = [end for _, end in mentions(words, expected.name)]
    is_called = len(expected.required) > 1 and any(call.name == expected.name for call in failure.attempt.calls)
    if not named and not is_called:
        return False
    required = list(_required(expected, tool, names))
    if not required or not all(any(value in said for value in given.values) for given in required):
        return False
    if any(_consumes(words, end, required) for end in named):
        return True
    starts = (begin for given in required for begin, _ in islice(mentions(words, given.name), 4))
    return (bool(named) or is_called) and any(_consumes(words, begin, required, by_name=True) for begin in starts)


def _required(expected: ExpectedCall, tool: Tool | None, names: frozenset[str]) -> Iterator[_Given]:
    for name in expected.required:
        accepted = expected.arguments[name]
        right = [_plain(value) for value in accepted]
        values = dict.fromkeys(
            form for value in right for form in (spelled(value), spelled(value, names)) if form.words
        )
        schema = tool.properties.get(name, {}) if tool else {}
        wrong = (
            other
            for value in right
            for secret in leaves((name,), value, schema, accepted)
            for other in other_choices(secret)
        )
        if values:
            yield _Given(name, tuple(values), tuple(wrong))


def _consumes(said: Spelled, at: int, required: Sequence[_Given], by_name: bool = False) -> bool:
    """True where all of `required` are given from word `at` on, in any order, each right behind the one before."""
    left = list(required)
    while left:
        ends = [(end, given.name) for given in left if (end := _given_by(said, at, given, by_name)) is not None]
        if not ends:
            return False
        at, name = min(ends)
        left = [given for given in left if given.name != name]
    return True


def _given_by(said: Spelled, at: int, given: _Given, by_name: bool) -> int | None:
    """Index behind the value of an argument that is given by place at word `at`, or by name close behind it."""
    named = [end for _, end in islice(mentions(said, given.name, at, REACH), 1)]
    for start, reach in [*(() if by_name else ((at, 2),)), *((end, REACH) for end in named)]:
        for value in given.values:
            for begin, end in islice(said.find(value, start, reach), 1):
                is_placed = start != at or _FILLERS.issuperset(said.words[at:begin])
                if is_placed and not is_listed(said, begin, end, given.others):
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
