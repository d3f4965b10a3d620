"""What is read from a Python function, and what is refused: each line of the table is a check."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, Union
from uuid import UUID

import numpy as np
import pytest
from pydantic import AliasChoices, BaseModel, Field
from typing_extensions import Doc, TypedDict

from compatibility.page import Row, assert_section
from fissile.environments.python import PythonTools
from fissile.errors import DataError
from fissile.functions import tool_from_function
from fissile.functions.parameters import parameters_of

UserId = NewType("UserId", int)
DOCUMENTED = {"city": "Name of the city.", "days": "How many days: 1 or more."}


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Place(TypedDict):
    city: Annotated[str, "Its name"]


@dataclasses.dataclass
class Trip:
    place: Place
    days: Annotated[int, Doc("How long")] = 1


class Order(BaseModel):
    item: str = Field(description="What")
    size: Annotated[int, "How large"] = 1


class RunContextWrapper:
    """A stand-in for the class of the OpenAI agents SDK."""


class StructuredTool:
    """A stand-in for what LangChain's decorator makes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name, self.func, self.args_schema = function.__name__, function, {}


class Depends:
    __module__ = "fastapi.params"


def weather(city: str, days: int = 1) -> str:
    return city * days


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    return tool_from_function(function).properties


def of_hint(hint: Any, *default: Any) -> dict[str, Any]:
    """The schema of a parameter `x` with that hint."""

    def tool(x):  # type: ignore[no-untyped-def]
        return x

    tool.__annotations__, tool.__defaults__ = {"x": hint}, default
    schema: dict[str, Any] = properties(tool)["x"]
    return schema


def gives(hint: Any, *default: Any, **expected: Any) -> Callable[[], None]:
    """A check that the schema of a hint holds these keywords."""

    def check() -> None:
        schema = of_hint(hint, *default)
        assert {key: schema.get(key) for key in expected} == expected

    return check


def documents(docstring: str) -> Callable[[], None]:
    def check() -> None:
        def tool(city: str, days: int) -> str:
            return city * days

        tool.__doc__ = docstring
        made = tool_from_function(tool)
        assert made.description == "Tell the weather."
        assert {name: schema["description"] for name, schema in made.properties.items()} == DOCUMENTED

    return check


