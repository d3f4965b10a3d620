"""What a tool may return, and what the judge makes of it: each line of the table is a check."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import enum
import json
import sqlite3
import threading
import types
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from compatibility.page import Row, assert_section
from fissile.environments.python.answers import run
from fissile.errors import ErrorKind
from fissile.functions import DomainError


@dataclasses.dataclass
class Line:
    item: str
    stock: Any = None


class Order(BaseModel):
    lines: list[Line]


class Size(enum.Enum):
    SMALL = "s"


class Plain:
    def __init__(self, value: int) -> None:
        self.value = value


class Hidden:
    def __init__(self, value: int) -> None:
        self._value = value


class Written:
    def __init__(self, value: int) -> None:
        self._value = value

    def __str__(self) -> str:
        return f"{self._value} EUR"


class Graph:
    """A collection whose text hides what it holds."""

    def __iter__(self) -> Any:
        return iter([1])

    def __str__(self) -> str:
        return "Graph with 1 node"


Pair = collections.namedtuple("Pair", "x y")


def answer(result: Any) -> dict[str, Any]:
    """What the model and the judge get of a tool that returns `result`."""
    return run(lambda: result, {}, 100)


def raising(error: BaseException) -> dict[str, Any]:
    def tool() -> None:
        raise error

    return run(tool, {}, 100)


def told(result: Any, expected: Any) -> Callable[[], None]:
    """A check that a result is shown as this JSON value, whole."""

    def check() -> None:
        found = run(lambda: result, {}, 10_000)
        assert (found["text"], found["error"]) == (json.dumps(expected, ensure_ascii=False), None)

    return check


def refused(result: Any, *words: str) -> Callable[[], None]:
    def check() -> None:
        found = answer(result)
        assert found["error"][0] == ErrorKind.EXCEPTION
        for word in words:
            assert word in found["error"][1]

    return check


def differs(one: Any, other: Any, same: Any) -> Callable[[], None]:
    """A check that the judge tells two results apart that look alike, and takes equal ones for equal."""

    def check() -> None:
        first, second, third = map(answer, (one, other, same))
        assert first["text"] == second["text"]
        assert first["digest"] != second["digest"]
        assert first["digest"] == third["digest"]

    return check


def alike(one: Any, other: Any) -> Callable[[], None]:
    def check() -> None:
        assert answer(one)["digest"] == answer(other)["digest"]

    return check


def domain_error(found: Callable[[], dict[str, Any]], message: str) -> Callable[[], None]:
    def check() -> None:
        assert found()["error"] == [ErrorKind.DOMAIN_ERROR, message, None]

    return check


def array(middle: int) -> Any:
    values = np.arange(5000)
    values[2500] = middle
    return values


def rows() -> Any:
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    return base.execute("select 1 as a, 'x' as b")


def is_awaitable_refused() -> None:
    refused(asyncio.sleep(0), "of type coroutine, and nobody awaits it")()


def a_broken_iterator_is_an_exception() -> None:
    found = answer(1 // (1 - value) for value in range(3))
    assert found["error"][:2] == [ErrorKind.EXCEPTION, "ZeroDivisionError: integer division or modulo by zero"]


def ends_the_call_alone() -> None:
    for error in (SystemExit(3), KeyboardInterrupt()):
        assert raising(error)["error"][0] == ErrorKind.EXCEPTION


def cycle() -> Any:
    loop: list[Any] = []
    loop.append({"again": loop})
    return loop


FRAME = pd.DataFrame({"city": ["Oslo", "Rome"], "day": pd.to_datetime(["2024-01-02", None])})
MCP = {"isError": True, "content": [{"type": "text", "text": "no such city"}]}

ROWS = [
    Row(
        "a long text",
        "works",
        "The model reads it up to `result_characters`; the judge compares all of it.",
        differs("x" * 999 + "a", "x" * 999 + "b", "x" * 999 + "a"),
    ),
    Row(
        "`numpy` arrays",
        "converted",
        "Lists; the middle counts, too.",
        differs(array(0), array(1), array(0)),
    ),
    Row("`numpy` numbers", "converted", "Numbers.", told({"n": np.int64(3), "x": np.float64(0.5)}, {"n": 3, "x": 0.5})),
    Row("`torch` tensors", "converted", "Lists.", told(torch.tensor([[1.0, 2.0]]), [[1.0, 2.0]])),
    Row(
        "`pandas.DataFrame`",
        "converted",
        "Records; an index that says something is a column; not-a-time is `null`.",
        told(FRAME, [{"city": "Oslo", "day": "2024-01-02T00:00:00"}, {"city": "Rome", "day": None}]),
    ),
    Row(
        "`pandas.Series`",
        "converted",
        "A list, or an object by its index; a name is kept.",
        told(pd.Series([1, 2], index=["a", "b"]), {"a": 1, "b": 2}),
    ),
    Row(
        "`date`, `timedelta`, `Decimal`, `UUID`, `Fraction`",
        "converted",
        "Text.",
        told(
            [date(2024, 1, 2), timedelta(hours=2), Decimal("1.50"), UUID(int=1), Fraction(1, 3)],
            ["2024-01-02", "PT2H", "1.50", "00000000-0000-0000-0000-000000000001", "1/3"],
        ),
    ),
    Row("sets", "converted", "Sorted lists.", told({"b", "a"}, ["a", "b"])),
    Row(
        "dataclasses, pydantic models, `attrs`",
        "converted",
        "Objects.",
        told(Order(lines=[Line("tea", np.arange(2))]), {"lines": [{"item": "tea", "stock": [0, 1]}]}),
    ),
    Row("named tuples", "converted", "Objects by the names of their fields.", told(Pair(1, 2), {"x": 1, "y": 2})),
    Row("`Enum` members", "converted", "Their values.", told([Size.SMALL], ["s"])),
    Row("`bytes`", "converted", "Text in UTF-8, else base64.", told([b"ab", b"\xff"], ["ab", "/w=="])),
    Row("complex numbers", "converted", "Text.", told(1 + 2j, "1+2j")),
    Row("NaN, infinity", "works", "`NaN` and `Infinity`, equal to themselves.", alike(float("nan"), float("nan"))),
    Row(
        "keys that are no text",
        "converted",
        "Their JSON text.",
        told({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "null": "b", "[1,2]": "c"}),
    ),
    Row(
        "two keys that JSON writes alike",
        "refused",
        "`{1: ..., '1': ...}` would lose one.",
        refused({1: "a", "1": "b"}, "two keys that JSON writes alike, '1'"),
    ),
    Row("generators, iterators, `map`", "converted", "Lists, read to their end.", told(map(str, [1, 2]), ["1", "2"])),
    Row(
        "an iterator that raises",
        "refused",
        "The exception of the tool.",
        a_broken_iterator_is_an_exception,
    ),
    Row("`sqlite3` rows", "converted", "Objects.", told(rows(), [{"a": 1, "b": "x"}])),
    Row(
        "objects without a text of their own",
        "converted",
        "Objects of their public attributes.",
        told(types.SimpleNamespace(line=Plain(3)), {"line": {"value": 3}}),
    ),
    Row("objects whose class writes them (`__str__`)", "converted", "That text.", told(Written(5), "5 EUR")),
    Row(
        "objects with nothing to tell (`<Foo object at 0x...>`), locks, files, functions",
        "refused",
        "By the name of their type, and where in the result they are.",
        refused({"items": [threading.Lock()]}, "'items.0' of the result is of type lock, which JSON cannot say"),
    ),
    Row(
        "private attributes alone",
        "refused",
        "Two of them could not be told apart.",
        refused(Hidden(1), "of type Hidden, which JSON cannot say"),
    ),
    Row(
        "collections that are known by a text alone",
        "refused",
        "`Graph with 3 nodes` hides the nodes; return a list or a text.",
        refused(Graph(), "of type Graph"),
    ),
    Row(
        "a value that holds itself",
        "refused",
        "By its place.",
        refused(cycle(), "'0.again' of the result holds itself"),
    ),
    Row(
        "a coroutine or an asynchronous generator",
        "refused",
        "Nobody awaits it: the call failed.",
        is_awaitable_refused,
    ),
    Row(
        '`{"error": "..."}`, also as JSON text',
        "works",
        "A domain error with these words.",
        domain_error(lambda: answer('{"error": "no such city"}'), "no such city"),
    ),
    Row(
        '`{"isError": true, "content": [...]}` (MCP)',
        "works",
        "A domain error with the text of its content.",
        domain_error(lambda: answer(MCP), "no such city"),
    ),
    Row(
        "`raise DomainError(...)`, also in an exception group",
        "works",
        "A domain error; a group gives the words of all.",
        domain_error(lambda: raising(ExceptionGroup("g", [DomainError("no a"), DomainError("no b")])), "no a; no b"),
    ),
    Row(
        "an exception that is returned, not raised",
        "refused",
        "It counts as raised.",
        refused(ValueError("x"), "ValueError: x"),
    ),
    Row(
        "`SystemExit`, `KeyboardInterrupt`",
        "refused",
        "The call failed; the episode goes on.",
        ends_the_call_alone,
    ),
    Row(
        "the order of keys; 1 and 1.0; 0.1 + 0.2 and 0.3",
        "works",
        "The same to the judge (numbers to 15 digits).",
        alike({"a": 1, "b": 0.1 + 0.2}, {"b": 0.3, "a": 1.0}),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("results", ROWS)
