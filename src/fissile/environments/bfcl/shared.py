"""What the official functions share between all instances, guarded while one of them uses it.

`logarithm` sets the precision of the whole process, `square_root` that of the thread, and the weather of a long
context is written into one table for all.
"""

from __future__ import annotations

import decimal
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any

_one_at_a_time = threading.Lock()


@contextmanager
def _own_precision() -> Iterator[None]:
    mpmath: Any = importlib.import_module("mpmath")
    with _one_at_a_time, mpmath.workdps(mpmath.mp.dps):
        yield


_GUARDS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = MappingProxyType(
    {
        "logarithm": _own_precision,
        "square_root": decimal.localcontext,
        "get_outside_temperature_from_google": lambda: _one_at_a_time,
    }
)


def guarded(name: str) -> AbstractContextManager[Any]:
    """A block in which the function of that name may run and its result be read."""
    guard = _GUARDS.get(name)
    return guard() if guard else nullcontext()
