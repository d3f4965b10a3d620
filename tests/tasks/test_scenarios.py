from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import ConfigError, DataError
from fissile.tasks import Task, instances, load_bfcl_multi_turn
from fissile.tasks.scenarios import DOMAINS, NEAR_DUPLICATES, Domain, scenario_index, split_scenarios

SHELL = Task("", ({"role": "user", "content": "Hello."},), (), ())


def tasks_of(indices: range, categories: tuple[str, ...] = ("base", "miss_func", "long_context")) -> list[Task]:
    return [replace(SHELL, id=f"multi_turn_{category}_{index}") for category in categories for index in indices]


EVERYTHING = tasks_of(range(200))
held_out = st.sampled_from([None, *get_args(Domain)])


def indices(side: tuple[Task, ...]) -> set[int]:
    return {scenario_index(task) for task in side}


@given(held_out, st.integers(0, 10**6), st.floats(0, 0.5), st.floats(0, 0.45))
def test_no_scenario_and_no_near_duplicate_is_on_two_sides(
    domain: Domain | None, seed: int, validation: float, test: float
) -> None:
    split = split_scenarios(EVERYTHING, domain, seed, validation, test)
    sides = [indices(side) for side in split]
    assert sorted(task.id for side in split for task in side) == sorted(task.id for task in EVERYTHING)
    assert sum(map(len, sides)) == 200
    for group in NEAR_DUPLICATES:
        assert sum(bool(group & side) for side in sides) == 1


@pytest.mark.parametrize("domain", get_args(Domain))
def test_the_held_out_domain_is_the_test_side(domain: Domain) -> None:
    split = split_scenarios(EVERYTHING, domain)
    assert indices(split.test) == set(DOMAINS[domain])
    assert len(indices(split.validation)) == 15
    assert not indices(split.validation) & set(DOMAINS[domain])


def test_without_a_held_out_domain_the_shares_are_kept() -> None:
    split = split_scenarios(EVERYTHING, None, validation=0.1, test=0.2)
    assert [len(indices(side)) for side in split] == [140, 20, 40]
    assert all(any(index in DOMAINS[domain] for index in indices(split.test)) for domain in DOMAINS)


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    shuffled = random.Random(3).sample(EVERYTHING, len(EVERYTHING))
    assert split_scenarios(shuffled, "travel", 1) == split_scenarios(EVERYTHING, "travel", 1)
    assert indices(split_scenarios(EVERYTHING, "travel", 2).validation) != indices(
        split_scenarios(EVERYTHING, "travel", 1).validation
    )


def test_another_category_of_the_same_seed_has_the_same_scenarios_on_each_side() -> None:
    one, other = (split_scenarios(tasks_of(range(200), (name,)), "vehicle", 5) for name in ("base", "miss_param"))
    assert [indices(side) for side in one] == [indices(side) for side in other]


def test_instances_stay_with_their_scenario(bfcl: Path) -> None:
    found = [one for task in load_bfcl_multi_turn(["multi_turn_base"]).tasks for one in instances(task)]
    split = split_scenarios(found, "trading")
    assert indices(split.test) == set(DOMAINS["trading"])
    assert sum(map(len, split)) == len(found) == 731


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a domain"):
        split_scenarios(EVERYTHING, "cooking")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nothing to train on"):
        split_scenarios(EVERYTHING, None, validation=0.5, test=0.5)
    with pytest.raises(DataError, match="not a multi-turn task"):
        split_scenarios([replace(SHELL, id="simple_python_3")], None)
    with pytest.raises(DataError, match="Two tasks have the id"):
        split_scenarios([*EVERYTHING, EVERYTHING[0]], None)
