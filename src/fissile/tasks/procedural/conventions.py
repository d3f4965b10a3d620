"""How a tool wants a value written: kinds of parameters, and the conventions among which each tool chooses.

A convention is a rule of the tool's schema. Its documentation may leave it out; then only the tool's error tells it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from fissile.calls import JSON
from fissile.tasks.procedural import words


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to write the values of a kind."""

    name: str  # for tables; unique within the kind
    schema: dict[str, JSON]  # the JSON Schema of the values
    note: str  # what the documentation says about it
    write: Callable[[Any], JSON]  # from the value itself to what goes into the call


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of parameter."""

    names: dict[str, str]  # what tools call such a parameter, each with another word for it that a request may use
    draw: Callable[[random.Random, bool], Any]  # (draw, held out or not) -> a value
    phrase: str  # how a request states it, with the slots {p} for the parameter and {v} for the value
    surface: Callable[[Any], str]  # the value as a request says it
    read: Callable[[Any], Any]  # the value itself from what any of the conventions writes
    conventions: tuple[Convention, ...]  # the first one is the most usual


def choice_kind(options: tuple[str, ...]) -> tuple[Convention, ...]:
    """The conventions of a choice: its options in lower or in upper case."""
    upper = tuple(option.upper() for option in options)
    return (
        Convention("lower", {"type": "string", "enum": list(options)}, "|".join(options), str),
        Convention("upper", {"type": "string", "enum": list(upper)}, "|".join(upper), str.upper),
    )


def _text(pattern: str) -> dict[str, JSON]:
    return {"type": "string", "pattern": pattern}


def _spoken_date(day: date) -> str:
    return f"{day.day} {words.MONTHS[day.month - 1]}"


def _read_date(written: str) -> date:
    first, second = int(written[:2]), int(written[3:])
    month, day = (second, first) if written[2] == "." else (first, second)
    return date(words.YEAR, month, day)


COUNT = Kind(
    {"guests": "people", "copies": "prints", "seats": "places", "boxes": "crates", "nights": "sleeps", "hours": "time"},
    words.number,
    "{p} {v}",
    str,
    int,
    (
        Convention("integer", {"type": "integer", "minimum": 1}, "integer", int),
        Convention("digits", _text("^[0-9]+$"), "digits as text", str),
    ),
)

DAY = Kind(
    {"day": "date", "start": "beginning", "due": "deadline", "arrival": "coming"},
    words.day,
    "{p} {v}",
    _spoken_date,
    _read_date,
    (
        Convention("dash", _text("^[0-9]{2}-[0-9]{2}$"), "MM-DD", lambda day: f"{day:%m-%d}"),
        Convention("point", _text("^[0-9]{2}[.][0-9]{2}$"), "DD.MM", lambda day: f"{day:%d.%m}"),
        Convention("slash", _text("^[0-9]{2}/[0-9]{2}$"), "MM/DD", lambda day: f"{day:%m/%d}"),
    ),
)

CODE = Kind(
    {"ref": "reference", "ticket": "slip", "serial": "tag", "account": "file"},
    words.code,
    '{p} "{v}"',
    str,
    str.upper,
    (
        Convention("upper", _text("^[A-Z][0-9]$"), "upper case", str),
        Convention("lower", _text("^[a-z][0-9]$"), "lower case", str.lower),
    ),
)

LABEL = Kind(
    {"owner": "holder", "client": "customer", "driver": "chauffeur", "city": "town", "sender": "origin"},
    words.label,
    '{p} "{v}"',
    str,
    str,
    (Convention("as_is", {"type": "string"}, "text", str),),
)

FLAG = Kind(
    {"insured": "covered", "public": "open", "paid": "settled", "gift": "present"},
    lambda draw, _: draw.random() < 0.5,
    "{p} {v}",
    lambda value: "yes" if value else "no",
    lambda written: written in (True, "yes"),
    (
        Convention("boolean", {"type": "boolean"}, "boolean", bool),
        Convention("yes_no", {"type": "string", "enum": ["yes", "no"]}, "yes|no", lambda v: "yes" if v else "no"),
    ),
)


def _choice(names: dict[str, str], *options: str) -> Kind:
    return Kind(names, lambda draw, _: draw.choice(options), "{p} {v}", str, str.lower, choice_kind(options))


KINDS: dict[str, Kind] = {
    "count": COUNT,
    "day": DAY,
    "code": CODE,
    "label": LABEL,
    "flag": FLAG,
    "speed": _choice({"speed": "pace", "service": "handling"}, "slow", "normal", "express"),
    "size": _choice({"size": "format", "area": "extent"}, "small", "medium", "large"),
    "level": _choice({"level": "rank", "priority": "urgency"}, "low", "middle", "high"),
    "colour": _choice({"colour": "shade", "paint": "tint"}, "red", "green", "blue", "white"),
}
"""Every kind by its name."""
