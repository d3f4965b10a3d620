"""Leak-free splits of BFCL's multi-turn tasks: no scenario, and if wanted no domain, on two sides.

Entry *i* is the same scenario in all four categories, so the index decides for all of them at once, and for their
turn-level instances. A split at random leaves 44.9 % of the test's true calls verbatim in the training side, one by
domain 1.9 to 4.2 %, so holding a domain out is the split for claims about new tasks.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from fissile.errors import ConfigError, DataError
from fissile.tasks.splits import Split, require_unique_ids
from fissile.tasks.task import Task

Domain = Literal["file_system", "vehicle", "trading", "travel"]

_DOMAINS: tuple[Domain, ...] = ("file_system", "vehicle", "trading", "travel")
DOMAINS: Mapping[Domain, range] = {name: range(50 * at, 50 * at + 50) for at, name in enumerate(_DOMAINS)}
"""Primary domain to its scenario indices."""

NEAR_DUPLICATES: tuple[frozenset[int], ...] = (
    frozenset({40, 43}),
    frozenset({63, 83}),
    frozenset({66, 70, 74}),
    frozenset({100, 104, 133}),
)
"""Scenarios that are almost the same: they stay on one side."""


def split_scenarios(
    tasks: Sequence[Task], held_out: Domain | None, seed: int = 0, validation: float = 0.1, test: float = 0.2
) -> Split:
    """Split multi-turn tasks by scenario.

    Args:
        tasks: of `load_bfcl_multi_turn`, or their `instances`; ids unique.
        held_out: the domain that is the test side; None draws test scenarios from all domains.
        seed: another seed, another draw. The input's order does not matter.
        validation: share of the scenarios for validation, of those that are not held out.
        test: share of the scenarios for the test, where no domain is held out.

    Raises:
        ConfigError: an unknown domain, or shares that leave nothing to train on.
        DataError: a task that is not of BFCL's multi-turn categories, or two of one id.
    """
    if held_out is not None and held_out not in DOMAINS:
        raise ConfigError(f"'{held_out}' is not a domain of BFCL. Choose among {', '.join(DOMAINS)}.")
    drawn_for_test = test if held_out is None else 0.0
    if min(validation, test) < 0 or validation + drawn_for_test >= 1:
        raise ConfigError(f"Shares of {validation} for validation and {test} for the test leave nothing to train on.")
    scenarios: defaultdict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        scenarios[scenario_index(task)].append(task)
    reserved = {index for index in scenarios if held_out is not None and index in DOMAINS[held_out]}
    groups = _shuffled_groups(set(scenarios) - reserved, seed)
    free = len(scenarios) - len(reserved)
    tested = reserved | _draw(groups, round(drawn_for_test * free))
    validated = _draw(groups, round(validation * free))
    trained = {index for group in groups for index in group}
    return Split(*(_tasks_of(scenarios, side, seed) for side in (trained, validated, tested)))


def scenario_index(task: Task) -> int:
    """The index of a task's scenario, 0 to 199. Raises DataError: the task is not of BFCL's multi-turn categories."""
    match = re.fullmatch(r"multi_turn_[a-z_]+_(\d+)(#\d+)?", task.id)
    if match is None:
        raise DataError(f"Task '{task.id}' is not a multi-turn task of BFCL. Load them with load_bfcl_multi_turn.")
    return int(match[1])


def _shuffled_groups(indices: set[int], seed: int) -> list[frozenset[int]]:
    """The indices in groups that stay together, in an order fixed by the seed."""
    together = {index: group for group in NEAR_DUPLICATES for index in group}
    groups = sorted({together.get(index, frozenset({index})) & indices for index in indices}, key=min)
    random.Random(seed).shuffle(groups)
    return groups


def _draw(groups: list[frozenset[int]], wanted: int) -> set[int]:
    """Take groups off the list until `wanted` indices are drawn; one that would be too many stays."""
    drawn: set[int] = set()
    for group in list(groups):
        if len(drawn) + len(group) <= wanted:
            drawn |= group
            groups.remove(group)
    return drawn


def _tasks_of(scenarios: Mapping[int, list[Task]], indices: set[int], seed: int) -> tuple[Task, ...]:
    """The tasks of some scenarios, in a random order fixed by the seed."""
    found = sorted((task for index in indices for task in scenarios[index]), key=lambda task: task.id)
    require_unique_ids(found)
    random.Random(seed).shuffle(found)
    return tuple(found)
