from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import ConfigError, DataError
from fissile.tasks import ExpectedCall, Task, load_bfcl, split_by_function
from fissile.tasks.splits import components, split_by_task
from fissile.tools import Tool
from hash_seeds import printed_under_hash_seeds

SCHEMA = {"type": "object", "properties": {}}


def task(name: str, functions: frozenset[str] = frozenset()) -> Task:
    ordered = sorted(functions)
    return Task(
        name,
        ({"role": "user", "content": "q"},),
        tuple(Tool(function, "", SCHEMA) for function in ordered),
        tuple(ExpectedCall(function, {}) for function in ordered),
    )


task_sets = st.lists(st.frozensets(st.sampled_from("abcdefghijkl"), max_size=3), max_size=25).map(
    lambda truths: [task(f"t{index}", functions) for index, functions in enumerate(truths)]
)
fraction_triples = st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (1 / 3, 1 / 3, 1 / 3)])


@given(task_sets, fraction_triples, st.integers(), st.randoms())
def test_the_sides_are_a_partition_without_shared_functions(tasks, fractions, seed, random) -> None:
    split = split_by_function(tasks, seed, fractions)
    assert sorted(t.id for side in split for t in side) == sorted(t.id for t in tasks)
    train, validation, test = ({f for t in side for f in t.functions} for side in split)
    assert not train & validation
    assert not train & test
    assert not validation & test

    largest = max(map(len, components(tasks)), default=0)
    for side, fraction in zip(split, fractions, strict=True):
        wanted = fraction * len(tasks)
        assert wanted - 2 * largest - 1e-6 <= len(side) <= wanted + largest + 1e-6
        assert side == () or fraction > 0

    shuffled = list(tasks)
    random.shuffle(shuffled)
    assert split_by_function(shuffled, seed, fractions) == split


@given(task_sets)
def test_components_are_the_connected_ones(tasks) -> None:
    groups = components(tasks)
    names = [{f for t in group for f in t.functions} for group in groups]
    assert all(not a & b for i, a in enumerate(names) for b in names[:i])
    for group in groups:  # from its first task every other one is reached over shared functions
        reached, known = [group[0]], set(group[0].functions)
        while new := [t for t in group if t not in reached and known & t.functions]:
            reached += new
            known |= {f for t in new for f in t.functions}
        assert len(reached) == len(group)


def test_functions_that_are_only_connected_through_another_task_stay_together() -> None:
    tasks = [
        task("1", frozenset("a")),
        task("2", frozenset("ab")),
        task("3", frozenset("bc")),
        task("4", frozenset("d")),
    ]
    assert sorted(sorted(t.id for t in group) for group in components(tasks)) == [["1", "2", "3"], ["4"]]


def test_the_seed_changes_the_split_and_the_order() -> None:
    tasks = [task(f"t{index}", frozenset({f"f{index}"})) for index in range(100)]
    first, second = (split_by_function(tasks, seed) for seed in (0, 1))
    assert {t.id for t in first.test} != {t.id for t in second.test}
    assert [len(side) for side in first] == [len(side) for side in second] == [70, 10, 20]


def test_the_split_does_not_depend_on_string_hashing() -> None:
    program = (
        "from fissile.tasks import *\n"
        "from fissile.tools import Tool\n"
        "tool = lambda n: Tool(n, '', {'type': 'object'})\n"
        "tasks = [Task(f't{i}', (), (tool(f'f{i // 2}'), tool(f'g{i // 3}')),\n"
        "    (ExpectedCall(f'f{i // 2}', {}), ExpectedCall(f'g{i // 9}', {})) if i // 9 == i // 3 else ())\n"
        "    for i in range(60)]\n"
        "print([[t.id for t in side] for side in split_by_function(tasks)])\n"
    )
    assert len(printed_under_hash_seeds(program)) == 1


@pytest.mark.parametrize(
    ("fractions", "sizes"), [((1.0, 0.0, 0.0), [5, 0, 0]), ((0.9, 0.1, 0.0), [5, 0, 0]), ((0.99, 0.0, 0.01), [4, 0, 1])]
)
def test_a_test_side_without_a_share_gets_no_task(fractions, sizes) -> None:
    tasks = [task(f"t{index}") for index in range(5)]
    assert [len(side) for side in split_by_task(tasks, 0, fractions)] == sizes


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.1), (1.2, -0.1, -0.1), (0.5, 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions) -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        split_by_function([], 0, fractions)


def test_two_tasks_of_one_id_are_refused() -> None:
    with pytest.raises(DataError, match="'same'"):
        split_by_function([task("same"), task("same")])


def test_bfcl_is_split_in_the_wanted_shares(bfcl: Path) -> None:
    split = split_by_function(load_bfcl().tasks)
    assert [len(side) for side in split] == [599, 86, 171]
