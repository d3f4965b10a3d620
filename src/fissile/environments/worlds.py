"""Which environment a task's world names: the one place that knows them all."""

from __future__ import annotations

from fissile.environments.base import Environment
from fissile.environments.bfcl import BFCLWorld
from fissile.environments.procedural import ProceduralWorld
from fissile.errors import DataError
from fissile.tasks import Task


def make_environment(task: Task) -> Environment:
    """A new environment for a task, not yet reset.

    Raises:
        DataError: the task has no world, or one that needs more than the task to be built.
    """
    match task.world.name if task.world else None:
        case "bfcl":
            return BFCLWorld()
        case "procedural":
            return ProceduralWorld()
        case None:
            raise DataError(f"Task '{task.id}' has no live world. Give it one, or judge it as a single step.")
        case name:
            raise DataError(
                f"Task '{task.id}' runs in the world '{name}', which cannot be made from the task alone. For the "
                "world 'python' say which file holds the tools: --tools my_tools.py."
            )
