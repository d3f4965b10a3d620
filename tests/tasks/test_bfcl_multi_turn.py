from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks import Task
from fissile.tasks.bfcl_multi_turn import (
    DOC_FILES,
    MULTI_TURN_CATEGORIES,
    NEW_FUNCTIONS,
    NOISY_LABELS,
    class_tools,
    instances,
    load_bfcl_multi_turn,
    offered,
    parse_call,
)
from fissile.tasks.bfcl_single_turn import BFCLTasks
from fissile.tools import Tool


@pytest.fixture(scope="module")
def everything(bfcl: Path) -> BFCLTasks:
    return load_bfcl_multi_turn()


@pytest.fixture(scope="module")
def by_id(everything: BFCLTasks) -> dict[str, Task]:
    return {task.id: task for task in everything.tasks}


def test_all_entries_are_loaded_with_the_counts_of_the_benchmark(everything: BFCLTasks) -> None:
    assert everything.excluded == {}
    turns, calls, silent = Counter(), Counter(), Counter()
    for task in everything.tasks:
        turns[task.category] += len(task.turns)
        calls[task.category] += sum(len(turn.ground_truth) for turn in task.turns)
        silent[task.category] += sum(not turn.ground_truth for turn in task.turns)
    assert [turns[category] for category in MULTI_TURN_CATEGORIES] == [734, 934, 934, 734]
    assert [calls[category] for category in MULTI_TURN_CATEGORIES] == [1142, 1140, 1140, 1203]
    assert [silent[category] for category in MULTI_TURN_CATEGORIES] == [3, 203, 203, 3]
    assert {len(offered(task, len(task.turns))) in range(17, 40) for task in everything.tasks} == {True}


def test_every_turn_has_a_message_and_every_truth_fits_the_schema_of_its_tool(everything: BFCLTasks) -> None:
    tools = {tool.name: tool for name in DOC_FILES for tool in class_tools(name)}
    assert len(tools) == 128
    for task in everything.tasks:
        for turn in task.turns:
            assert turn.messages
            for call in turn.ground_truth:
                assert set(tools[call.name].required) <= call.arguments.keys() <= set(tools[call.name].properties)


def test_a_held_out_function_is_revealed_by_the_fixed_sentence(by_id: dict[str, Task]) -> None:
    task = by_id["multi_turn_miss_func_0"]
    assert task.tool("sort") is None
    assert [tool.name for tool in task.turns[3].revealed] == ["sort"]
    assert task.turns[3].messages == ({"role": "user", "content": NEW_FUNCTIONS},)
    assert "sort" not in offered(task, 2)
    assert "sort" in offered(task, 3)
    assert task.tool("cp") is None  # excluded
    assert task.at_turn(3).tool("sort") is not None


def test_only_one_truth_calls_what_is_not_offered_yet(everything: BFCLTasks) -> None:
    found = [
        (task.id, index, call.name)
        for task in everything.tasks
        for index, turn in enumerate(task.turns)
        for call in turn.ground_truth
        if call.name not in offered(task, index)
    ]
    assert found == [("multi_turn_miss_func_49", 1, "tail")]


def test_noisy_labels_name_entries(by_id: dict[str, Task]) -> None:
    assert len(NOISY_LABELS) == 9
    assert set(NOISY_LABELS) <= by_id.keys()


def test_the_world_says_what_the_first_state_is_made_from(by_id: dict[str, Task]) -> None:
    world = by_id["multi_turn_long_context_0"].world
    assert world is not None
    assert world.name == "bfcl"
    assert world.setup["classes"] == ["TwitterAPI", "GorillaFileSystem"]
    assert world.setup["long_context"] is True
    assert world.setup["initial_config"]["TwitterAPI"]["username"] == "analyst_pro"
    base = by_id["multi_turn_base_0"].world
    assert base is not None
    assert base.setup["long_context"] is False


def test_instances_end_with_the_turn_that_the_policy_takes(by_id: dict[str, Task]) -> None:
    task = by_id["multi_turn_miss_func_0"]
    found = instances(task)
    assert [instance.id for instance in found] == [f"{task.id}#{turn}" for turn in (0, 1, 3, 4)]
    assert [instance.start for instance in found] == [0, 1, 3, 4]
    for instance in found:
        assert instance.turns == task.turns[: instance.start + 1]
        assert instance.turns[-1].ground_truth


def test_instances_stop_before_a_truth_that_needs_what_is_not_offered(by_id: dict[str, Task]) -> None:
    assert [instance.start for instance in instances(by_id["multi_turn_miss_func_49"])] == [0]


def test_brief_docs_keep_names_types_and_choices(bfcl: Path) -> None:
    full = {tool.name: tool for tool in class_tools("VehicleControlAPI")}
    brief = {tool.name: tool for tool in class_tools("VehicleControlAPI", "brief")}
    assert full["startEngine"].description.startswith("This tool belongs to")
    assert brief["startEngine"].description == "Starts the engine of the vehicle."
    assert 'The ignition mode of the vehicle. [Enum]: ["START", "STOP"]' in str(brief["startEngine"].parameters)
    travel = {tool.name: tool for tool in class_tools("TravelAPI", "brief")}
    assert "economy, business, first" in travel["get_flight_cost"].properties["travel_class"]["description"]
    for name, tool in full.items():
        assert [(key, value.get("type")) for key, value in tool.properties.items()] == [
            (key, value.get("type")) for key, value in brief[name].properties.items()
        ]
        assert tool.required == brief[name].required
        assert "response" not in tool.parameters


MOVE = Tool(
    "mv",
    "",
    {"type": "object", "properties": {"source": {"type": "string"}, "destination": {}}, "required": ["source"]},
)


def test_positional_arguments_are_bound_in_the_order_of_the_parameters() -> None:
    call = parse_call("mv('a (1).txt', destination=[1, {'b': None}])", {"mv": MOVE})
    assert call.name == "mv"
    assert call.arguments == {"source": ["a (1).txt"], "destination": [[1, {"b": None}]]}


@pytest.mark.parametrize(
    "text",
    [
        "rm('a')",
        "mv",
        "mv(open('x'))",
        "mv(source=1 + 1)",
        "os.mv('a')",
        "mv('a', 'b', 'c')",
        "mv('a', source='b')",
        "mv(**{'source': 'a'})",
        "mv('a'); mv('b')",
        "mv('a'",
        "",
    ],
)
def test_what_is_not_one_plain_call_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="The truth"):
        parse_call(text, {"mv": MOVE})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(source=json_values, destination=json_values)
def test_parsing_undoes_writing(source: JSON, destination: JSON) -> None:
    text = f"mv({source!r}, destination={destination!r})"
    assert parse_call(text, {"mv": MOVE}).arguments == {"source": [source], "destination": [destination]}


def test_unknown_names_are_refused(bfcl: Path) -> None:
    with pytest.raises(DataError, match="not a multi-turn category"):
        load_bfcl_multi_turn(["simple_python"])
    with pytest.raises(DataError, match="not a class"):
        class_tools("WebSearchAPI")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_bfcl_multi_turn(folder=tmp_path)
