from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fissile.calls import ToolCall
from fissile.environments.python import CallLimits, PythonTools, PythonWorld, stop_workers
from fissile.errors import ConfigError, DataError
from fissile.tasks import ExpectedCall, Task, World

TOOL_OBJECT = """
class Tool:
    def __init__(self, fn):
        self.name, self.fn, self.parameters = fn.__name__, fn, {}

def _tool(fn):
    return Tool(fn)

tool = _tool
"""


def double(x: int) -> int:
    """Twice `x`."""
    return 2 * x


class Base:
    def read(self) -> int:
        """Read it."""
        return 0


class Meter(Base):
    UNITS = ["m", "km"]  # noqa: RUF012  (a constant)

    def __init__(self, start: int = 0) -> None:
        self.value = start

    def advance(self, by: int) -> int:
        """Advance it."""
        self.value += by
        return self.value

    @staticmethod
    def convert(metres: float) -> float:
        """To kilometres."""
        return metres / 1000

    @classmethod
    def units(cls) -> list[str]:
        """The units."""
        return cls.UNITS

    @property
    def shown(self) -> str:
        return str(self.value)

    def _reset(self) -> None:
        self.value = 0


class Account(BaseModel):
    balance: int = 0

    def pay(self, amount: int) -> int:
        """Pay in."""
        self.balance += amount
        return self.balance


class Shared:
    items: list[str] = []  # noqa: RUF012  (the mistake that is looked for)

    def add(self, item: str) -> None:
        """Add."""
        self.items.append(item)


class Bare:
    pass


def names(tools: PythonTools) -> list[str]:
    return [tool.name for tool in tools.tools]


def run(tools: PythonTools, name: str, **arguments: Any) -> str:
    """The answer to one call in a fresh world."""
    world = PythonWorld(tools, CallLimits(memory_mb=None), workers=1)
    truth = (ExpectedCall.exactly(name, arguments),)
    world.reset(Task("t", ({"role": "user", "content": ""},), tools.tools, truth, world=World("python")))
    (result,) = world.execute([ToolCall(name, arguments, "")])
    assert result.error is None, result
    return result.content


