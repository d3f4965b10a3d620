from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fissile.calls import ToolCall
from fissile.environments.bfcl_ast import official_verdict
from fissile.errors import DataError
from fissile.tasks import load_tasks
from fissile.tasks.bfcl_single_turn import CATEGORIES, UNSATISFIABLE, BFCLTasks, json_schema, load_bfcl
from fissile.tasks.task import Task

COUNTS = {
    "simple_python": 400,
    "multiple": 200,
    "live_simple": 256,
    "parallel": 200,
    "parallel_multiple": 200,
    "live_multiple": 1051,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
}


@pytest.fixture(scope="module")
def everything(bfcl: Path) -> BFCLTasks:
    return load_bfcl(CATEGORIES)


def test_every_category_is_loaded_but_for_the_unsatisfiable_entries(everything: BFCLTasks) -> None:
    found = {category: sum(task.category == category for task in everything.tasks) for category in CATEGORIES}
    assert found == COUNTS
    assert everything.excluded == UNSATISFIABLE
    assert all(task.source == "bfcl" and task.matching == "bfcl" for task in everything.tasks)
    assert sum(task.messages[0]["role"] == "system" for task in everything.tasks) == 48


def test_the_oracle_of_every_task_passes_the_official_checker(everything: BFCLTasks) -> None:
    refused = {task.id: official_verdict(task, task.oracle_calls()) for task in everything.tasks}
    assert [task_id for task_id, verdict in refused.items() if not verdict.valid] == []


def test_the_table_of_unsatisfiable_entries_is_what_the_official_checker_says(bfcl: Path) -> None:
    found = {
        entry["id"]
        for category in CATEGORIES
        for entry, truth in raw_entries(bfcl, category)
        if not any(accepted(entry, truth, category, calls) for calls in calls_of(truth))
    }
    assert found == set(UNSATISFIABLE)


def raw_entries(bfcl: Path, category: str) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    data = bfcl / "bfcl_eval" / "data"
    name = f"BFCL_v4_{category}.json"
    with (data / name).open(encoding="utf-8") as entries, (data / "possible_answer" / name).open() as truths:
        answers = {answer["id"]: answer["ground_truth"] for answer in map(json.loads, truths)}
        for entry in map(json.loads, entries):
            yield entry, answers[entry["id"]]


def accepted(entry: dict[str, Any], truth: list[Any], category: str, calls: list[ToolCall]) -> bool:
    reference = {"function": entry["function"], "possible_answer": truth, "category": category}
    return official_verdict(Task(entry["id"], (), (), (), reference=reference), calls).valid


ABSENT = object()


def calls_of(truth: list[Any]) -> Iterator[list[ToolCall]]:
    """Every way to write the truth, lazily; the one with all optional arguments left out comes first."""
    written = [next(iter(call.items())) for call in truth]
    places = [(index, key, values) for index, (_, arguments) in enumerate(written) for key, values in arguments.items()]
    options = [[*([ABSENT] if not values or "" in values else []), *map(concrete, values)] for _, _, values in places]
    for chosen in itertools.product(*options):
        calls: list[dict[str, Any]] = [{} for _ in written]
        for (index, key, _), value in zip(places, chosen, strict=True):
            if value is not ABSENT:
                calls[index][key] = value
        yield [ToolCall(name, arguments, "") for (name, _), arguments in zip(written, calls, strict=True)]


def concrete(value: Any) -> Any:
    """An accepted object lists the accepted values of each key; take the first of each."""
    if isinstance(value, dict):
        return {key: values[0] for key, values in value.items() if values[0] != ""}
    if isinstance(value, list):
        return [concrete(item) for item in value]
    return value


def test_a_schema_is_normalised_at_every_depth() -> None:
    item = {"type": "tuple", "items": {"type": "float"}, "optional": True}
    schema = {
        "type": "dict",
        "required": ["a", "ghost"],
        "properties": {
            "a": {"type": "dict", "properties": {"type": {"type": "any", "default": 3}}, "required": ["type"]},
            "b": {"type": "array", "items": item, "description": "pairs"},
            "c": {"type": "array", "items": {"type": "string"}, "enum": ["x", "y"]},
        },
    }
    before = json.dumps(schema)
    assert json_schema(schema) == {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "object", "properties": {"type": {"default": 3}}, "required": ["type"]},
            "b": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "description": "pairs"},
            "c": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        },
    }
    assert json.dumps(schema) == before


