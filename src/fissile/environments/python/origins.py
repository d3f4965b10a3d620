"""Where the callables behind tools are found again: by the world, and by each of its workers."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from fissile.environments.python.choosing import Toolbox, tools_in
from fissile.errors import DataError
from fissile.functions import Function


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
        return tools_in(self._module(), self.code)

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


ToolOrigin = FileSource | NamedSource


def _where(error: BaseException, path: str) -> str:
    """The file with the line that raised, as far as it is known."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}".rstrip(".: ")


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
