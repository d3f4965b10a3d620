"""Calls that are refused before they run, because they could take for ever or grow without end.

What the ground truth asks for is far from these limits: its longest argument has 14 % of the characters allowed, and
its longest result 8 %. A refusal depends on nothing but the call and the state, so a replay refuses the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fissile.calls import JSON

MAX_CHARACTERS = 50_000
"""Of all strings and keys in the arguments of a call."""
MAX_ITEMS = 10_000
"""Values in the arguments of a call, nested ones included."""
MAX_DEPTH = 20
"""Of nesting in the arguments of a call."""
MAX_BITS = 15_000
"""Of an integer in the arguments: a little more than Python turns into text."""
MAX_RESULT = 400_000
"""Characters of a result; what follows is cut. As no result of the truth is that long, a cut changes no verdict."""
MAX_NODES = 5_000
"""Files and directories of a file system, counted by path (copies share their contents, so paths can double)."""
MAX_PRECISION = 1_000
"""Digits that `logarithm`, `square_root` and `round_number` work with."""

CUT = "... [the result is cut here]"
"""Ends a cut result."""


def oversized(arguments: Mapping[str, JSON]) -> str | None:
    """Why the arguments are too large to be passed on; None where they are not."""
    if len(arguments) <= 10 and all(map(_is_short, arguments)) and all(map(_is_short, arguments.values())):
        return None  # almost always
    characters = items = 0
    pending: list[tuple[Any, int]] = [(arguments, 0)]
    while pending:
        value, depth = pending.pop()
        items += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            characters += sum(map(len, value))
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            return "an integer of the arguments has too many digits"
        if depth > MAX_DEPTH:
            return "the arguments are nested too deeply"
        if items + len(pending) > MAX_ITEMS or characters > MAX_CHARACTERS:
            return "the arguments are too long"
    return None


def _is_short(value: JSON) -> bool:
    if type(value) is str:
        return len(value) <= 1000
    return type(value) in _SCALARS or (type(value) is int and abs(value) < 2**64)


_SCALARS = frozenset({float, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that is to run.

    Attributes:
        name: the function.
        arguments: of the call; they need not fit the function's signature.
        instance: what it would run on.
    """

    name: str
    arguments: Mapping[str, JSON]
    instance: Any


def too_costly(call: Asked) -> str | None:
    """Why a call of bounded arguments would still cost too much; None where it would not."""
    guard = _GUARDS.get(call.name)
    return guard(call) if guard else None


def cut(text: str) -> str:
    """The text, or its beginning where it is longer than a result may be."""
    return text if len(text) <= MAX_RESULT else text[:MAX_RESULT] + CUT


Guard = Callable[[Asked], str | None]
"""Why a call costs too much; None where it does not."""


def _power(call: Asked) -> str | None:
    base, exponent = call.arguments.get("base"), call.arguments.get("exponent")
    if not (isinstance(base, int) and isinstance(exponent, int)) or abs(base) < 2:
        return None  # of floats, the machine's own arithmetic
    return "the power has too many digits" if base.bit_length() * exponent > MAX_BITS else None


def _precision(argument: str) -> Guard:
    def guard(call: Asked) -> str | None:
        digits = call.arguments.get(argument)
        if isinstance(digits, int | float) and not abs(digits) <= MAX_PRECISION:  # not a number, either
            return f"the argument '{argument}' asks for more than {MAX_PRECISION} digits"
        return None

    return guard


def _logarithm(call: Asked) -> str | None:
    """The precision, and numbers that are given as text: they are written out, whatever their exponent."""
    texts = [text.lower() for name in ("value", "base") if isinstance(text := call.arguments.get(name), str)]
    if any(len(exponent) > 4 for text in texts for exponent in text.split("e")[1:]):
        return "a number that is given as text has too many digits"
    return _precision("precision")(call)


def _directory_grows(call: Asked) -> str | None:
    """A directory is copied or moved: not into itself, and not if the paths become too many."""
    source, destination = (_contents(call, call.arguments.get(role)) for role in ("source", "destination"))
    if source is None or (call.name == "mv" and source is destination):  # moved into itself, it vanishes
        return None
    added = _paths(source, avoiding=destination)
    present = _paths(call.instance.root.contents)
    if added is None or present is None or added + present > MAX_NODES:
        return "the file system would become too large"
    return None


def _contents(call: Asked, name: JSON) -> dict[str, Any] | None:
    """What the subdirectory of that name holds; None where it is no subdirectory."""
    item = call.instance._current_dir.contents.get(name) if isinstance(name, str) else None
    found: dict[str, Any] | None = getattr(item, "contents", None)
    return found


def _paths(contents: dict[str, Any], avoiding: dict[str, Any] | None = None) -> int | None:
    """Number of paths below a directory; None where `avoiding` is among its subdirectories, or they are too many."""
    count = 0
    pending = [contents]
    while pending:
        inside = pending.pop()
        count += len(inside)
        if count > MAX_NODES or inside is avoiding:
            return None
        pending.extend(item.contents for item in inside.values() if hasattr(item, "contents"))
    return count


_GUARDS: Mapping[str, Guard] = MappingProxyType(
    {
        "power": _power,
        "logarithm": _logarithm,
        "square_root": _precision("precision"),
        "round_number": _precision("decimal_places"),
        "cp": _directory_grows,
        "mv": _directory_grows,
    }
)
"""Functions whose cost their arguments' size does not bound."""
