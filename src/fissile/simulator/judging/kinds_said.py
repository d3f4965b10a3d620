"""Which kinds of error a clause claims, by the tables of `kind_words`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fissile.simulator.judging.kind_words import (
    QUOTING,
    REJECTED,
    SHORTHANDS,
    TOO_FEW,
    TYPE_DEMANDS,
    TYPED,
    UNKNOWN_TOOL,
    VAGUE,
    WRONG_TYPE,
    Kinds,
    Table,
)
from fissile.simulator.judging.telling_words import TELLING

_DEMANDS_FORM = re.compile(
    r"\b(?:of the form|in the (?:form|format)|format|formatted|that|with|between|at least|at most|greater|less"
    r"|notation)\b"
    r"|\b(?:like|from)\b|\b(?:positive|negative|valid|short|longer|non-?\w+) \w+"
)
"""Words that turn "must be a string" into a demand on the value."""


@dataclass(frozen=True, slots=True)
class KindsSaid:
    """What one clause says about kinds: sets of which one kind is meant each.

    Attributes:
        told: what it says outright.
        hinted: what it may mean if nothing else in the text is told.
        quotes: the rest of its line is somebody else's words.
    """

    told: tuple[Kinds, ...] = ()
    hinted: tuple[Kinds, ...] = ()
    quotes: bool = False


def kinds_said(clause: str) -> KindsSaid:
    """The kinds that a clause with marks claims."""
    quoted = next(_matching(clause, QUOTING), None)
    if quoted is not None:
        return KindsSaid((quoted,), quotes=True)
    told = list(_matching(clause, TELLING))
    if not {WRONG_TYPE, UNKNOWN_TOOL, TOO_FEW} & set(told) and _compiled(TYPE_DEMANDS).search(clause):
        told.append(TYPED if _DEMANDS_FORM.search(clause) or REJECTED in told else WRONG_TYPE)
    if len(told) > 1:  # "the value is wrong: it must be an integer" is about its type
        told = [kinds for kinds in told if kinds != REJECTED]
    return KindsSaid(tuple(told), tuple(_matching(clause, VAGUE)))


def expanded(pattern: str) -> str:
    """A pattern with its shorthands written out."""
    for _ in range(2):
        for shorthand, written in SHORTHANDS.items():
            pattern = pattern.replace(shorthand, written)
    return pattern


def joined(*patterns: str) -> re.Pattern[str]:
    """Alternatives with their shorthands written out, whatever their letter case."""
    return re.compile(expanded("|".join(patterns)), re.IGNORECASE)


def _matching(clause: str, table: Table) -> Iterator[Kinds]:
    return (kinds for kinds, patterns in table if _compiled(patterns).search(clause))


@cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return joined(*patterns)
