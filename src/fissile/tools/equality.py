"""When two JSON values are the same. Numbers are compared as people write them, not as binary fractions.

A double keeps 15 significant digits of what was written, so 0.1 + 0.2 is 0.3, and 19.99 is a multiple of 0.01.
Integers are exact at any size; 1 is 1.0; true is no number.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction

from fissile.calls import JSON


def is_number(value: JSON) -> bool:
    """True for integers and floats that are finite; not for booleans."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def as_written(number: int | float) -> Fraction:
    """The number that a person wrote: exact for integers and whole floats, else to 15 significant digits.

    Args:
        number: finite.
    """
    if isinstance(number, int):
        return Fraction(number)
    return Fraction(Decimal(repr(number) if number.is_integer() else f"{number:.15g}"))


def json_equal(one: JSON, other: JSON) -> bool:
    """True where two JSON values are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if one == other:
        return True
    return is_number(one) and is_number(other) and as_written(one) == as_written(other)


def json_key(value: JSON) -> Hashable:
    """Equal for two values exactly where `json_equal` holds."""
    match value:
        case dict():
            return "object", frozenset((key, json_key(inner)) for key, inner in value.items())
        case list():
            return "array", tuple(map(json_key, value))
        case bool() | None | str():
            return type(value).__name__, value
        case _:
            return "number", as_written(value) if is_number(value) else repr(value)
