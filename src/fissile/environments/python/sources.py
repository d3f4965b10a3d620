"""Where the callables behind tools are found again: by the world, and by each of its workers."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from fissile.errors import DataError
from fissile.functions import Function


@dataclass(frozen=True)
class Toolbox:
    """The callables behind tools.

    Attributes:
        functions: tool name to function; with a `state`, to its method, unbound where it takes `self`.
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
        methods = {name: getattr(state, name) for name in _public_methods(state)}
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


@dataclass(frozen=True)
class FileSource:
    """A Python file, with its code as it was read: an edit in the middle of a run changes nothing."""

    path: str
    code: bytes = field(repr=False)

    @classmethod
    def of(cls, path: str | Path) -> FileSource:
        """The file as it is now.

        Raises:
            DataError: it cannot be read.
        """
        path = Path(path).expanduser().absolute()
        try:
            return cls(str(path), path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"There is no file {path}. Give the path of a Python file with the tools.") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None

    def load(self) -> Toolbox:
        """Run the code as a module, and choose its tools.

        Raises:
            DataError: running it fails, or it does not say which are its tools.
        """
        return _chosen(self._module())

    def _module(self) -> ModuleType:
        """The module. Those in the file's folder can be imported, after all others.

        Its name depends on the file's name alone, so that a stored state finds its class on another machine.
        """
        path = Path(self.path)
        module = ModuleType(f"tools_of_{path.stem}")
        module.__file__ = self.path
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.code, self.path, "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[module.__name__]
            where = _where(error, self.path)
            raise DataError(f"{where}: importing the tools failed: {_said(error)}. Mend the file.") from error
        return module


@dataclass(frozen=True)
class NamedSource:
    """Objects in modules that can be imported: (module, qualified name) of functions, or of one class."""

    names: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, objects: Iterable[Function | type]) -> NamedSource:
        """The places of objects.

        Raises:
            DataError: a worker could not import one of them.
        """
        return cls(tuple(map(_place, objects)))

    def load(self) -> Toolbox:
        """Import the objects."""
        found = [attrgetter(name)(importlib.import_module(module)) for module, name in self.names]
        return Toolbox.of_class(found[0]) if isinstance(found[0], type) else Toolbox.of_functions(found)


Source = FileSource | NamedSource


def _where(error: BaseException, path: str) -> str:
    """The file with the line that raised, as far as it is known."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}".rstrip(".: ")


# --- which of a module's names are tools -------------------------------------------------------------------------


def _chosen(module: ModuleType) -> Toolbox:
    """What `TOOLS` says; without it, the public functions, or the one public class with public methods."""
    if "TOOLS" in vars(module):
        return _declared(vars(module)["TOOLS"], str(module.__file__))
    own = {name: value for name, value in vars(module).items() if not name.startswith("_") and _is_own(value, module)}
    functions = {name: value for name, value in own.items() if not isinstance(value, type)}
    classes = {name: value for name, value in own.items() if isinstance(value, type) and _may_be_state(value)}
    match [*classes.values()]:
        case [only] if not functions:
            return Toolbox.of_class(only)
        case [] if functions:
            return Toolbox.of_functions(dict.fromkeys(functions.values()))
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


def _may_be_state(value: type) -> bool:
    """False for the classes that tools take and give: enums, exceptions, and records without methods."""
    return not issubclass(value, Enum | BaseException) and any(_public_methods(value))


def _public_methods(state: type) -> Iterator[str]:
    """Names of the methods that are tools, bases first, in the order of their definition."""
    for name, value in _attributes(state):
        plain = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not name.startswith("_") and (inspect.isfunction(plain) or hasattr(plain, "__wrapped__")):
            yield name


def _attributes(state: type) -> Iterator[tuple[str, Any]]:
    """Every class attribute of the user's once, with the value that wins."""
    foreign = set(dir(BaseModel)) if issubclass(state, BaseModel) else set()
    names = dict.fromkeys(name for base in reversed(state.__mro__) for name in vars(base))
    return (
        (name, inspect.getattr_static(state, name))
        for name in names
        if name not in foreign and not name.startswith("__")
    )


def _place(thing: Function | type) -> tuple[str, str]:
    module, name = getattr(thing, "__module__", None) or "", getattr(thing, "__qualname__", "") or repr(thing)
    advice = "Move it to the top of a module of its own, or use PythonTools.from_file."
    if module == "__main__":
        raise DataError(f"{name} is defined in the script that runs, which workers cannot import. {advice}")
    try:
        found = attrgetter(name)(sys.modules[module])
    except (KeyError, AttributeError):
        found = None
    if found is not thing:
        raise DataError(f"{name} cannot be found again under its name in the module '{module}'. {advice}")
    return module, name
