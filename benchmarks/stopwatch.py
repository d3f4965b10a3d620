"""Where the time of a step goes: the parts may nest, and each is charged only for what is not in a part within it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Stopwatch:
    """Seconds of each part since the last `take`.

    Attributes:
        clock: seconds, ever growing.
    """

    clock: Callable[[], float] = time.perf_counter
    _spent: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    def enter(self, part: str) -> None:
        """From now on, time belongs to `part`."""
        self._charge()
        self._open.append(part)

    def leave(self) -> None:
        """The innermost part ends."""
        self._charge()
        self._open.pop()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The block is a part."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """The function, every call of which is a part."""

        def call(*arguments: P.args, **named: P.kwargs) -> R:
            with self.part(name):
                return function(*arguments, **named)

        return call

    def take(self) -> dict[str, float]:
        """Seconds of each part; then counting starts anew."""
        self._charge()
        spent, self._spent = self._spent, {}
        return spent

    def _charge(self) -> None:
        now = self.clock()
        if self._open:
            self._spent[self._open[-1]] = self._spent.get(self._open[-1], 0.0) + now - self._since
        self._since = now
