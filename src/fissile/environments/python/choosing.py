"""Which callables are tools: the functions that are given, those of a module, or the methods of a class."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from fissile.environments.python.module_state import refuse_module_state
from fissile.errors import DataError
from fissile.functions import Function
from fissile.functions.library_markers import is_tool_class, tool_object
from fissile.functions.making import refuse_tool_object


@dataclass(frozen=True)
class Toolbox:
    """The callables behind tools.

    Attributes:
        functions: tool name to function; with a `state`, to its method, bound to what stands for any instance.
        state: the class whose instance is the state of an episode; None for plain functions.
    """

    functions: dict[str, Function]
    state: type | None = None

    @classmethod
    def of_functions(cls, functions: Iterable[Function]) -> Toolbox:
        """The tools that functions make.

        Raises:
            DataError: there are none, or two have one name.
        """
        named: dict[str, Function] = {}
        for function in functions:
            refuse_tool_object(function)
            name = getattr(function, "__name__", repr(function))
            if not callable(function) or isinstance(function, type):
                raise DataError(f"{name} is no function. Give a list of functions, or one class.")
            if name in named:
                raise DataError(f"Two functions are named '{name}'. Tool names must be unique; rename one.")
            named[name] = function
        if not named:
            raise DataError("There are no tools. Give at least one function.")
        return cls(named)

    @classmethod
    def of_class(cls, state: type) -> Toolbox:
        """The tools that the public methods of a class make.

        Raises:
            DataError: the class has none, is abstract, or holds state that its instances would share.
        """
        if is_tool_class(state):
            raise DataError(f"{state.__name__} is a tool class of another library. Write a plain function instead.")
        for name, value in _attributes(state):
            _refuse_unclear(name, value, f"a method of {state.__name__}")
        methods = {name: _bound(state, name) for name in _public_methods(state)}
        if not methods:
            raise DataError(f"The class {state.__name__} has no public method. Give it one for each tool.")
        if inspect.isabstract(state):
            raise DataError(f"The class {state.__name__} is abstract. Give a class that can be constructed.")
        for name, value in _attributes(state):
            if isinstance(value, list | dict | set | bytearray) and not name.isupper():
                raise DataError(
                    f"{state.__name__}.{name} is a {type(value).__name__} that all episodes would share. "
                    f"Set it in __init__ ('self.{name} = ...'), or write its name in capitals if it never changes."
                )
        return cls(methods, state)

    def places(self, module: str) -> list[str]:
        """Names of the functions, or of the class with its bases, that a module defines."""
        things = self.functions.values() if self.state is None else self.state.__mro__
        return [thing.__name__ for thing in things if getattr(thing, "__module__", None) == module]


def tools_in(module: ModuleType, code: bytes | str) -> Toolbox:
    """What `TOOLS` says; without it, the public functions, or the one public class with public methods.

    Raises:
        DataError: that leaves open which are the tools.
    """
    chosen = _chosen(module)
    refuse_redefined(chosen, code)
    refuse_module_state(chosen.places(module.__name__), code, vars(module))
    return chosen


def _chosen(module: ModuleType) -> Toolbox:
    if "TOOLS" in vars(module):
        return _declared(vars(module)["TOOLS"], str(module.__file__))
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    own = {name: value for name, value in public.items() if _is_own(value, module)}
    for name, value in public.items():
        if name not in own and _may_be_meant(value, module):
            _refuse_unclear(name, value, "a tool")
    functions = {name: value for name, value in own.items() if not isinstance(value, type)}
    classes = {name: value for name, value in own.items() if isinstance(value, type) and _may_be_state(value)}
    match [*classes.values()]:
        case [only] if not functions:
            return Toolbox.of_class(only)
        case [] if functions:
            return Toolbox(_first_names(functions))
        case []:
            raise DataError(f"{module.__file__} defines no tools. Write public functions, or one class with methods.")
    raise DataError(
        f"{module.__file__} leaves open which are its tools: {', '.join([*functions, *classes])}. "
        f"Say it with a line such as 'TOOLS = {next(iter(classes))}' or 'TOOLS = [first, second]'."
    )


def _declared(tools: Any, file: str) -> Toolbox:
    match tools:
        case type():
            return Toolbox.of_class(tools)
        case list() | tuple():
            return Toolbox.of_functions(tools)
    raise DataError(f"{file}: TOOLS must be a list of functions or one class, not {type(tools).__name__}.")


def _is_own(value: Any, module: ModuleType) -> bool:
    """True for a function (a wrapped one too) or class that the module defines itself."""
    is_code = isinstance(value, type) or inspect.isfunction(value) or hasattr(value, "__wrapped__")
    return is_code and getattr(value, "__module__", None) == module.__name__


def _first_names(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Each function once, under the first of its names."""
    names = {id(function): name for name, function in reversed([*functions.items()])}
    return {name: function for name, function in functions.items() if names[id(function)] == name}


