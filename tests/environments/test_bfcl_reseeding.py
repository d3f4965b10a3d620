from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.official_checker import official_multi_turn
from benchmarks.world import judged, truth

from fissile.environments.bfcl import BFCLWorld, reseed
from fissile.errors import DataError
from fissile.tasks import Task, instances, load_bfcl_multi_turn


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> dict[str, Task]:
    return {task.id: task for task in load_bfcl_multi_turn().tasks}


def identifiers(task: Task) -> str:
    return json.dumps([call.arguments for turn in task.turns for call in turn.ground_truth])


def test_every_entry_has_another_scenario_whose_own_truth_is_valid(tasks: dict[str, Task]) -> None:
    world, counts = BFCLWorld(), Counter[str]()
    for task in tasks.values():
        other = reseed(task, 7)
        counts["reseeded"] += other is not task
        counts["truth changed"] += other.turns != task.turns
        assert judged(other, truth(other), world) == (True, "")
        assert official_multi_turn(other, truth(other)).valid
        if other.turns != task.turns:  # what was remembered is of no use
            assert not judged(other, truth(task), world)[0]
    assert counts == {"reseeded": 800, "truth changed": 312}


def test_the_remembered_booking_number_is_gone(tasks: dict[str, Task]) -> None:
    base = [task for task in tasks.values() if task.category == "multi_turn_base"]
    assert sum("3426812" in identifiers(task) for task in base) == 34
    assert sum("3426812" in identifiers(reseed(task, 1)) for task in base) == 0


def test_the_seed_decides_and_the_rest_of_the_task_stays(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_155"]
    kept = json.dumps(task.world.setup if task.world else None)
    one, same, other = reseed(task, 1), reseed(task, 1), reseed(task, 2)
    assert one == same
    assert one.reference == same.reference
    assert one.world != other.world
    assert one.world is not None
    assert one.world.setup["seed"] == 1
    assert (one.id, one.messages, one.tools) == (task.id, task.messages, task.tools)
    assert json.dumps(task.world.setup if task.world else None) == kept


def test_instances_can_be_reseeded(tasks: dict[str, Task]) -> None:
    world = BFCLWorld()
    for instance in instances(tasks["multi_turn_miss_func_155"]):
        other = reseed(instance, 3)
        assert other.start == instance.start
        assert judged(other, truth(other), world)[0]
        assert official_multi_turn(other, truth(other)).valid


def test_a_task_whose_user_names_a_changing_identifier_is_left_alone(tasks: dict[str, Task]) -> None:
    task = next(task for task in tasks.values() if "3426812" in identifiers(task))
    asked = replace(task.later[-1], messages=({"role": "user", "content": "Cancel 3426812, please."},))
    named = replace(task, later=(*task.later[:-1], asked))
    assert reseed(named, 1) is named
    assert reseed(task, 1) is not task


def test_a_task_whose_truth_meets_an_error_is_left_alone(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    (first, *rest) = task.ground_truth
    broken = replace(task, ground_truth=(replace(first, arguments={"folder": ["nowhere"]}), *rest))
    assert reseed(broken, 1) is broken


def test_tasks_without_the_world_are_refused(tasks: dict[str, Task]) -> None:
    with pytest.raises(DataError, match="no BFCL world"):
        reseed(replace(tasks["multi_turn_base_0"], world=None), 1)
