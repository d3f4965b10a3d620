"""The words of the procedural world, and its values: seen ones, and held-out ones that no training task uses."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import date
from functools import cache
from typing import TypeVar

T = TypeVar("T")

YEAR = 2026
"""Of every day."""

_MONTHS = "January February March April May June July August September October November December"
MONTHS = tuple(_MONTHS.split())

VERBS: dict[str, tuple[str, ...]] = {
    "create": ("create", "add", "book"),
    "update": ("update", "change", "set"),
    "delete": ("delete", "cancel", "remove"),
    "find": ("find", "show", "check"),
}
"""What a tool may do with a record, and the verbs for it."""

_ALL_NOUNS = (
    "parcel table ticket room invoice order truck garden boat desk lamp class course flight train visit ride "
    "lease loan stock wagon piano engine filter ladder mirror pump route shelf tower valve window bridge cabin "
    "canoe crane diary drill fence forge gate hall kiln lock mill oven pier quilt raft saddle tent urn vault "
    "wheel yacht barrel basket button candle carpet"
)
NOUNS = tuple(_ALL_NOUNS.split())
"""Kinds of records."""

_ALL_SYLLABLES = (
    "ba be bo da de di do fa fe ga go ha ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa "
    "se so ta te ti to va ve vi vo za ze"
)
_SYLLABLES = tuple(_ALL_SYLLABLES.split())

_CAPITALS, _DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"

HELD_OUT_SHARE = 5
"""One value in so many is held out."""


def is_held_out(value: object) -> bool:
    """Whether a value belongs to the held-out ones, by its hash."""
    return hashlib.sha256(str(value).encode()).digest()[0] % HELD_OUT_SHARE == 0


@cache
def tool_names(held_out: bool) -> tuple[tuple[str, str, str], ...]:
    """(action, verb, noun) of every tool of a side."""
    return tuple(
        (action, verb, noun)
        for action, verbs in VERBS.items()
        for verb in verbs
        for noun in NOUNS
        if is_held_out(f"{verb}_{noun}") is held_out
    )


def _of_side(draw: Callable[[], T], held_out: bool) -> T:
    while is_held_out(value := draw()) is not held_out:
        pass
    return value


def number(draw: random.Random, held_out: bool) -> int:
    """From 1 to 99."""
    return _of_side(lambda: draw.randint(1, 99), held_out)


def day(draw: random.Random, held_out: bool) -> date:
    """A day of `YEAR`, which nobody says."""
    return _of_side(lambda: date(YEAR, draw.randint(1, 12), draw.randint(1, 28)), held_out)


def code(draw: random.Random, held_out: bool) -> str:
    """A capital and a digit."""
    return _of_side(lambda: draw.choice(_CAPITALS) + draw.choice(_DIGITS), held_out)


def label(draw: random.Random, held_out: bool) -> str:
    """A made-up name of two syllables."""
    return _of_side(lambda: "".join(draw.choices(_SYLLABLES, k=2)).capitalize(), held_out)
