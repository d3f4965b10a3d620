from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fissile.errors import DataError
from fissile.serial import to_json
from fissile.tasks import World, load_dataset, load_jsonl, load_tasks, read_jsonl, tasks_from_rows
from fissile.tools import Tool

TOOL = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
RECORD = {
    "messages": [{"role": "user", "content": "How warm is it in Oslo?"}],
    "tools": [TOOL],
    "ground_truth": [{"name": "weather", "arguments": {"city": "Oslo"}}],
}
TURNS = [
    {
        "messages": [{"role": "user", "content": "And in Rome?"}],
        "ground_truth": [{"name": "weather", "arguments": {"city": "Rome"}}],
    },
    {"messages": [{"role": "user", "content": "Thank you."}], "ground_truth": []},
]
LIVE = {**RECORD, "world": {"name": "python", "setup": {"arguments": {"units": "C"}}}, "turns": TURNS}


def write(folder: Path, *records: Any) -> Path:
    path = folder / "tasks.jsonl"
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_record_becomes_a_task(tmp_path: Path) -> None:
    (task,) = load_jsonl(write(tmp_path, {**RECORD, "id": 7}))
    assert task.id == "7"
    assert task.messages == ({"role": "user", "content": "How warm is it in Oslo?"},)
    assert [tool.to_schema()["function"] for tool in task.tools] == [TOOL]
    assert [to_json(call) for call in task.ground_truth] == [{"name": "weather", "arguments": {"city": ["Oslo"]}}]
    assert task.matching == "exact"


@pytest.mark.parametrize(
    "change",
    [
        {"tools": [{"type": "function", "function": TOOL}]},
        {"tools": json.dumps([TOOL])},
        {"tools": [json.dumps(TOOL)]},
        {"messages": json.dumps(RECORD["messages"])},
        {"ground_truth": [{"name": "weather", "arguments": '{"city": "Oslo"}'}]},
        {
            "ground_truth": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ]
        },
        {"ground_truth": json.dumps(RECORD["ground_truth"])},
    ],
)
def test_the_usual_spellings_mean_the_same(tmp_path: Path, change: dict[str, Any]) -> None:
    (plain,) = load_jsonl(write(tmp_path, RECORD))
    (spelled,) = load_jsonl(write(tmp_path, {**RECORD, **change}))
    assert spelled == plain


def test_blank_lines_and_a_byte_order_mark_are_skipped_and_ids_tell_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff", "", RECORD, "  ", RECORD)
    assert [task.id for task in load_jsonl(path)] == ["tasks:3", "tasks:5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tools": 3}, "'tools' must be a list, not int"),
        ({"tools": [3]}, "A tool must be a JSON object"),
        ({"tools": [{"name": "f", "parameters": {"type": "string"}}]}, "'parameters' must be a JSON Schema"),
        ({"tools": [{"name": "f", "parameters": {"type": "object", "required": 3}}]}, "not a valid JSON Schema"),
        ({"tools": [TOOL, TOOL]}, "offers the tool 'weather' twice"),
        ({"tools": "[{"}, "'tools' is not JSON"),
        ({"ground_truth": [{"name": "rain", "arguments": {}}]}, "calls 'rain', which is not among its tools"),
        ({"ground_truth": [{"arguments": {}}]}, "must be an object with a 'name'"),
        ({"ground_truth": [{"name": "weather", "arguments": [1]}]}, "must be an object, not list"),
        ({"ground_truth": [{"name": "weather", "arguments": "{"}]}, "'arguments' is not JSON"),
        ({"ground_truth": [{"name": "weather", "arguments": '{"city": NaN}'}]}, "NaN is not a JSON number"),
        (
            {"ground_truth": [{"name": "weather", "arguments": {"city": 3}}]},
            "breaks the schema of its tool: argument 'city'",
        ),
        ({"ground_truth": [{"name": "weather", "arguments": {}}]}, "missing the required argument 'city'"),
        ({"messages": []}, "'messages' is empty"),
        ({"messages": [{"role": "user"}]}, "a 'role' and a text 'content'"),
        ({"messages": [{"content": "hello"}]}, "has the role None"),
        ({"messages": [{"role": "robot", "content": ""}]}, "has the role 'robot'"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]},
            "a call must be an object with a 'name'",
        ),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path, RECORD, {**RECORD, **change})
    with pytest.raises(DataError) as caught:
        load_jsonl(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"turns": json.dumps(TURNS)},
        {"turns": [json.dumps(turn) for turn in TURNS]},
        {"world": json.dumps(LIVE["world"])},
        {"world": {"name": "python", "setup": '{"arguments": {"units": "C"}}'}},
    ],
)
def test_a_live_task_has_a_world_and_later_turns(tmp_path: Path, change: dict[str, Any]) -> None:
    (task,) = load_jsonl(write(tmp_path, {**LIVE, **change}))
    assert task.world == World("python", {"arguments": {"units": "C"}})
    assert [turn.messages[0]["content"] for turn in task.turns] == [
        "How warm is it in Oslo?",
        "And in Rome?",
        "Thank you.",
    ]
    assert [call.arguments for turn in task.later for call in turn.ground_truth] == [{"city": ["Rome"]}]


