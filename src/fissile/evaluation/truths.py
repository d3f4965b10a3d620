"""Whether the truth of a task is right in its own world: replayed as a perfect policy would, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fissile.dialects.base import Dialect
from fissile.environments import SingleStep
from fissile.environments.base import Environment, ToolEnvironment
from fissile.errors import InfrastructureError, InputError
from fissile.tasks import Task


class Trouble(NamedTuple):
    """What a truth leads to: a sentence, and whether it may be what is wanted."""

    text: str
    may_be_wanted: bool = False


def troubles_in_world(task: Task, environment: Environment) -> Iterator[Trouble]:
    """What is wrong with the truth of a live task; nothing where it replays without an error and is judged right.

    Args:
        task: with a world.
        environment: the task's own.
    """
    if not isinstance(environment, ToolEnvironment):
        return  # it takes responses, not calls
    try:
        environment.reset(task)
        for turn in range(len(task.turns)):
            results = environment.execute(task.at_turn(turn).oracle_calls())
            answered = next((result.content for result in results if result.error is not None), None)
            if answered is not None:
                yield Trouble(f"Task '{task.id}': the truth of turn {turn} is answered with {answered[:200]!r}", True)
            verdict = environment.judge(turn)
            if not verdict.valid:
                yield Trouble(
                    f"Task '{task.id}': the ground truth of turn {turn}, replayed a second time, is judged wrong: "
                    f"{verdict.errors[0].message} Do its tools answer by chance, or with the time?"
                )
                return
    except (InputError, InfrastructureError) as error:
        yield Trouble(str(error))


def troubles_in_dialect(task: Task, dialect: Dialect) -> Iterator[Trouble]:
    """As `troubles_in_world`, for a single-step task: its truth, written in the dialect and read, must be right."""
    attempt = SingleStep().attempt(task, dialect.render_calls(task.oracle_calls()), dialect)
    if attempt.failed:
        yield Trouble(
            f"Task '{task.id}': the ground truth, written in the dialect '{dialect.name}', is judged wrong: "
            f"{attempt.errors[0].message}"
        )
