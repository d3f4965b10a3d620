"""A short text that is equal for equal states of the world."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, ClassVar

from fissile.environments.bfcl.instances import PublicState


def fingerprint(state: PublicState) -> str:
    """Equal for two states exactly when the official checker takes them for equal, but for hash collisions.

    As in Python's `==`, 1, 1.0 and True are one value, the order of keys is free, and a file or directory is its name
    and its contents. A directory that several paths share is read once, so the cost is that of the objects, not the
    paths; one that contains itself ends in a back reference.
    """
    reader = _StateReader()
    text = reader.read({name: dict(attributes) for name, attributes in state.items()})
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class _StateReader:
    """Canonical text of values; a directory stands in it as a digest."""

    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._open: list[int] = []

    def read(self, value: Any) -> str:
        """Canonical text: equal for equal values."""
        reader = self._READERS.get(type(value))
        if reader is not None:
            return reader(self, value)
        return self._file(value) if hasattr(value, "content") else self._directory(value)

    def _text(self, text: str) -> str:
        return f"{len(text)}'{text}"

    def _integer(self, number: int) -> str:
        return format(int(number), "x")  # hexadecimal has no limit of length

    def _float(self, number: float) -> str:
        return format(int(number), "x") if number.is_integer() else repr(number)

    def _sequence(self, items: list[Any]) -> str:
        return f"[{','.join(map(self.read, items))}]"

    def _set(self, items: set[Any]) -> str:
        return f"<{','.join(sorted(map(self.read, items)))}>"

    def _mapping(self, mapping: dict[Any, Any]) -> str:
        pairs = sorted((self.read(key), self.read(value)) for key, value in mapping.items())
        return f"{{{','.join(f'{key}:{value}' for key, value in pairs)}}}"

    def _file(self, file: Any) -> str:
        return f"F{self.read(file.name)}{self.read(file.content)}"

    def _directory(self, directory: Any) -> str:
        key = id(directory)
        if key in self._open:
            return f"^{len(self._open) - self._open.index(key)}"
        if key not in self._digests:
            self._open.append(key)
            text = f"{self.read(directory.name)}{self.read(directory.contents)}"
            self._open.pop()
            self._digests[key] = "D" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return self._digests[key]

    _READERS: ClassVar[dict[type, Callable[[_StateReader, Any], str]]] = {
        str: _text,
        int: _integer,
        bool: _integer,
        float: _float,
        list: _sequence,
        set: _set,
        dict: _mapping,
        type(None): lambda self, value: "null",
    }
