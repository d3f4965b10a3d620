"""The state of an episode: an instance of the user's class, pickled; how two of them are compared."""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import pickle
import sys
from collections.abc import Iterable
from enum import Enum
from typing import Any

from fissile.environments.python.libraries import UNKNOWN, simpler

ABSENT = object()
_PROTOCOL = 4
"""Of pickle; the later one hands out buffers that are no values."""


def public_attributes(instance: object) -> dict[str, Any]:
    """The instance's attributes without an underscore in front, those in `__slots__` included."""
    return {name: value for name, value in _attributes(instance).items() if not name.startswith("_")}


def hidden_attributes(instance: object) -> list[str]:
    """The private attributes of an instance that has no public ones: what it holds is never compared."""
    names = list(_attributes(instance))
    return names if all(name.startswith("_") for name in names) else []


def _attributes(instance: object) -> dict[str, Any]:
    slots = [name for base in type(instance).__mro__ for name in _names(getattr(base, "__slots__", ()))]
    values = {name: getattr(instance, name) for name in slots if hasattr(instance, name)}
    return values | getattr(instance, "__dict__", {})


def as_written(number: float) -> float | int:
    """The number to the 15 digits that a decimal number keeps in a float; whole ones as integers.

    0.1 + 0.2 is 0.3 here: what was added up in another order is the same.
    """
    near = number if number.is_integer() else float(f"{number:.{sys.float_info.dig}g}")
    return int(near) if near.is_integer() else near


def fingerprint(instance: object) -> str:
    """Equal for instances whose public attributes hold the same; 32 characters."""
    attributes = public_attributes(instance)
    try:
        digest = _Digest().of(attributes)
    except RecursionError:  # nested deeper than Python code can follow
        digest = _hash(b"pickle", pickle.dumps(attributes))
    return digest.hex()[:32]


def same_state(instance: object, expected: object) -> bool:
    """True when every public attribute of `expected` is the same in `instance`.

    Values are the same when `==` says so, or when they are built alike: plain objects without an `__eq__` are equal to
    nothing but themselves, and have gone through a pickle here.
    """
    found = public_attributes(instance)
    return all(_same(found.get(name, ABSENT), value) for name, value in public_attributes(expected).items())


def _same(one: object, other: object) -> bool:
    try:
        if (one == other) is True:  # arrays answer with an array, whatever their shapes
            return True
    except Exception:  # cycles recurse for ever
        pass
    return _Digest().of(one) == _Digest().of(other)


class _Digest:
    """Digests of values by what they hold, whatever the order of their dicts and sets, or who refers to whom twice."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        self._alive: list[object] = []  # an id must not be used again while it is known
        self._open: list[int] = []

    def of(self, value: object) -> bytes:
        """32 bytes, equal for values that are built alike; numbers count by their value, as in `==`."""
        leaf: tuple[bytes, ...]
        match value:
            case None:
                leaf = (b"none",)
            case str():
                leaf = (b"text", value.encode("utf-8", "surrogatepass"))
            case bytes():
                leaf = (b"bytes", value)
            case bool() | int() | float():
                number = as_written(value) if isinstance(value, float) else value
                leaf = (b"number", hex(number).encode() if isinstance(number, int) else repr(number).encode())
            case Enum():
                leaf = (b"enum", _type_name(type(value)), value.name.encode())
            case _ if isinstance(value, type) or inspect.isroutine(value):
                leaf = (b"global", _type_name(value))
            case _:
                return self._of_container(value)
        return _hash(*leaf)

    def _of_container(self, value: object) -> bytes:
        key = id(value)
        if key in self._known:
            return self._known[key]
        if key in self._open:  # a cycle: named by how far up it closes
            return _hash(b"above", str(len(self._open) - self._open.index(key)).encode())
        self._open.append(key)
        try:
            digest = self._built(value)
        finally:
            self._open.pop()
        self._known[key] = digest
        self._alive.append(value)
        return digest

    def _built(self, value: object) -> bytes:
        match value:
            case list() | tuple() if type(value) in (list, tuple):
                return _hash(type(value).__name__.encode(), *map(self.of, value))
            case dict() if type(value) is dict:
                return self._pairs(b"dict", value.items())
            case set() | frozenset() if type(value) in (set, frozenset):
                return _hash(b"set", *sorted(map(self.of, value)))
        known = simpler(value)
        if known is None or type(known) in (str, bool, int, float):
            return self.of(known)
        if known is not UNKNOWN:
            return _hash(b"array", _type_name(type(value)), repr(getattr(value, "shape", "")).encode(), self.of(known))
        return self._reduced(value)

    def _pairs(self, tag: bytes, items: Iterable[tuple[object, object]]) -> bytes:
        keyed = sorted(((self.of(key), value) for key, value in items), key=lambda pair: pair[0])
        return _hash(tag, *(digest for key, value in keyed for digest in (key, self.of(value))))

    def _reduced(self, value: object) -> bytes:
        """Any other object, by the recipe that pickle would store."""
        registered = copyreg.dispatch_table.get(type(value))
        recipe = registered(value) if registered else value.__reduce_ex__(_PROTOCOL)
        if isinstance(recipe, str):  # the name of a global
            return _hash(b"global", recipe.encode())
        maker, arguments, *rest = recipe
        state, items, pairs = [*rest, None, None, None][:3]
        return _hash(
            b"object",
            _type_name(maker),
            self.of(arguments),
            self.of(state),
            *map(self.of, items or ()),
            self._pairs(b"pairs", pairs or ()),
        )


def _hash(tag: bytes, *parts: bytes) -> bytes:
    digest = hashlib.sha256(tag)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _type_name(thing: Any) -> bytes:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing)}".encode()


def _names(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots
