"""Where the failures of a simulator's data come from: tasks by corruption, and the runs that were made before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from fissile.dialects.base import Dialect
from fissile.environments import SingleStep
from fissile.faults import Fault
from fissile.feedback import Failure
from fissile.simulator.corruptions import Corruptor
from fissile.simulator.diagnosed_failure import FoundFailure, Origin, Side
from fissile.simulator.harvest import intercepted
from fissile.tasks import Task
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.tasks.procedural.mistakes import miswritten
from fissile.tasks.scenarios import DOMAINS, scenario_index

MISWRITTEN = "miswritten"
"""The `FoundFailure.fault` of a value in another convention than the tool's."""


def corrupted(
    tasks: Sequence[Task],
    sides: Mapping[str, Side],
    dialect: Dialect,
    faults: Sequence[Fault],
    seed: int,
    left_out: Counter[str] | None = None,
) -> Iterator[FoundFailure]:
    """The failures of tasks by corruption; plausible wrong values come from tasks of the same side.

    Args:
        tasks: single-step, or with a live world.
        sides: task id to side; tasks on no side are left out.
        dialect: writes the responses.
        faults: the corruptions, each once a task or turn.
        seed: of every draw.
        left_out: counts the tasks without a side and what gave no failure, by reason.
    """
    left_out = Counter() if left_out is None else left_out
    left_out["a task on no side"] += sum(task.id not in sides for task in tasks)
    for side in dict.fromkeys(sides.values()):
        members = [task for task in tasks if sides.get(task.id) == side]
        corruptor = Corruptor.over(members, dialect, seed)
        for task in members:
            for faulty in corruptor.failures(task, faults):
                yield FoundFailure(
                    faulty.failure, Origin.CORRUPTION, side, faulty.fault.value, domain_of(task) if task.world else ""
                )
        left_out.update(corruptor.left_out)


def miswritten_ones(
    tasks: Sequence[Task], sides: Mapping[str, Side], dialect: Dialect, seed: int
) -> Iterator[FoundFailure]:
    """The failures of single-step procedural tasks with one value in another convention than the tool's.

    Args:
        tasks: those that are on a side and have such a value give one failure each.
        sides: task id to side.
        dialect: writes the responses.
        seed: of every draw.
    """
    environment = SingleStep()
    for task in tasks:
        calls = miswritten(task, random.Random(f"{seed}/{task.id}/{MISWRITTEN}"))
        if calls is not None and task.id in sides:
            attempt = environment.attempt(task, dialect.render_calls(calls), dialect)
            yield FoundFailure(Failure(task, attempt), Origin.CORRUPTION, sides[task.id], MISWRITTEN)


def harvested(
    runs: Sequence[str], tasks: Mapping[str, Task], sides: Mapping[str, Side], left_out: Counter[str] | None = None
) -> Iterator[FoundFailure]:
    """The failures that policies made in earlier runs, on tasks that have a side; `left_out` counts the others.

    Raises:
        DataError: a folder that holds no run.
    """
    left_out = Counter() if left_out is None else left_out
    for run in runs:
        for found in intercepted(run, tasks, left_out):
            scenario = found.failure.task.id.partition("#")[0]
            side = sides.get(found.failure.task.id) or sides.get(scenario)
            if side is not None:
                task = tasks[found.failure.task.id]
                domain = domain_of(task) if task.world else ""
                name = run.rstrip("/").rpartition("/")[2]
                yield FoundFailure(found.failure, Origin.POLICY, side, "", domain, name, found.step)
            else:
                left_out["a policy's failure at a task on no side"] += 1


def domain_of(task: Task) -> str:
    """The domain of a live task: of a multi-turn one of BFCL, else the procedural world, which is one."""
    if task.source == PROCEDURAL:
        return PROCEDURAL
    index = scenario_index(task)
    return next(name for name, indices in DOMAINS.items() if index in indices)
