"""The type hints of a function's parameters, resolved, with all words that stand in them where pydantic reads them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

from fissile.errors import DataError
from fissile.functions.field_words import words_of
from fissile.functions.layers import Function, innermost
from fissile.functions.library_markers import filled_by_library


def signature_of(function: Function, name: str) -> inspect.Signature:
    """The signature with resolved hints, as a call by name fills it; a method's `self` is left out.

    Raises:
        DataError: it cannot be read, a hint cannot be resolved, or a parameter cannot be called by a name.
    """
    bare = function
    if isinstance(function, functools.partial):  # `__wrapped__` would show the arguments that are bound
        bare = functools.partial(function.func, *function.args, **function.keywords)
    try:
        signature = inspect.signature(bare)
    except (ValueError, TypeError) as error:
        raise DataError(f"The parameters of {name}() cannot be read ({error}). Wrap it in a plain function.") from None
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name == "self" and _is_method(function):
        del parameters[0]
    names, members = _namespaces(function)
    resolved = []
    for parameter in parameters:
        if parameter.kind in _UNNAMED:
            wrapper = "; if it is a decorator's, put functools.wraps on it" if _is_local(function) else ""
            fail(parameter, name, _UNNAMED[parameter.kind] + wrapper)
        resolved.append(parameter.replace(annotation=_resolved(parameter, name, names, members)))
    return inspect.Signature(resolved)


_UNNAMED = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, and a model passes arguments by name; remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes unnamed arguments; replace it by a list, such as 'items: list[str]'",
    inspect.Parameter.VAR_KEYWORD: "takes any arguments; replace it by named ones, or by 'options: dict[str, str]'",
}


def fail(parameter: inspect.Parameter, function: str, problem: str) -> NoReturn:
    """Raise the DataError that a parameter of a function has this problem."""
    raise DataError(f"The parameter '{parameter.name}' of {function}() {problem}.")


def _resolved(parameter: inspect.Parameter, function: str, names: dict[str, Any], members: Mapping[str, Any]) -> Any:
    """The hint of a parameter as an object; empty where there is none."""
    written = parameter.annotation
    if written is parameter.empty:
        return written

    def holder() -> None: ...

    holder.__annotations__ = {parameter.name: written}
    try:
        hint = typing.get_type_hints(holder, names, members, include_extras=True)[parameter.name]
    except Exception as error:  # whatever evaluating an annotation raises
        _refuse_filled(parameter, function, written)
        advice = "Import its names at the top of the module, outside of 'if TYPE_CHECKING'"
        fail(parameter, function, f"has a type hint that cannot be resolved: {error}. {advice}")
    _refuse_filled(parameter, function, hint)
    return _worded(hint.type if isinstance(hint, dataclasses.InitVar) else hint)


def _refuse_filled(parameter: inspect.Parameter, function: str, hint: Any) -> None:
    if filler := filled_by_library(hint):
        what = f"is of type {filler}, which another library fills in and no model may"
        fail(parameter, function, f"{what}; remove it, or give a function without it that calls this one")


def _worded(hint: Any) -> Any:
    """The hint with plain texts and `Doc(...)` in `Annotated` as pydantic's descriptions, at any depth."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        base, *notes = arguments
        words = [text for note in notes if (text := words_of(note))]
        kept = [note for note in notes if not words_of(note)]
        if words:
            told = [note.description for note in kept if isinstance(note, FieldInfo) and note.description]
            kept.append(Field(description=" ".join([*told, *words])))
        return Annotated[(_worded(base), *kept)]
    if not arguments or get_origin(hint) is Literal:
        return hint
    worded = tuple(map(_worded, arguments))
    if all(new is old for new, old in zip(worded, arguments, strict=True)):
        return hint
    origin: Any = get_origin(hint)
    return Union[worded] if "Union" in getattr(origin, "__name__", str(origin)) else origin[worded]  # noqa: UP007


def _namespaces(function: Function) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the hints of a function may name: globals; and its closure and the members of its class."""
    written = innermost(function)
    module = vars(sys.modules[written.__module__]) if getattr(written, "__module__", None) in sys.modules else {}
    maker = getattr(written, "__init__", None) if isinstance(written, type) else written  # may be inherited
    names = getattr(maker, "__globals__", {}) | module
    members: dict[str, Any] = {}
    owner = _owner(written)
    for base in reversed(owner.__mro__ if owner is not None else ()):
        members |= vars(base)
    with suppress(TypeError, ValueError):  # no Python function, or an empty cell
        members |= inspect.getclosurevars(written).nonlocals
    return names, members


def _owner(function: Any) -> type | None:
    """The class in whose body a function was written, where it can be found again."""
    if isinstance(function, type):
        return function
    path = getattr(function, "__qualname__", "").split(".")[:-1]
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in path:
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _is_method(function: Any) -> bool:
    """True for a function that was written in the body of a class."""
    path = getattr(function, "__qualname__", "").split(".")[:-1]
    return bool(path) and path[-1] != "<locals>"


def _is_local(function: Any) -> bool:
    return "<locals>" in getattr(function, "__qualname__", "")