def test_the_caller_may_give_tools_and_world_for_all_tasks(tmp_path: Path) -> None:
    bare = {key: value for key, value in RECORD.items() if key != "tools"}
    given = Tool.from_schema(TOOL)
    other = {**TOOL, "description": "Another."}
    path = write(
        tmp_path, bare, {**RECORD, "tools": [other]}, {**bare, "world": {"setup": {"arguments": {}}}, "turns": TURNS}
    )
    world = World("python")
    plain, own_tools, own_setup = load_jsonl(path, (given,), world)
    assert (plain.tools, plain.world) == ((given,), world)
    assert own_tools.tools[0].description == "Another."
    assert own_setup.world == World("python", {"arguments": {}})
    assert load_jsonl(write(tmp_path, RECORD))[0].world is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"world": None}, "2: 'turns' needs a 'world'"),
        ({"world": 3}, "2: 'world' must be an object"),
        ({"world": {"setup": {}}}, "2: 'world' needs a 'name'"),
        ({"world": {"name": "python", "setup": []}}, "2: the 'setup' of 'world' must be an object"),
        ({"world": {"name": "python", "seed": 3}}, "2: 'world' has 'seed'"),
        ({"turns": {}}, "2: 'turns' must be a list"),
        ({"turns": [TURNS[0], 3]}, "2, turns[1]: a turn must be an object"),
        ({"turns": [{"messages": TURNS[0]["messages"]}]}, "2, turns[0]: 'ground_truth' is missing; a turn needs"),
        ({"turns": [{"messages": [], "ground_truth": []}]}, "2, turns[0]: 'messages' is empty"),
        ({"turns": [{**TURNS[0], "ground_truth": [{"name": "rain"}]}]}, "2, turns[0]: the ground truth calls 'rain'"),
        (
            {"turns": [TURNS[1], {**TURNS[0], "ground_truth": [{"name": "weather"}]}]},
            "2, turns[1]: the ground truth breaks the schema of its tool",
        ),
    ],
)
def test_a_wrong_world_or_turn_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path, LIVE, {**LIVE, **change})
    with pytest.raises(DataError) as caught:
        load_jsonl(path)
    assert str(caught.value).startswith(f"{path}:{message}")


