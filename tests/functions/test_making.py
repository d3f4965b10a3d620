from __future__ import annotations

import enum
import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field
from transformers.utils import get_json_schema
from typing_extensions import TypedDict

from fissile.errors import DataError, ErrorKind
from fissile.functions import tool_from_function
from fissile.functions.parameters import parameters_of


class Size(enum.Enum):
    """A size."""

    SMALL = "s"
    LARGE = "l"


@dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    fast: bool


class Item(BaseModel):
    """A thing."""

    title: str = Field(description="Its title.")
    size: Size = Size.SMALL


class Tree(BaseModel):
    name: str
    branches: list[Tree] = []


class Pair(typing.NamedTuple):
    low: int
    high: int


class Opaque:
    pass


def reserve(item: str, quantity: int = 1) -> str:
    """Set items aside.

    They stay in the store
    until they are paid.

    Args:
        item (str, optional): Its name: as in
            the catalogue.
        quantity: How many.

    Returns:
        item: not an argument.
    """
    return item * quantity


def schema_of(annotation: Any, **default: Any) -> Any:
    """The schema of one parameter `x` with that type hint."""

    def tool(x):  # type: ignore[no-untyped-def]
        return x

    tool.__annotations__ = {"x": annotation}
    tool.__defaults__ = tuple(default.values())
    return tool_from_function(tool).properties["x"]


def test_signature_and_docstring_become_a_tool() -> None:
    tool = tool_from_function(reserve)
    assert tool.name == "reserve"
    assert tool.description == "Set items aside. They stay in the store until they are paid."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "item": {"type": "string", "description": "Its name: as in the catalogue."},
            "quantity": {"type": "integer", "default": 1, "description": "How many."},
        },
        "required": ["item"],
        "additionalProperties": False,
    }


