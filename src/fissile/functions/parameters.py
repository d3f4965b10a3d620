"""The parameters of a function: their JSON schema, and the reader of arguments as the types of the hints."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Optional, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo
from pydantic.json_schema import PydanticJsonSchemaWarning
from pydantic_core import ArgsKwargs

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.functions.hints import fail, signature_of
from fissile.functions.layers import Function
from fissile.functions.library_markers import is_marker

_READABLE = "use str, int, float, bool, list, dict, Literal, an Enum, a dataclass or a pydantic model"


@dataclass(frozen=True)
class Parameters:
    """What a call by name fills."""

    signature: inspect.Signature  # with resolved hints
    names: dict[str, str]  # parameter to the name that a model writes: its alias, where it has one
    adapter: TypeAdapter[dict[str, Any]]  # reads {name: JSON value} as the arguments of a call

    def schema(self) -> dict[str, JSON]:
        """As pydantic writes it: "properties", "required", "$defs"."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # defaults that JSON cannot say
            by_key, shared = TypeAdapter.json_schemas([("call", "validation", self.adapter)])  # in pydantic's order
        return {**by_key["call", "validation"], "$defs": shared.get("$defs", {})}

    def read(self, arguments: Mapping[str, JSON]) -> dict[str, Any]:
        """What to call the function with, in the types of its hints; a default that a call could change is given anew.

        Raises:
            pydantic.ValidationError: an argument is none of its type.
        """
        given = {parameter for parameter, name in self.names.items() if name in arguments}
        values = self.adapter.validate_python(ArgsKwargs((), dict(arguments)))
        defaults = self.signature.parameters
        return {name: value for name, value in values.items() if name in given or value is not defaults[name].default}


def parameters_of(function: Function, name: str = "") -> Parameters:
    """The parameters that a call by name fills; of a class, those of its constructor.

    Raises:
        DataError: a parameter has no name to be called by, or a type hint or default that no JSON value can stand for.
    """
    name = name or getattr(function, "__name__", "the function")
    signature = signature_of(function, name)
    names: dict[str, str] = {}
    parameters = []
    for parameter in signature.parameters.values():
        checked = parameter if isinstance(function, type) else _with_default(parameter, name)
        parameters.append(checked)
        names[parameter.name] = _alias(checked, name)
        if list(names.values()).count(names[parameter.name]) > 1:
            fail(parameter, name, f"has the name '{names[parameter.name]}' of another one; give it another alias")
    signature = inspect.Signature(parameters)
    try:
        found = Parameters(signature, names, TypeAdapter(_reader(function, signature)))
        found.schema()
    except Exception as error:  # pydantic raises of several kinds
        for parameter in parameters:
            _adapter(parameter, name)
        raise DataError(f"The parameters of {name}() cannot be read ({_reason(error)}); {_READABLE}.") from None
    return found


def _reader(function: Function, signature: inspect.Signature) -> Any:
    """A function of this signature that returns the arguments of a call."""

    def read(*positional: Any, **named: Any) -> dict[str, Any]:
        return dict(signature.bind(*positional, **named).arguments)

    read.__module__ = getattr(function, "__module__", None) or read.__module__
    read.__signature__ = signature  # type: ignore[attr-defined]
    read.__annotations__ = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if parameter.annotation is not parameter.empty
    }
    return read


def _with_default(parameter: inspect.Parameter, function: str) -> inspect.Parameter:
    """The parameter, once its default is known to be one; None as a default makes it nullable, as it is in Python."""
    if is_marker(parameter.default):
        kind = type(parameter.default)
        what = f"has a {kind.__name__} of {kind.__module__} as its default, which only that library fills in"
        fail(parameter, function, f"{what}; remove it, or write pydantic's Field(...)")
    if parameter.default is parameter.empty or parameter.annotation is parameter.empty:
        return parameter
    default = _field(parameter).get_default()
    adapter = _adapter(parameter, function)
    try:
        if _field(parameter).is_required() or _field(parameter).default_factory is not None:
            return parameter
        adapter.validate_python(default)
    except ValidationError as error:
        if default is None:
            return parameter.replace(annotation=_nullable(parameter.annotation))
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        what = f"has the default {_shown(default)}, which its type hint does not allow ({said})"
        fail(parameter, function, f"{what}; mend one of them")
    return parameter


def _field(parameter: inspect.Parameter) -> FieldInfo:
    """What pydantic makes of hint and default."""
    if parameter.default is parameter.empty:
        return FieldInfo.from_annotation(parameter.annotation)
    return FieldInfo.from_annotated_attribute(parameter.annotation, parameter.default)


def _nullable(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        base, *notes = get_args(hint)
        return Annotated[(Optional[base], *notes)]  # noqa: UP045  (`|` does not take every type)
    return Optional[hint]  # noqa: UP045


def _alias(parameter: inspect.Parameter, function: str) -> str:
    """The name that a model writes."""
    if parameter.annotation is parameter.empty:
        return parameter.name
    alias = _field(parameter).validation_alias
    if alias is not None and not isinstance(alias, str):
        fail(parameter, function, f"has {type(alias).__name__} as its alias; give it one alias, a text")
    return alias or parameter.name


def _adapter(parameter: inspect.Parameter, function: str) -> TypeAdapter[Any]:
    """The reader of one parameter, once its hint is known to have a schema."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            Any if parameter.annotation is parameter.empty else parameter.annotation
        )
        adapter.json_schema()
    except Exception as error:  # pydantic raises of several kinds, ImportError among them
        fail(parameter, function, f"has a type hint that cannot be read from JSON ({_reason(error)}); {_READABLE}")
    return adapter


def _reason(error: Exception) -> str:
    """The first sentence of what pydantic says."""
    told = error.message if isinstance(error, PydanticUserError | PydanticUndefinedAnnotation) else str(error)
    return told.strip().splitlines()[0].partition(". ")[0].rstrip(".") if told.strip() else type(error).__name__


def _shown(value: Any) -> str:
    """A default in a message: its text, or its type where that would be long."""
    text = repr(value)
    return text if len(text) <= 40 and " at 0x" not in text else f"of type {type(value).__name__}"
