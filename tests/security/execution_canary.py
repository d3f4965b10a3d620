"""A canary over an audit hook: what Python did while model text was handled."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HARMLESS = frozenset({"builtins.id", "object.__getattr__", "sys._getframe", "time.sleep"})
"""Events of code that only computes. Everything else is forbidden: compile, exec, import, open, os.*, pickle.*, ..."""

Expected = Callable[[str, tuple[Any, ...]], bool]
"""(event, its arguments) to whether a test expects it."""


class ExecutedError(Exception):
    """An event that must not happen; raising it keeps it from happening."""


class _Watch:
    def __init__(self) -> None:
        self.thread: int | None = None
        self.expected: Expected = lambda event, arguments: False
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread is None or self.thread != threading.get_ident():
            return
        if event in HARMLESS or self.expected(event, arguments):
            return
        self.seen.append(f"{event} {repr(arguments)[:200]}")
        raise ExecutedError(self.seen[-1])


_watch = _Watch()
sys.addaudithook(_watch)  # there is no way to remove one: it sleeps outside `nothing_runs`


@contextmanager
def nothing_runs(expected: Expected = lambda event, arguments: False) -> Iterator[list[str]]:
    """In the block, anything that runs, opens or imports fails, and is seen even where that failure is caught.

    Args:
        expected: events that are right here.

    Yields:
        What was seen and not expected, for a test to look at between cases.
    """
    assert _watch.thread is None, "one canary at a time"
    _watch.expected, _watch.seen, _watch.thread = expected, [], threading.get_ident()
    try:
        yield _watch.seen
    finally:
        _watch.thread = None
    assert not _watch.seen, _watch.seen