def test_the_schema_is_at_least_that_of_transformers() -> None:
    def tool(a: str, b: list[int], c: dict[str, float], d: Literal["x", "y"], e: int | str, f: bool = True) -> None:
        """Do it.

        Args:
            a: First.
            b: Second.
            c: Third.
            d: Fourth.
            e: Fifth.
            f: Sixth.
        """

    theirs = get_json_schema(tool)["function"]
    ours = tool_from_function(tool).to_schema()["function"]
    assert (ours["name"], ours["description"]) == (theirs["name"], theirs["description"])
    assert ours["parameters"]["required"] == theirs["parameters"]["required"]
    for name, schema in theirs["parameters"]["properties"].items():
        assert schema.items() <= ours["parameters"]["properties"][name].items()


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (Any, {}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Size, {"type": "string", "enum": ["s", "l"], "description": "A size."}),
        (int | str, {"type": ["integer", "string"]}),
        (Optional[int], {"type": ["integer", "null"]}),  # noqa: UP045  (the older spelling is meant)
        (list[int] | None, {"type": ["array", "null"], "items": {"type": "integer"}}),
        (Literal["a", "b"] | None, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        (
            Annotated[int, Field(ge=1, le=5, description="A grade.")],
            {"type": "integer", "minimum": 1, "maximum": 5, "description": "A grade."},
        ),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
                "required": ["x"],
                "additionalProperties": False,
            },
        ),
        (
            Options,
            {"type": "object", "properties": {"fast": {"type": "boolean"}}, "additionalProperties": False},
        ),
        (
            Item,
            {
                "type": "object",
                "description": "A thing.",
                "properties": {
                    "title": {"type": "string", "description": "Its title."},
                    "size": {"type": "string", "enum": ["s", "l"], "description": "A size.", "default": "s"},
                },
                "required": ["title"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_types_become_schemas_without_references_and_titles(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_a_type_that_holds_itself_keeps_its_reference_and_is_validated() -> None:
    def plant(tree: Tree) -> None:
        pass

    tool = tool_from_function(plant)
    assert tool.parameters["properties"]["tree"] == {"$ref": "#/$defs/Tree"}
    assert tool.validate({"tree": {"name": "a", "branches": [{"name": "b"}]}}) == ()
    (error,) = tool.validate({"tree": {"name": "a", "branches": [{}]}})
    assert (error.kind, error.argument) == (ErrorKind.MISSING_ARGUMENT, "tree.branches.0.name")


def test_the_order_of_a_schema_is_part_of_the_prompt() -> None:
    assert list(tool_from_function(reserve).properties["quantity"]) == ["type", "default", "description"]


def test_defaults_are_told_where_json_can_say_them() -> None:
    assert schema_of(Size, default=Size.LARGE)["default"] == "l"
    assert schema_of(int | None, default=None) == {"type": ["integer", "null"], "default": None}
    assert schema_of(Point, default=Point(1))["default"] == {"x": 1, "y": 0}
    assert "default" not in schema_of(float, default=float("inf"))


def test_the_words_of_a_parameter_stand_before_those_of_its_class_and_after_none_of_its_hint() -> None:
    def order(item: Item, size: Annotated[Size, Field(description="Hinted.")]) -> None:
        """Order.

        Args:
            item: What to order.
            size: Documented.
        """

    properties = tool_from_function(order).properties
    assert properties["item"]["description"] == "What to order. A thing."
    assert properties["size"]["description"] == "Hinted."


def test_titles_are_kept_where_they_say_more_than_the_name() -> None:
    assert schema_of(Annotated[int, Field(title="X")]) == {"type": "integer"}
    assert schema_of(Annotated[int, Field(title="The unknown")]) == {"type": "integer", "title": "The unknown"}
    assert [item["title"] for item in schema_of(Pair)["prefixItems"]] == ["Low", "High"]


def test_hints_as_text_find_local_names() -> None:
    class Local(BaseModel):
        x: int

    def tool(one: "Local", many: "list[Local]") -> "Absent":  # type: ignore[name-defined]  # noqa: F821, UP037
        return Local, one, many  # type: ignore[return-value]

    assert set(tool_from_function(tool).properties["one"]["properties"]) == {"x"}


def test_a_bound_argument_is_not_asked_for() -> None:
    bound = functools.partial(reserve, "tea")
    functools.update_wrapper(bound, reserve)
    tool = tool_from_function(bound)
    assert (tool.name, list(tool.properties), tool.required) == ("reserve", ["quantity"], ())


def test_methods_leave_out_self() -> None:
    class Counter:
        def add(self, amount: int) -> int:
            return amount

    assert list(tool_from_function(Counter.add).properties) == ["amount"]
    assert list(tool_from_function(Counter().add).properties) == ["amount"]


def test_a_wrapped_function_shows_what_it_wraps() -> None:
    assert tool_from_function(functools.lru_cache(reserve)) == tool_from_function(reserve)


def test_arguments_are_read_from_json_as_the_types_of_the_hints() -> None:
    def tool(point: Point, size: Size, sizes: set[Size], free) -> None:  # type: ignore[no-untyped-def]
        pass

    given = {"point": {"x": 1}, "size": "s", "sizes": ["l", "l"], "free": [1]}
    read = parameters_of(tool).read(given)
    assert read == {"point": Point(1, 0), "size": Size.SMALL, "sizes": {Size.LARGE}, "free": [1]}


async def later(x: int) -> int:
    return x


def many(x: int) -> typing.Iterator[int]:
    yield x


def untyped(x) -> None:  # type: ignore[no-untyped-def]
    pass


def positional(x: int, /) -> None:
    pass


def unnamed(*x: int) -> None:
    pass


def anything(**x: int) -> None:
    pass


def unresolved(x: Absent) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


def opaque(x: Opaque) -> None:
    pass


def called(x: Callable[[int], int]) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (untyped, r"'x' of untyped\(\) has no type hint; write for instance 'x: str'"),
        (positional, r"'x' of positional\(\) is positional-only.*remove the '/'"),
        (unnamed, r"'x' of unnamed\(\) takes unnamed arguments; replace it by a list"),
        (anything, r"'x' of anything\(\) takes any arguments; replace it by named ones"),
        (
            unresolved,
            r"'x' of unresolved\(\) has a type hint that cannot be resolved: name 'Absent' is not defined\. Import",
        ),
        (opaque, r"'x' of opaque\(\) has a type hint that cannot be read from JSON .*Opaque.*; use str"),
        (called, r"'x' of called\(\) has a type hint that cannot be read from JSON"),
        (later, r"later\(\) is asynchronous or a generator"),
        (many, r"many\(\) is asynchronous or a generator"),
        (lambda x: x, "A tool needs a name"),
        (functools.partial(reserve, "a"), "A tool needs a name"),
        (max, r"parameters of max\(\) cannot be read .*Wrap it in a plain function"),
    ],
)
def test_what_no_model_could_call_says_what_to_change(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tool_from_function(function)


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Point, {"x": 1, "z": 2}, "value.z"),
        (Options, {"fsat": True}, "value.fsat"),
        (Item, {"title": "a", "tilte": "b"}, "value.tilte"),
        (Point | None, {"x": 1, "z": 2}, "value.z"),
        (list[Item], [{"title": "a"}, {"title": "b", "colour": "red"}], "value.1.colour"),
        (dict[str, Point], {"home": {"x": 1, "z": 2}}, "value.home.z"),
        (tuple[Point, int], [{"x": 1, "z": 2}, 3], "value.0.z"),
        (Tree, {"name": "a", "branches": [{"name": "b", "leaf": 1}]}, "value.branches.0.leaf"),
    ],
)
def test_a_key_that_a_nested_type_does_not_have_is_an_unexpected_argument(annotation, value, path) -> None:
    def tool(value):
        """A tool."""

    tool.__annotations__["value"] = annotation
    (error,) = tool_from_function(tool).validate({"value": value})
    assert (error.kind, error.argument) == (ErrorKind.UNEXPECTED_ARGUMENT, path)


def test_a_type_that_says_so_takes_any_key() -> None:
    class Open(BaseModel, extra="allow"):
        x: int

    for annotation in (Open, dict, dict[str, int]):
        assert schema_of(annotation).get("additionalProperties") is not False