def test_no_type_name_of_bfcl_is_left(everything: BFCLTasks) -> None:
    names = {"object", "number", "array", "string", "integer", "boolean"}
    assert {kind for task in everything.tasks for tool in task.tools for kind in types_of(tool.parameters)} == names


def types_of(schema: dict[str, Any]) -> Iterator[str]:
    if "type" in schema:
        yield schema["type"]
    for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from types_of(inner)


FUNCTION = {
    "name": "f",
    "description": "",
    "parameters": {
        "type": "dict",
        "properties": {"a": {"type": "string"}, "b": {"type": "float"}, "c": {"type": "dict"}},
        "required": ["a"],
    },
}


def write_category(folder: Path, truths: list[Any]) -> Path:
    data = folder / "bfcl_eval" / "data"
    (data / "possible_answer").mkdir(parents=True)
    entries = [
        {"id": f"t{index}", "question": [[{"role": "user", "content": "q"}]], "function": [FUNCTION]}
        for index in range(len(truths))
    ]
    answers = [{"id": f"t{index}", "ground_truth": truth} for index, truth in enumerate(truths)]
    for path, lines in ((data, entries), (data / "possible_answer", answers)):
        text = "\n".join(map(json.dumps, lines))
        (path / "BFCL_v4_multiple.json").write_text(text, encoding="utf-8")
    return folder


def test_the_mark_for_optional_arguments_is_taken_out_of_the_values(tmp_path: Path) -> None:
    truth = [{"f": {"a": ["", "x"], "b": ["", 1.5], "c": [""], "not_offered": ["", 1]}}]
    (task,) = load_bfcl(["multiple"], write_category(tmp_path, [truth])).tasks
    (call,) = task.ground_truth
    assert call.arguments == {"a": ["x"], "b": [1.5], "c": []}
    assert call.optional == {"b", "c"}  # "a" is required by its doc
    assert task.reference == {"function": [FUNCTION], "possible_answer": truth, "category": "multiple"}
    assert [call.arguments for call in task.oracle_calls()] == [{"a": "x"}]


def test_the_oracle_writes_out_objects_and_lists_of_objects(tmp_path: Path) -> None:
    template = {"k": ["", 1, 2], "absent": [""]}
    truth = [{"f": {"a": ["x"], "c": [template]}}, {"f": {"a": ["x"], "c": [[template, template]]}}]
    (task,) = load_bfcl(["multiple"], write_category(tmp_path, [truth])).tasks
    written = [call.arguments["c"] for call in task.oracle_calls() if call.arguments]
    assert written == [{"k": 1}, [{"k": 1}, {"k": 1}]]


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ([{"g": {"a": ["x"]}}], "calls 'g', which is not offered"),
        ([{"f": {"a": ["x"], "d": [1]}}], "'d', which 'f' does not take"),
        ([{"f": {"b": [1]}}], "lacks the argument 'a'"),
        ([{"f": {"a": []}}], "accepts no value for 'a'"),
        ([], "no possible answer"),
        (["f(a='x')"], "not of BFCL's form"),
        ([{"f": {"a": 3}}], "not of BFCL's form"),
    ],
)
def test_an_unusable_entry_is_excluded_with_its_reason(tmp_path: Path, truth: Any, reason: str) -> None:
    loaded = load_bfcl(["multiple"], write_category(tmp_path, [truth, [{"f": {"a": ["x"]}}]]))
    assert [task.id for task in loaded.tasks] == ["t1"]
    assert reason in loaded.excluded["t0"]


def test_an_unknown_category_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'simple' is not a BFCL category.*simple_python"):
        load_bfcl(["simple"], tmp_path)
    with pytest.raises(DataError, match=r"BFCL_v4_multiple\.json cannot be read"):
        load_bfcl(["multiple"], tmp_path)


def test_entries_that_are_left_out_are_said_wherever_the_tasks_are_read(
    bfcl: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(load_tasks("bfcl", categories=["live_simple"])) == 256
    assert "bfcl: an entry that cannot be used is left out" in caplog.text
    assert "(2 times)" in caplog.text
    caplog.clear()
    load_tasks("bfcl", categories=["multiple"])
    assert not caplog.text
