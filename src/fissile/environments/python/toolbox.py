"""`PythonTools`: a user's own functions, or the methods of a class of theirs, as tools."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fissile.environments.python.choosing import Toolbox, refuse_redefined
from fissile.environments.python.module_state import refuse_module_state
from fissile.environments.python.origins import FileSource, NamedSource, ToolOrigin
from fissile.errors import DataError
from fissile.functions import Function, tool_from_function
from fissile.functions.parameters import parameters_of
from fissile.tools import Tool


@dataclass(frozen=True, eq=False)
class PythonTools:
    """Tools in Python. The code is the user's own and trusted; the arguments are the model's and are not.

    A class keeps the state of an episode in the attributes of its instance, which must be picklable; public ones are
    what the judge compares. State elsewhere (module globals, caches) is shared by all episodes, and gets lost:
    tools that write to variables of their module are refused. A tool must answer the same to the same call in the same
    state: chance belongs in the instance (`random.Random(seed)`). What tools print or log goes nowhere.

    Attributes:
        source: where a worker finds the code.
        tools: as the model sees them.
        state: name of the class whose instance is the state of an episode; "" for plain functions.
    """

    source: ToolOrigin
    tools: tuple[Tool, ...]
    state: str = ""

    @classmethod
    def from_file(cls, path: str | Path) -> PythonTools:
        """The tools of a Python file: `TOOLS = [f, g]` or `TOOLS = MyClass` says which they are.

        Without `TOOLS` they are the public functions that it defines, or the public methods of its one class.

        Raises:
            DataError: the file cannot be imported, leaves open which are its tools, or one cannot be a tool.
        """
        source = FileSource.of(path)
        try:
            return cls._of(source, source.load())
        except DataError as error:
            raise error if str(error).startswith(source.path) else DataError(f"{source.path}: {error}") from None

    @classmethod
    def from_functions(cls, functions: Sequence[Function]) -> PythonTools:
        """Functions of modules that can be imported.

        Raises:
            DataError: one of them cannot be a tool, or cannot be imported by its name.
        """
        source, toolbox = NamedSource.of(functions), Toolbox.of_functions(functions)
        for module in sorted({function.__module__ for function in functions}):
            with suppress(OSError, TypeError, SyntaxError):  # a module without source code
                namespace = vars(sys.modules[module])
                refuse_module_state(toolbox.places(module), inspect.getsource(sys.modules[module]), namespace)
        return cls._of(source, toolbox)

    @classmethod
    def from_class(cls, state: type) -> PythonTools:
        """The public methods of a class; its instance is the state of an episode.

        Raises:
            DataError: a method cannot be a tool, or the class cannot be imported by its name.
        """
        source, toolbox = NamedSource.of([state]), Toolbox.of_class(state)
        with suppress(OSError, TypeError, SyntaxError):  # a class without source code
            module = sys.modules[state.__module__]
            refuse_redefined(toolbox, inspect.getsource(module))
            refuse_module_state(toolbox.places(module.__name__), inspect.getsource(module), vars(module))
        return cls._of(source, toolbox)

    @classmethod
    def _of(cls, source: ToolOrigin, toolbox: Toolbox) -> PythonTools:
        if toolbox.state is not None:
            parameters_of(toolbox.state)  # the constructor must be callable by name, with JSON
        tools = tuple(tool_from_function(function, name) for name, function in toolbox.functions.items())
        return cls(source, tools, toolbox.state.__name__ if toolbox.state is not None else "")

    @cached_property
    def _by_name(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self.tools}

    def tool(self, name: str | None) -> Tool | None:
        """The tool of that name, or None."""
        return self._by_name.get(name) if name is not None else None