@pytest.mark.parametrize("column", ["messages", "tools", "ground_truth"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    record = {key: value for key, value in RECORD.items() if key != column}
    with pytest.raises(DataError, match=rf"tasks\.jsonl:1: '{column}' is missing"):
        load_jsonl(write(tmp_path, record))


@pytest.mark.parametrize("schema", [{"$ref": "#/nowhere"}, {"type": "string", "pattern": "("}])
def test_a_schema_that_cannot_be_applied_is_named(tmp_path: Path, schema: dict[str, Any]) -> None:
    tool = {"name": "weather", "parameters": {"type": "object", "properties": {"city": schema}}}
    with pytest.raises(DataError, match=r"tasks\.jsonl:1: .*'weather'"):
        load_jsonl(write(tmp_path, {**RECORD, "tools": [tool]}))


@pytest.mark.parametrize(
    ("line", "message"), [("{", "it is not JSON"), ("[" * 100_000, "nested too deeply"), ("3", "must be a JSON object")]
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"tasks\.jsonl:2: .*{message}"):
        load_jsonl(write(tmp_path, RECORD, line))


def test_duplicate_ids_name_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, {**RECORD, "id": "a"}, {**RECORD, "id": "a"})
    with pytest.raises(DataError, match=r"tasks\.jsonl:2: the id 'a' is already used by .*tasks\.jsonl:1"):
        load_jsonl(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        load_jsonl(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="holds no tasks"):
        load_jsonl(write(tmp_path, ""))
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        load_jsonl(tmp_path / "latin.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        load_jsonl(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
mutated_records = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.just(RECORD["messages"]) | json_values,
        "tools": st.just(RECORD["tools"]) | json_values,
        "ground_truth": st.just(RECORD["ground_truth"]) | json_values,
        "id": json_values,
        "world": st.just(LIVE["world"]) | json_values,
        "turns": st.just(TURNS) | st.lists(st.just(TURNS[0]) | json_values, max_size=3) | json_values,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(mutated_records | json_values | st.text())
def test_whatever_a_line_holds_it_is_a_task_or_a_data_error(tmp_path: Path, record: Any) -> None:
    with suppress(DataError):
        assert len(load_jsonl(write(tmp_path, record))) == 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local dataset of two rows whose arguments differ, so that columnar storage pads them with nulls."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    calls = (
        [{"name": "weather", "arguments": {"city": "Oslo"}}],
        [{"name": "weather", "arguments": {"city": "Rome", "days": 2}}],
    )
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", *({**RECORD, "ground_truth": call} for call in calls)).rename(
        tmp_path / "set" / "train.jsonl"
    )
    return tmp_path / "set"


def test_a_dataset_is_read_without_its_padding(folder: Path) -> None:
    tasks = load_dataset(str(folder), "train")
    assert [task.ground_truth[0].arguments for task in tasks] == [{"city": ["Oslo"]}, {"city": ["Rome"], "days": [2]}]
    assert tasks == load_tasks(str(folder))
    with pytest.raises(DataError, match="split 'nosuch', cannot be loaded"):
        load_dataset(str(folder), "nosuch")


def test_the_front_door_tells_the_sources_apart(tmp_path: Path, bfcl: Path) -> None:
    assert len(load_tasks(str(write(tmp_path, RECORD)))) == 1
    assert {task.category for task in load_tasks("bfcl", categories=["live_parallel"])} == {"live_parallel"}
    with pytest.raises(DataError, match="There is no file"):
        load_tasks("absent.jsonl")


def test_columns_that_are_not_read_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = {**RECORD, "system_prompt": "Be brief.", "tool": [], "level": 3, "nothing": None}
    load_jsonl(write(tmp_path, odd, odd))
    said = sorted(record.getMessage().partition(": ")[2] for record in caplog.records)
    assert said == [
        "the column 'level' is no part of a task (2 times).",
        "the column 'system_prompt' is no part of a task; what it holds is read in 'system' (2 times).",
        "the column 'tool' is no part of a task; what it holds is read in 'tools' (2 times).",
    ]
    caplog.clear()
    tasks_from_rows([odd])  # a trainer hands the columns to reward functions
    assert len(caplog.records) == 2


@pytest.mark.parametrize("key", ["tools", "system", "ground_truths"])
def test_a_turn_holds_messages_and_truth_alone(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match=rf"turns\[1\]: a turn holds 'messages' and 'ground_truth' alone, not '{key}'"):
        load_jsonl(write(tmp_path, {**LIVE, "turns": [TURNS[0], {**TURNS[1], key: []}]}))


def test_system_column_is_a_system_message_and_other_columns_are_told(tmp_path: Path) -> None:
    reading = read_jsonl(write(tmp_path, {**RECORD, "system": "Be brief.", "level": 3}))

    assert reading.tasks[0].messages[0] == {"role": "system", "content": "Be brief."}
    assert list(reading.remarks) == ["the column 'level' is no part of a task"]


def test_two_system_messages_are_refused(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be long."}, *RECORD["messages"]]
    with pytest.raises(DataError, match="keep one of them"):
        load_jsonl(write(tmp_path, {**RECORD, "messages": messages, "system": "Be brief."}))


@pytest.mark.parametrize("suffix", ["array", "parquet", "disk", "rows", "numpy"])
def test_the_same_rows_from_wherever_they_lie_are_the_same_tasks(tmp_path: Path, suffix: str) -> None:
    expected = load_jsonl(write(tmp_path, RECORD, RECORD))
    rows = datasets.Dataset.from_list([RECORD, RECORD])
    path = tmp_path / f"tasks.{'json' if suffix == 'array' else suffix}"
    source: Any = path
    match suffix:
        case "array":
            path.write_text(json.dumps([RECORD, RECORD], indent=1), encoding="utf-8")
        case "parquet":
            rows.to_parquet(path)
        case "disk":
            rows.save_to_disk(path)
        case "rows":
            source = rows
        case "numpy":
            source = rows.to_pandas().to_dict("records")

    tasks = load_tasks(source)

    assert [(task.messages, task.ground_truth, task.tools) for task in tasks] == [
        (task.messages, task.ground_truth, task.tools) for task in expected
    ]


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (datasets.DatasetDict({"train": datasets.Dataset.from_list([RECORD])}), "Give the rows of one"),
        (datasets.Dataset.from_list([RECORD]).to_pandas(), "from_pandas"),
    ],
)
def test_rows_in_another_wrapping_are_refused_by_name(source: Any, advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        load_tasks(source)