def write(folder: Path, text: str, name: str = "my_tools.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def _no_workers_are_left() -> Any:
    yield
    stop_workers()


def test_functions_of_a_module_run_in_a_worker() -> None:
    tools = PythonTools.from_functions([double])
    assert names(tools) == ["double"]
    assert tools.state == ""
    assert run(tools, "double", x=21) == "42"


def test_the_public_methods_of_a_class_are_its_tools() -> None:
    tools = PythonTools.from_class(Meter)
    assert names(tools) == ["read", "advance", "convert", "units"]
    assert tools.state == "Meter"
    assert run(tools, "advance", by=2) == "2"
    assert run(tools, "convert", metres=500) == "0.5"
    assert run(tools, "units") == '["m", "km"]'
    assert run(tools, "read") == "0"


def test_a_pydantic_model_can_be_the_state_and_brings_none_of_its_own_methods() -> None:
    tools = PythonTools.from_class(Account)
    assert names(tools) == ["pay"]
    assert run(tools, "pay", amount=3) == "3"


@pytest.mark.parametrize(
    ("text", "expected", "state"),
    [
        ("def f() -> int: ...\ndef g() -> int: ...\ndef _h(): ...\nimport os.path as path", ["f", "g"], ""),
        ("from json import dumps, JSONDecoder\ndef f() -> int: ...\ng = f", ["f"], ""),
        ("def _f() -> int: ...\ng = _f", ["g"], ""),
        ("class A:\n def m(self) -> int: ...\n n = m", ["m", "n"], "A"),
        ("class A:\n def m(this, x: int) -> int: ...\n @property\n def p(self): ...", ["m"], "A"),
        ("import functools, json\ndumps = functools.partial(json.dumps)\ndef f() -> int: ...", ["f"], ""),
        ("from typing import overload\n@overload\ndef f(x: int): ...\ndef f(x: int | str): ...", ["f"], ""),
        ("import functools\n@functools.cache\ndef f() -> int: ...", ["f"], ""),
        ("class A:\n def m(self) -> int: ...", ["m"], "A"),
        ("import enum\nclass E(enum.Enum):\n A = 1\nclass Err(Exception): ...\ndef f(e: E) -> int: ...", ["f"], ""),
        ("from dataclasses import dataclass\n@dataclass\nclass R:\n x: int\ndef f(r: R) -> int: ...", ["f"], ""),
        ("class _B:\n def b(self): ...\nclass A:\n def m(self) -> int: ...", ["m"], "A"),
        ("def f() -> int: ...\ndef g() -> int: ...\nTOOLS = [g]", ["g"], ""),
        ("def helper(x): ...\nclass A:\n def m(self) -> int: ...\nTOOLS = A", ["m"], "A"),
        (
            "def make(n):\n def t() -> int: ...\n t.__name__ = n\n return t\nTOOLS = [make('x'), make('y')]",
            ["x", "y"],
            "",
        ),
    ],
)
def test_a_file_says_which_are_its_tools(tmp_path: Path, text: str, expected: list[str], state: str) -> None:
    tools = PythonTools.from_file(write(tmp_path, text))
    assert (names(tools), tools.state) == (expected, state)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no tools. Write public functions, or one class"),
        (
            "def f() -> int: ...\nclass A:\n def m(self) -> int: ...",
            "leaves open which are its tools: f, A. Say it with a line such as 'TOOLS = A'",
        ),
        ("class A:\n def m(self): ...\nclass B:\n def m(self): ...", "leaves open which are its tools: A, B"),
        ("TOOLS = 3", "TOOLS must be a list of functions or one class, not int"),
        ("TOOLS = []", "There are no tools"),
        ("TOOLS = [3]", "3 is no function"),
        ("def f() -> int: ...\nTOOLS = [f, f]", "Two functions are named 'f'"),
        ("def f(x): ...", "'x' of f() has no type hint"),
        ("class A:\n def __init__(self, x: open): ...\n def m(self) -> int: ...", "'x' of A() has a type hint"),
        ("class A:\n seen = {}\n def m(self) -> int: ...", "A.seen is a dict that all episodes would share"),
        (
            "def f() -> int: ...\n1 / 0",
            "my_tools.py:2: importing the tools failed: ZeroDivisionError: division by zero.",
        ),
        ("def f(x: int): ...\ndef g(): ...\ndef f(y: str): ...", "Two functions are named 'f' (lines 1 and 3)"),
        ("class A:\n def m(self, x: int): ...\n def m(self): ...", "Two functions are named 'm' (lines 2 and 3)"),
        (
            f"{TOOL_OBJECT}\n@tool\ndef f(x: int): ...",
            "'f' is a Tool of tools_of_my_tools, not a function. Give 'TOOLS =",
        ),
        (f"{TOOL_OBJECT}\n@tool\ndef f(x: int): ...\nTOOLS = [f]", "Give 'TOOLS = [f.fn]' instead"),
        (f"{TOOL_OBJECT}\nclass A:\n @tool\n def f(self): ...\n def g(self): ...\nTOOLS = A", "'f' is a Tool of"),
        (
            "import functools as t\ndef f(x: int): ...\ng = t.partial(f, 1)",
            "'g' is a partial, which may be meant as a tool",
        ),
        ("class _C:\n def __call__(self): ...\nc = _C()\ndef f(x: int): ...", "'c' is a _C, which may be meant as"),
        (
            "import functools as t\nclass A:\n def f(self, x: int): ...\n g = t.partialmethod(f, 1)",
            "'g' is a partialmethod, which may be meant as a method of A",
        ),
        ("async def f(x: int): ...", "f() is asynchronous or a generator"),
        ("class A:\n async def m(self): ...", "m() is asynchronous or a generator"),
        ("def f(self, x: int): ...", "'self' of f() is for a method, and this is a function"),
        ("def f(:", "my_tools.py:1: importing the tools failed: SyntaxError"),
        ("\nimport absent_module_of_mine", "my_tools.py:2: importing the tools failed: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", "my_tools.py:2: importing the tools failed: SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_change(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        PythonTools.from_file(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        PythonTools.from_file(tmp_path / "absent.py")
    with pytest.raises(DataError, match="cannot be read"):
        PythonTools.from_file(tmp_path)


def test_a_file_finds_the_modules_beside_it_also_in_a_worker(tmp_path: Path) -> None:
    write(tmp_path, "def triple(x):\n return 3 * x\n", "beside_my_tools.py")
    path = write(tmp_path, "def f(x: int) -> int:\n from beside_my_tools import triple\n return triple(x)\n")
    assert run(PythonTools.from_file(path), "f", x=2) == "6"


def test_a_file_that_is_edited_later_runs_as_it_was_read(tmp_path: Path) -> None:
    first = PythonTools.from_file(write(tmp_path, "def f() -> int:\n return 1\n"))
    second = PythonTools.from_file(write(tmp_path, "def f() -> int:\n return 2\n"))
    assert (run(first, "f"), run(second, "f")) == ("1", "2")


def test_what_a_worker_could_not_find_is_refused() -> None:
    def local(x: int) -> int:
        return x

    with pytest.raises(DataError, match=r"local cannot be found again .* use PythonTools\.from_file"):
        PythonTools.from_functions([local])
    script = type("Script", (), {"__module__": "__main__", "m": lambda self: 0})
    with pytest.raises(DataError, match="Script is defined in the script that runs"):
        PythonTools.from_class(script)


@pytest.mark.parametrize(
    ("state", "message"),
    [(Bare, "Bare has no public method"), (Shared, r"Shared\.items is a list that all episodes would share")],
)
def test_a_class_that_cannot_be_the_state_says_what_to_change(state: type, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PythonTools.from_class(state)


def test_limits_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="'seconds' of a call must be above 0, not 0"):
        CallLimits(seconds=0)
    with pytest.raises(ConfigError, match="at least 1 worker"):
        PythonWorld(PythonTools.from_functions([double]), workers=0)