def refused(make: Callable[[], Any], *words: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(DataError) as caught:
            make()
        for word in words:
            assert word in str(caught.value)

    return check


def refused_hint(hint: Any, *words: str, default: tuple[Any, ...] = ()) -> Callable[[], None]:
    return refused(lambda: of_hint(hint, *default), "'x' of tool()", *words)


def file_tools(text: str) -> list[str]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "my_tools.py"
        path.write_text(text, encoding="utf-8")
        return [tool.name for tool in PythonTools.from_file(path).tools]


# --- what works ----------------------------------------------------------------------------------------------------


def field_as_default() -> None:
    def tool(city: str = Field(description="Its name"), days: int = Field(3, ge=1)) -> str:
        return city * days

    made = tool_from_function(tool)
    assert made.required == ("city",)
    assert made.properties["city"] == {"type": "string", "description": "Its name"}
    assert made.properties["days"] == {"type": "integer", "minimum": 1, "default": 3}
    assert parameters_of(tool).read({"city": "Oslo"}) == {"city": "Oslo", "days": 3}


def factory() -> None:
    def tool(tags: list[str] = Field(default_factory=lambda: ["new"])) -> list[str]:  # noqa: B008  (what is tested)
        return tags

    assert tool_from_function(tool).required == ()
    first, second = (parameters_of(tool).read({})["tags"] for _ in range(2))
    assert first == second == ["new"]
    assert first is not second


def alias() -> None:
    def tool(city: str = Field(alias="cityName")) -> str:
        """Tell.

        Args:
            city: Its name.
        """
        return city

    assert properties(tool) == {"cityName": {"type": "string", "description": "Its name."}}
    assert parameters_of(tool).read({"cityName": "Oslo"}) == {"city": "Oslo"}


def records() -> None:
    schema = of_hint(Trip)
    assert schema["properties"]["days"]["description"] == "How long"
    assert schema["properties"]["place"]["properties"]["city"]["description"] == "Its name"
    order = of_hint(Order)["properties"]
    assert (order["item"]["description"], order["size"]["description"]) == ("What", "How large")


def read_types() -> None:
    def tool(day: date, amount: Decimal, key: UUID, place: Path, raw: bytes, user: UserId, colour: Colour) -> None:
        pass

    given = {
        "day": "2024-01-02",
        "amount": "1.50",
        "key": "00000000-0000-0000-0000-000000000001",
        "place": "a/b",
        "raw": "ab",
        "user": 3,
        "colour": "red",
    }
    read = parameters_of(tool).read(given)
    wanted = [date(2024, 1, 2), Decimal("1.50"), UUID(int=1), Path("a/b"), b"ab", 3, Colour.RED]
    assert list(read.values()) == wanted


def keyword_only() -> None:
    def tool(*, city: str, days: int = 1) -> str:
        return city * days

    assert tool_from_function(tool).required == ("city",)


def wrapped() -> None:
    @functools.wraps(weather)
    def wrapper(*arguments: Any, **named: Any) -> str:
        return weather(*arguments, **named)

    assert tool_from_function(wrapper) == tool_from_function(weather)


def methods() -> None:
    class Shop:
        def buy(this, item: str) -> str:  # noqa: N805
            return item

        @staticmethod
        def sell(item: str) -> str:
            return item

        @classmethod
        def list_items(cls, kind: str) -> str:
            return kind

    from fissile.environments.python.choosing import Toolbox

    made = {name: tool_from_function(method, name) for name, method in Toolbox.of_class(Shop).functions.items()}
    assert {name: list(tool.properties) for name, tool in made.items()} == {
        "buy": ["item"],
        "sell": ["item"],
        "list_items": ["kind"],
    }


def partial() -> None:
    bound = functools.partial(weather, "Oslo")
    functools.update_wrapper(bound, weather)
    assert list(tool_from_function(bound, "oslo").properties) == ["days"]


def forward_references() -> None:
    assert file_tools(
        "from __future__ import annotations\nclass Shop:\n  def buy(self, item: list['Item']) -> X: ...\n"
        "from dataclasses import dataclass\n@dataclass\nclass Item:\n  name: str\nTOOLS = Shop"
    ) == ["buy"]


def choices() -> None:
    def tool(unit: str) -> str:
        """Tell.

        Args:
            unit: The unit (choices: ["c", "f"])
        """
        return unit

    assert properties(tool)["unit"] == {"type": "string", "enum": ["c", "f"], "description": "The unit"}


def raw_docstring() -> None:
    def tool(x: int) -> int:
        """Do it.

        Parameters:
            The values: as text
        """
        return x

    assert tool_from_function(tool).description == "Do it. Parameters: The values: as text"


def overloads() -> None:
    text = "from typing import overload\n@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\n"
    assert file_tools(text + "def f(x: int | str) -> int | str:\n  return x") == ["f"]


# --- what is refused -----------------------------------------------------------------------------------------------


def misspelt() -> Any:
    def tool(quantity: int) -> int:
        """Buy.

        Args:
            quantty: How many.
        """
        return quantity

    return tool_from_function(tool)


async def later(x: int) -> int:
    return x


class Later:
    async def __call__(self, x: int) -> int:
        return x


def open_ended(**options: str) -> None:
    pass


def with_self(self, x: int) -> None:  # type: ignore[no-untyped-def]
    pass


GOOGLE = "Tell the weather.\n\nArgs:\n    city (str): Name of\n        the city.\n    days: How many days: 1 or more.\n"
NUMPY = (
    "Tell the weather.\n\nParameters\n----------\n"
    "city : str\n    Name of the city.\ndays : int\n    How many days: 1 or more.\n"
)
SPHINX = (
    "Tell the weather.\n\n:param city: Name of the city.\n:type city: str\n:param int days: How many days: 1 or more.\n"
)
EPYDOC = "Tell the weather.\n\n@param city: Name of the city.\n@param days: How many days: 1 or more.\n"

ROWS = [
    Row("docstring: Google", "works", "Descriptions of the arguments come from `Args:`.", documents(GOOGLE)),
    Row("docstring: NumPy", "works", "... from `Parameters` over a line of dashes.", documents(NUMPY)),
    Row("docstring: Sphinx (reST)", "works", "... from `:param city:` or `:param str city:`.", documents(SPHINX)),
    Row("docstring: Epydoc", "works", "... from `@param city:`.", documents(EPYDOC)),
    Row(
        "docstring: `(choices: [...])`",
        "converted",
        "An `enum`, as `transformers.get_json_schema` has it.",
        choices,
    ),
    Row(
        "docstring that only looks like a section",
        "works",
        "It is the description as a whole; no word is lost.",
        raw_docstring,
    ),
    Row(
        "docstring of an argument that there is not",
        "refused",
        "By name; the close name is offered.",
        refused(misspelt, "documents 'quantty'", "'quantity'"),
    ),
    Row(
        "`city: str = Field(description=...)`",
        "works",
        "Required, unless the field has a default; its constraints count. The tool never gets the field.",
        field_as_default,
    ),
    Row("`Field(default_factory=...)`", "works", "Called anew for each call.", factory),
    Row("`Field(alias=...)`", "works", "The model writes the alias; the tool gets its own name.", alias),
    Row(
        '`Annotated[str, "words"]`, `Annotated[str, Doc("words")]`',
        "works",
        "Descriptions, at any depth of the hint.",
        gives(Annotated[str, "words"], description="words"),
    ),
    Row(
        "`Annotated[int, Field(ge=1, description=...)]`",
        "works",
        "The hint's description goes before the docstring's.",
        gives(Annotated[int, Field(ge=1, description="d")], minimum=1, description="d"),
    ),
    Row(
        "dataclass, `TypedDict`, pydantic model",
        "works",
        "An object; the words of its fields too. (Before Python 3.12: `typing_extensions.TypedDict`.)",
        records,
    ),
    Row("named tuple", "converted", "An array whose items have the names as titles.", gives(Point, type="array")),
    Row(
        "`Literal`, `Enum`",
        "works",
        "An `enum`; the tool gets the member.",
        gives(Literal["a", "b"], type="string", enum=["a", "b"]),
    ),
    Row(
        "`Optional[int]`, `int | None`",
        "works",
        "`null` is allowed, and required where there is no default.",
        gives(Optional[int], type=["integer", "null"]),  # noqa: UP045  (the older spelling is meant)
    ),
    Row(
        "`int | str`, `Union`",
        "works",
        "A list of types.",
        gives(Union[int, str], type=["integer", "string"]),  # noqa: UP007  (the older spelling is meant)
    ),
    Row(
        "`days: int = None`",
        "converted",
        "Nullable, as it is in Python.",
        gives(int, None, type=["integer", "null"], default=None),
    ),
    Row(
        "`date`, `Decimal`, `UUID`, `Path`, `bytes`, `NewType`",
        "works",
        "The tool gets the type of its hint.",
        read_types,
    ),
    Row("keyword-only parameters", "works", "As all others.", keyword_only),
    Row("`functools.wraps`", "works", "The signature of what is wrapped.", wrapped),
    Row("`functools.partial`", "works", "Bound arguments are not shown. It needs a name of its own.", partial),
    Row("methods, `staticmethod`, `classmethod`", "works", "Without `self`, whatever it is named.", methods),
    Row(
        "`from __future__ import annotations`, names as text",
        "works",
        "Resolved in the module, the class and the closure; the return hint need not be.",
        forward_references,
    ),
    Row("`typing.overload`", "works", "The last definition counts.", overloads),
    Row(
        "two functions of one name",
        "refused",
        "By name and line; a later definition would hide the first.",
        refused(
            lambda: file_tools("def f(x: int): ...\ndef f(y: str): ..."), "Two functions are named 'f' (lines 1 and 2)"
        ),
    ),
    Row(
        "`@tool` of LangChain, `@function_tool` of OpenAI agents, FastMCP's `Tool`, smolagents' `@tool`",
        "refused",
        "Give its function: the message says `TOOLS = [search.func]`.",
        refused(lambda: tool_from_function(StructuredTool(weather)), "StructuredTool", "TOOLS = [weather.func]"),
    ),
    Row(
        "`ctx: Context`, `RunContextWrapper`, `RunnableConfig`, `InjectedToolArg`, ...",
        "refused",
        "Another library fills it in; give a function without it.",
        refused_hint(RunContextWrapper, "RunContextWrapper, which another library fills in"),
    ),
    Row(
        "`= Depends(...)`, `= typer.Option(...)`",
        "refused",
        "Only that library fills such a default in.",
        refused_hint(str, "has a Depends of fastapi.params as its default", default=(Depends(),)),
    ),
    Row(
        "a default that the hint does not allow",
        "refused",
        "`days: int = 'one'`: mend one of them.",
        refused_hint(int, "has the default 'one'", default=("one",)),
    ),
    Row(
        "`Field(alias=AliasChoices(...))`",
        "refused",
        "One alias, a text.",
        refused_hint(int, "AliasChoices", default=(Field(validation_alias=AliasChoices("a", "b")),)),
    ),
    Row(
        "`numpy.ndarray`, `DataFrame`, `Callable` parameters",
        "refused",
        "No JSON value stands for them; take a list.",
        refused_hint(np.ndarray, "cannot be read from JSON", "use str, int, float"),
    ),
    Row(
        "no type hint",
        "refused",
        "Write one; `self` in a plain function too.",
        refused(lambda: tool_from_function(with_self), "'self' of with_self()", "is for a method"),
    ),
    Row(
        "`*args`, `**kwargs`, positional-only",
        "refused",
        "A model passes arguments by name.",
        refused(lambda: tool_from_function(open_ended), "takes any arguments"),
    ),
    Row(
        "`async def`, generators",
        "refused",
        "Also behind `partial`, decorators and `__call__`.",
        refused(lambda: tool_from_function(Later(), "later"), "later() is asynchronous"),
    ),
    Row(
        "lambdas, partials and callable objects of a file",
        "refused",
        "Where they may be meant as tools: write `def`, or a name with an underscore.",
        refused(
            lambda: file_tools("import functools\ndef f(x: int): ...\ng = functools.partial(f, 1)"),
            "'g' is a partial, which may be meant as a tool or not",
        ),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("functions", ROWS)


@pytest.mark.parametrize(
    "function", [later, functools.partial(later, 1), staticmethod(later), functools.lru_cache(later)]
)
def test_asynchronous_functions_are_refused_behind_everything(function: Any) -> None:
    with pytest.raises(DataError, match="is asynchronous or a generator"):
        tool_from_function(function, "later")