def _may_be_meant(value: Any, module: ModuleType) -> bool:
    """True for a callable that the module makes of its own code, and that is no function: it may be meant as a tool."""
    if isinstance(value, functools.partial):
        return getattr(value.func, "__module__", None) == module.__name__
    own_class = getattr(type(value), "__module__", None) == module.__name__
    return bool(tool_object(value)) or (own_class and callable(value))


def _refuse_unclear(name: str, value: Any, what: str) -> None:
    """Raises DataError for what looks like a tool, and is no function."""
    if name.startswith("_"):
        return
    refuse_tool_object(value, name)
    if isinstance(value, functools.partial | functools.partialmethod | functools.singledispatchmethod) or (
        what == "a tool"
    ):
        raise DataError(
            f"'{name}' is a {type(value).__name__}, which may be meant as {what} or not. "
            f"Write it with 'def', or begin its name with an underscore."
        )


def _may_be_state(value: type) -> bool:
    """False for the classes that tools take and give: enums, exceptions, and records without methods."""
    return not issubclass(value, Enum | BaseException) and any(_public_methods(value))


def _public_methods(state: type) -> Iterator[str]:
    """Names of the methods that are tools, bases first, in the order of their definition."""
    for name, value in _attributes(state):
        plain = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not name.startswith("_") and (inspect.isfunction(plain) or hasattr(plain, "__wrapped__")):
            yield name


def _bound(state: type, name: str) -> Function:
    """A method as it is called: without its `self`, whatever that is named."""
    value: Any = inspect.getattr_static(state, name)
    found: Function = value.__get__(_ANYONE, state) if hasattr(value, "__get__") else value
    return found


_ANYONE = object()
"""Stands for the instance where only a method's signature is wanted."""


def _attributes(state: type) -> Iterator[tuple[str, Any]]:
    """Every class attribute of the user's once, with the value that wins."""
    foreign = set(dir(BaseModel)) if issubclass(state, BaseModel) else set()
    names = dict.fromkeys(name for base in reversed(state.__mro__) for name in vars(base))
    return (
        (name, inspect.getattr_static(state, name))
        for name in names
        if name not in foreign and not name.startswith("__")
    )


_MANY_BODIES = frozenset({"overload", "setter", "getter", "deleter", "register", "dispatch"})
"""Decorators of definitions that share their name with another one, and are meant to."""


def refuse_redefined(toolbox: Toolbox, code: bytes | str) -> None:
    """Raises DataError where a later definition takes the name of a tool, which so is lost without a word."""
    tree = ast.parse(code)
    body = tree.body
    if toolbox.state is not None:
        name = toolbox.state.__name__
        body = [line for node in body if isinstance(node, ast.ClassDef) and node.name == name for line in node.body]
    lines: dict[str, list[int]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _MANY_BODIES & set(_decorators(node)):
            lines.setdefault(node.name, []).append(node.lineno)
    for name in toolbox.functions:
        if len(found := lines.get(name, ())) > 1:
            where = " and ".join(map(str, found))
            raise DataError(f"Two functions are named '{name}' (lines {where}). Tool names must be unique; rename one.")


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Last names of a definition's decorators: "setter" for `@price.setter`."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute | ast.Name):
            yield called.attr if isinstance(called, ast.Attribute) else called.id
