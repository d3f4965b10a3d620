"""What stands behind a callable: the decorators, partials, methods and callable objects that lead to a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

Function = Callable[..., Any]

_BOUND = (functools.partial, functools.partialmethod)
_HELD = (MethodType, staticmethod, classmethod)
_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def layers(function: Any) -> Iterator[Any]:
    """The callable, then what it wraps, binds or calls, down to the function that was written with `def`."""
    seen: set[int] = set()
    while id(function) not in seen:
        seen.add(id(function))
        yield function
        if isinstance(function, _BOUND):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, _HELD):
            function = function.__func__
        elif not inspect.isroutine(function) and not isinstance(function, type) and callable(function):
            function = type(function).__call__


def innermost(function: Any) -> Any:
    """The last of the layers."""
    return list(layers(function))[-1]


def is_plain(function: Any) -> bool:
    """False where any layer is asynchronous or a generator: such a call does not return its result."""
    return not any(kind(layer) for layer in layers(function) for kind in _NOT_PLAIN)


def documentation(function: Any) -> str:
    """The docstring without its indentation: the outermost that somebody wrote for this function, else its class's."""
    found = list(layers(function))
    written = [layer for layer in found if inspect.isroutine(layer) or "__doc__" in getattr(layer, "__dict__", {})]
    classes = [type(layer) for layer in found if layer not in written and not isinstance(layer, _BOUND)]
    for thing in (*written, *classes):
        text = inspect.cleandoc(thing.__doc__ or "")
        if not text and getattr(thing, "__name__", "") != "__call__":
            text = inspect.getdoc(thing) or ""  # of the method that this one overrides
        if text:
            return text
    return ""
