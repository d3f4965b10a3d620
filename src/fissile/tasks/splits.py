"""Leak-free splits: no function that a test task must call is called by the truth of a training task.

The unit is the component: tasks whose truths share a function, directly or through other tasks, stay together. A test
function may still be *offered* to a training task, as a distractor that its truth never calls. Names decide: two
functions of different names count as different, however alike they are.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from fissile.errors import ConfigError, DataError
from fissile.tasks.task import Task


class Split(NamedTuple):
    """Three disjoint sides. Each is in a random order fixed by the seed, so that a prefix is a fair sample."""

    train: tuple[Task, ...]
    validation: tuple[Task, ...]
    test: tuple[Task, ...]


def split_by_function(
    tasks: Sequence[Task], seed: int = 0, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
) -> Split:
    """Split tasks so that the sides share no function of the truth.

    Components are dealt out from the largest to the smallest, each to the side that lacks most of its share. Among
    components of one size a hash of the seed decides the order. The result depends on nothing but the set of tasks,
    the seed and the fractions: not on the input's order, nor on the interpreter's string hashing.

    Args:
        tasks: ids unique.
        seed: another seed, another split.
        fractions: shares of train, validation and test; they sum to 1. As close as the components allow.

    Raises:
        ConfigError: the fractions are not three shares of one whole.
        DataError: two tasks have one id.
    """
    _refuse_fractions(fractions)
    require_unique_ids(tasks)
    room = [fraction * len(tasks) for fraction in fractions]
    sides: tuple[list[Task], ...] = ([], [], [])
    for group in sorted(
        components(tasks), key=lambda part: (-len(part), _stable_hash(f"{seed}:{min(task.id for task in part)}"))
    ):
        side = max(range(3), key=room.__getitem__)
        sides[side].extend(group)
        room[side] -= len(group)
    train, validation, test = (
        tuple(sorted(side, key=lambda task: _stable_hash(f"{seed}:{task.id}"))) for side in sides
    )
    return Split(train, validation, test)


def split_by_task(
    tasks: Sequence[Task], seed: int = 0, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
) -> Split:
    """Split tasks at random: for tasks over one fixed set of tools, where every side must use the same functions.

    Args:
        tasks: ids unique.
        seed: another seed, another split. The input's order does not matter.
        fractions: shares of train, validation and test; they sum to 1. Every side but validation gets a task at least,
            as long as there are two; without a share the test side gets none.

    Raises:
        ConfigError: the fractions are not three shares of one whole.
        DataError: two tasks have one id.
    """
    _refuse_fractions(fractions)
    require_unique_ids(tasks)
    drawn = sorted(tasks, key=lambda task: _stable_hash(f"{seed}:{task.id}"))
    fewest = 1 if fractions[2] else 0
    test = min(max(round(fractions[2] * len(drawn)), fewest), len(drawn) - 1)
    validation = min(round(fractions[1] * len(drawn)), len(drawn) - test - 1)
    return Split(tuple(drawn[test + validation :]), tuple(drawn[test : test + validation]), tuple(drawn[:test]))


def components(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks grouped so that two groups share no function; a task whose truth calls nothing is alone."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for task in tasks:
        for function in task.functions:
            parent[root(f"function {function}")] = root(f"task {task.id}")
    groups: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[root(f"task {task.id}")].append(task)
    return list(groups.values())


def _stable_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refuse_fractions(fractions: tuple[float, float, float]) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ConfigError(f"Split fractions must be three numbers from 0 to 1 that sum to 1, not {tuple(fractions)}.")


def require_unique_ids(tasks: Sequence[Task]) -> None:
    """Raise DataError for two tasks of one id."""
    for name, count in Counter(task.id for task in tasks).items():
        if count > 1:
            raise DataError(f"Two tasks have the id '{name}'. Give every task its own id.")
