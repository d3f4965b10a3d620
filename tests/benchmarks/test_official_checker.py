"""The official checker on parsed calls, and our judge against it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks.official_checker import REFUSED, call_source, literal, official_multi_turn
from benchmarks.world import CrossCheck, Wanderer, trajectories, truth
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import official_checker
from fissile.calls import JSON, ParseError, ToolCall
from fissile.environments.bfcl import function_names
from fissile.errors import DataError
from fissile.tasks import Task, instances, load_bfcl_multi_turn


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> dict[str, Task]:
    return {task.id: task for task in load_bfcl_multi_turn().tasks}


def call(name: str, arguments: dict[str, JSON]) -> ToolCall:
    return ToolCall(name, arguments, "")


def executor_names() -> set[str]:
    checker = official_checker.checker()
    cells = {cell.cell_contents for cell in checker.__closure__ or () if callable(cell.cell_contents)}
    (judge,) = [cell for cell in cells if getattr(cell, "__name__", "") == "multi_turn_checker"]
    return set(judge.__globals__["execute_multi_turn_func_call"].__globals__)


def test_the_truth_of_every_entry_is_officially_valid(tasks: dict[str, Task]) -> None:
    refused = [task.id for task in tasks.values() if not official_multi_turn(task, truth(task)).valid]
    assert refused == []


@pytest.mark.parametrize(("corrupted", "wandering"), [(2000, 0), (0, 1000)], ids=["corrupted truth", "random policy"])
def test_verdict_and_error_type_are_those_of_the_official_checker(
    tasks: dict[str, Task], corrupted: int, wandering: int
) -> None:
    check = CrossCheck.of(trajectories(list(tasks.values()), corrupted, wandering, seed=11))
    assert check.differences == []
    assert check.outcomes.total() == corrupted + wandering
    assert min(check.outcomes[kind] for kind in ("instance_state_mismatch", "execution_response_mismatch")) > 200
    assert check.outcomes["valid"] > 300 or not corrupted


def test_instances_are_judged_up_to_their_last_turn(tasks: dict[str, Task]) -> None:
    for instance in instances(tasks["multi_turn_base_0"]):
        right = truth(instance)
        assert official_multi_turn(instance, right) == (True, "")
        assert official_multi_turn(instance, [*right[:-1], []]) == (False, "empty_turn_model_response")


def test_a_cut_episode_fails_unless_its_last_turn_was_cut(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    turns = truth(task)
    assert official_multi_turn(task, turns[:2], force_terminated=True) == (False, "force_terminated")
    assert official_multi_turn(task, turns, force_terminated=True) == (True, "")
    with pytest.raises(DataError, match="one list for each"):
        official_multi_turn(task, turns[:2])
    with pytest.raises(DataError, match="no BFCL reference"):
        official_multi_turn(Task("t", (), (), ()), [[]])


def test_malformed_calls_and_empty_steps_do_not_count(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    broken = ToolCall(None, None, "mkdir(", 0, ParseError("it has no end", 6))
    turns = [[[broken], [], *turn] for turn in truth(task)]
    assert official_multi_turn(task, turns).valid
    assert official_multi_turn(task, [*turns[:1], [[broken], []], *turns[2:]]).error_type == "empty_turn_model_response"


def test_the_executor_keeps_nothing_of_an_episode(tasks: dict[str, Task]) -> None:
    before = executor_names()
    task, modules = tasks["multi_turn_long_context_155"], set(sys.modules)
    wanderer = Wanderer.over(list(tasks.values()), seed=3)
    for _ in range(20):
        official_multi_turn(task, wanderer.random_episode(task))
        assert official_multi_turn(task, truth(task)).valid
    assert executor_names() == before
    assert not [name for name in set(sys.modules) - modules if name.startswith("bfcl_eval")]


HOSTILE = [
    call("__import__('os').system", {"command": "touch pwned"}),
    call("exit", {}),
    call("open", {"file": "pwned", "mode": "w"}),
    call("touch(file_name='x') or open", {"file": "pwned"}),
    call("cat", {"file_name": "x') or open('pwned', 'w"}),
    call("touch", {"file_name=open('pwned', 'w').name, x": 1}),
    call("touch", {"file_name": "'''\n\\", "class": 1}),
    call("echo", {"content": "pwd() cd (x) \\\\x28 \ud800 \x00 {} %s", "file_name": "x"}),
    call("power", {"base": 10, "exponent": 10**9}),
    call("echo", {"content": "x" * 10**6}),
]


@pytest.mark.parametrize("made", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_calls_are_errors_without_effect(
    tasks: dict[str, Task], made: ToolCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = tasks["multi_turn_base_0"]
    turns = truth(task)
    turns[0] = [[made], *turns[0]]
    assert official_multi_turn(task, turns) == (True, "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_function_of_the_world_is_refused(tasks: dict[str, Task]) -> None:
    allowed = function_names(tasks["multi_turn_base_0"])
    assert call_source(call("ls", {"a": True}), allowed) == "ls(a=True)"
    for made in (call("mean", {}), call("ls()", {}), call("ls", {"a b": 1}), call("ls", {"None": 1}), HOSTILE[0]):
        assert call_source(made, allowed) == REFUSED


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**4200), 10**4200)
    | st.floats(allow_nan=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=8,
)


@given(json_values)
def test_literals_mean_the_value_and_hold_no_call(value: JSON) -> None:
    source = literal(value)
    assert "(" not in source
    assert repr(eval(source, {"__builtins__": {}})) == repr(value) or eval(source) == value


def test_not_a_number_has_an_expression() -> None:
    assert str(eval(literal(float("nan")))) == "nan"
    assert eval(literal([float("inf"), -float("inf")])) == [float("inf"), -float("inf")]
    assert json.dumps(eval(literal({"a": [1, 1.0, True, None, "("]}))) == '{"a": [1, 1.0, true, null, "("]}'
