"""A null means the same in JSON lines, in datasets and in memory: the tool's schema decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Json, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fissile.calls import ParsedResponse, ToolCall
from fissile.environments.single_step import judge
from fissile.errors import DataError
from fissile.tasks import Task, World, load_dataset, load_jsonl, read_jsonl, tasks_from_rows
from fissile.tasks.nulls import schema_without_nulls, without_fillers
from fissile.tools import Tool


def tool(name: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": "", "parameters": schema}


def row(tools: list[Any], *calls: tuple[str, Any], **more: Any) -> dict[str, Any]:
    truth = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"messages": [{"role": "user", "content": "Go."}], "tools": tools, "ground_truth": truth, **more}


def as_lines(folder: Path, rows: list[Any]) -> list[Task]:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return load_jsonl(path)


def in_memory(folder: Path, rows: list[Any]) -> list[Task]:
    return tasks_from_rows(rows)


def through_arrow(folder: Path, rows: list[Any]) -> list[Task]:
    return tasks_from_rows(Dataset.from_list(rows))


def through_arrow_to_json(folder: Path, rows: list[Any]) -> list[Task]:
    path = folder / "rows.jsonl"
    Dataset.from_list(rows).to_json(path)
    return load_jsonl(path)


LOADERS = [as_lines, in_memory, through_arrow, through_arrow_to_json]
Load = Callable[[Path, list[Any]], list[Task]]

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
SEARCH = tool("search", {"query": TEXT, "limit": NUMBER}, "query")
BOOK = tool("book", {"room": TEXT, "options": {"type": "object", "properties": {"view": TEXT, "beds": NUMBER}}}, "room")


def comparable(tasks: list[Task]) -> list[Any]:
    return [(t.messages, t.tools, t.ground_truth, t.world, t.later) for t in tasks]


@pytest.mark.parametrize("load", LOADERS)
def test_what_arrow_fills_in_is_gone(tmp_path: Path, load: Load) -> None:
    rows = [
        row([SEARCH], ("search", {"query": "a"})),
        row(
            [SEARCH, BOOK], ("book", {"room": "b", "options": {"view": "sea"}}), ("search", {"query": "c", "limit": 3})
        ),
        row([BOOK], ("book", {"room": "d", "options": {"beds": 2}})),
    ]
    tasks = load(tmp_path, rows)
    assert [[(call.name, call.arguments) for call in task.ground_truth] for task in tasks] == [
        [(entry["name"], {key: [value] for key, value in entry["arguments"].items()}) for entry in one["ground_truth"]]
        for one in rows
    ]
    assert [[one.to_schema()["function"] for one in task.tools] for task in tasks] == [one["tools"] for one in rows]


ADMITTING = [
    {"type": ["string", "null"]},
    {"type": "string", "nullable": True},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"type": "null"}, {"type": "string"}]},
    {"enum": ["a", None]},
    {"type": "null"},
    {},
    {"description": "Anything."},
    {"$ref": "#/$defs/note"},
]
REFUSING = [
    {"type": "string"},
    {"enum": ["a", "b"]},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {"const": 1},
]


@pytest.mark.parametrize("load", [as_lines, in_memory])
@pytest.mark.parametrize("schema", ADMITTING, ids=str)
def test_a_null_that_the_schema_admits_counts(tmp_path: Path, load: Load, schema: dict[str, Any]) -> None:
    one = tool("f", {"note": schema, "n": NUMBER})
    one["parameters"]["$defs"] = {"note": {"type": ["string", "null"]}}
    (task,) = load(tmp_path, [row([one], ("f", {"note": None, "n": 1}))])
    assert task.ground_truth[0].arguments == {"note": [None], "n": [1]}
    assert task.ground_truth[0].required == ("note", "n")


@pytest.mark.parametrize("load", [as_lines, in_memory])
@pytest.mark.parametrize("schema", REFUSING, ids=str)
def test_any_other_null_stands_for_an_absent_key(tmp_path: Path, load: Load, schema: dict[str, Any]) -> None:
    one = tool("f", {"note": schema, "n": NUMBER})
    for arguments in ({"note": None, "n": 1}, {"strange": None, "n": 1}, '{"note": null, "n": 1}'):
        (task,) = load(tmp_path, [row([one], ("f", arguments))])
        assert task.ground_truth[0].arguments == {"n": [1]}


def test_the_same_holds_inside_objects_and_lists() -> None:
    item = {"type": "object", "properties": {"a": NUMBER, "b": TEXT, "c": {"type": ["string", "null"]}}}
    deep = {"type": "object", "properties": {"items": {"type": "array", "items": item}, "one": item}}
    f = Tool.from_schema(tool("f", {"deep": deep}))
    written = {"deep": {"items": [{"a": 1, "b": None, "c": None, "d": None}], "one": {"a": None, "c": "x"}}}
    kept, dropped = without_fillers(written, f)
    assert kept == {"deep": {"items": [{"a": 1, "c": None}], "one": {"c": "x"}}}
    assert dropped == 3
    open_map = Tool.from_schema(
        tool("f", {"deep": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}}})
    )
    assert without_fillers({"deep": {"any": None}}, open_map) == ({"deep": {"any": None}}, 0)
    assert without_fillers({"deep": {"items": [None]}}, f) == ({"deep": {"items": [None]}}, 0)


def test_the_null_of_a_required_argument_is_reported_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'query' must be of type string, not null"):
        as_lines(tmp_path, [row([SEARCH], ("search", {"query": None}))])


NULLABLE = tool("f", {"note": {"type": ["string", "null"]}, "n": NUMBER}, "n")


def right(task: Task, arguments: dict[str, Any]) -> bool:
    return not judge(task, ParsedResponse((ToolCall.of("f", arguments),)))


def test_where_nobody_can_tell_both_are_right_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Dataset.from_list([row([NULLABLE], ("f", {"n": 1})), row([NULLABLE], ("f", {"n": 2, "note": "x"}))]).to_json(path)
    reading = read_jsonl(path)
    first, second = reading.tasks
    assert right(first, {"n": 1})
    assert right(first, {"n": 1, "note": None})
    assert not right(first, {"n": 1, "note": "x"})
    assert not right(second, {"n": 2})
    ((remark, count),) = reading.remarks.items()
    assert "null and absence both count as right" in remark
    assert count == 1


def test_a_null_that_columnar_storage_cannot_have_written_is_meant(tmp_path: Path) -> None:
    """Another row lacks the key, or the arguments are JSON text."""
    meant, absent = row([NULLABLE], ("f", {"n": 1, "note": None})), row([NULLABLE], ("f", {"n": 2}))
    filled = row([NULLABLE], ("f", {"n": 3, "note": "x"}))
    text = row([NULLABLE], ("f", '{"n": 1, "note": null}'))
    for rows in ([meant, absent, filled], [text, filled]):
        task = as_lines(tmp_path, rows)[0]
        assert right(task, {"n": 1, "note": None})
        assert not right(task, {"n": 1})


def test_a_json_column_keeps_its_nulls(tmp_path: Path) -> None:
    rows = [row([NULLABLE], ("f", {"n": 1, "note": None})), row([NULLABLE], ("f", {"n": 2}))]
    features = Features(
        {
            "messages": List({"role": Value("string"), "content": Value("string")}),
            "tools": Json(),
            "ground_truth": List({"name": Value("string"), "arguments": Json()}),
        }
    )
    data = Dataset.from_list(rows, features=features)
    data.to_json(tmp_path / "rows.jsonl")
    (tmp_path / "set").mkdir()
    data.to_parquet(tmp_path / "set" / "train.parquet")
    readings = [tasks_from_rows(data), load_jsonl(tmp_path / "rows.jsonl"), load_dataset(str(tmp_path / "set"))]
    for meant, absent in readings:
        assert meant.ground_truth[0].arguments == {"n": [1], "note": [None]}
        assert not right(meant, {"n": 1})
        assert absent.ground_truth[0].arguments == {"n": [2]}


@pytest.mark.parametrize(
    ("schema", "meant"),
    [
        ({"type": "string", "enum": None, "description": None}, {"type": "string"}),
        ({"properties": {"a": {"type": "string"}, "b": None}}, {"properties": {"a": {"type": "string"}}}),
        ({"enum": ["a", None], "default": None}, {"enum": ["a", None], "default": None}),
        ({"type": "string", "default": None}, {"type": "string"}),
        ({"type": ["string", "null"], "default": None}, {"type": ["string", "null"], "default": None}),
        (
            {"anyOf": [{"type": "string", "const": None}, {"type": "null", "items": None}], "default": None},
            {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        ),
        ({"items": {"type": "object", "properties": None, "required": ["a"]}}, {"items": {"type": "object", "required": ["a"]}}),  # noqa: E501
        ({"default": {"a": None}, "examples": [None]}, {"default": {"a": None}, "examples": [None]}),
        ({"properties": {"properties": {"enum": None}, "enum": None}}, {"properties": {"properties": {}}}),
    ],
)  # fmt: skip
def test_no_keyword_of_a_schema_is_null(schema: dict[str, Any], meant: dict[str, Any]) -> None:
    assert schema_without_nulls(schema) == meant


def test_nulls_in_messages_worlds_and_columns_stand_for_absence(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": {"query": "a", "view": None}}}
    messages = [
        {"role": "user", "content": "Go.", "tool_calls": None, "name": None},
        {"role": "assistant", "content": None, "tool_calls": [call], "tool_call_id": None},
        {"role": "tool", "content": "b", "tool_calls": None, "tool_call_id": "1"},
    ]
    nothing = {"id": None, "world": None, "turns": None, "prompt": None}
    (task,) = as_lines(tmp_path, [{**row([SEARCH], ("search", {"query": "c"})), "messages": messages, **nothing}])
    assert task.id == "rows:1"
    assert (task.world, task.later) == (None, ())
    assert json.loads(task.messages[1]["tool_calls"][0]["function"]["arguments"]) == {"query": "a"}


def test_setups_keep_the_nulls_that_were_meant(tmp_path: Path) -> None:
    def world(**items: Any) -> dict[str, Any]:
        return {"name": "python", "setup": {"arguments": {"items": items}}}

    one, two = (row([SEARCH], ("search", {"query": "a"}), world=world(**items)) for items in ({"a": 1}, {"b": 2}))
    first, _ = through_arrow_to_json(tmp_path, [one, two])
    assert first.world == World("python", {"arguments": {"items": {"a": 1}}})
    meant = row([SEARCH], ("search", {"query": "a"}), world=world(a=None))
    for rows in ([meant, two], [{**meant, "world": json.dumps(meant["world"])}, one]):
        assert as_lines(tmp_path, rows)[0].world == World("python", {"arguments": {"items": {"a": None}}})


# --- any rows ---

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = {"string": st.text("xyz", min_size=1, max_size=3), "integer": st.integers(0, 9), "boolean": st.booleans()}


@st.composite
def rows_of_tasks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of different tools, whose optional arguments are there or not; a name has one type, as Arrow wants it."""
    types = {name: draw(st.sampled_from(sorted(VALUES))) for name in ("a", "b", "c")}
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        tools, calls = [], []
        for function in draw(st.lists(st.sampled_from(["f", "g", "h"]), min_size=1, unique=True)):
            names = draw(st.lists(NAMES, unique=True))
            nested = {"type": "object", "properties": {name: {"type": types[name]} for name in names}}
            properties: dict[str, Any] = {name: {"type": types[name]} for name in names} | {"deep": nested}
            given = {name: draw(VALUES[types[name]]) for name in names if draw(st.booleans())}
            inner = {name: draw(VALUES[types[name]]) for name in names if draw(st.booleans())}
            tools.append(tool(function, properties))
            calls.append((function, {**given, "deep": inner} if inner else given))
        rows.append(row(tools, *calls))
    return rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
@given(rows_of_tasks())
def test_rows_survive_a_dataset_and_its_json(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    meant = comparable(in_memory(tmp_path, rows))
    assert comparable(through_arrow_to_json(tmp_path, rows)) == meant
    assert comparable(through_arrow(tmp_path, rows)) == meant
