"""Which world a task names: our own, and those that other packages offer."""

from __future__ import annotations

from dataclasses import replace

from fissile.environments.base import Environment, EnvironmentMaker, ErrorPolicy, ToolEnvironment
from fissile.errors import DataError
from fissile.registry import Registry
from fissile.tasks import Task

SINGLE_STEP = "single_step"
"""The world of a task that names none."""

WORLDS: Registry[type[Environment]] = Registry(
    "world",
    "fissile.worlds",
    {
        SINGLE_STEP: "fissile.environments.single_step:SingleStep",
        "bfcl": "fissile.environments.bfcl:BFCLWorld",
        "procedural": "fissile.environments.procedural:ProceduralWorld",
        "python": "fissile.environments.python:PythonWorld",
    },
    Environment,
)
"""Every world by the name that a task's `world` gives it."""


def make_environment(task: Task) -> Environment:
    """A new environment for a task, not yet reset.

    Raises:
        DataError: the task's world needs more than the task to be built.
        ConfigError: nobody offers such a world.
    """
    name = task.world.name if task.world else SINGLE_STEP
    try:
        return WORLDS.get(name)()
    except TypeError as error:
        raise DataError(
            f"Task '{task.id}' runs in the world '{name}', which cannot be made from the task alone ({error}). For the "
            "world 'python' say which file holds the tools: --tools my_tools.py."
        ) from None


def obeying(make: EnvironmentMaker, policy: ErrorPolicy) -> EnvironmentMaker:
    """The same worlds, with what becomes of a response that cannot be executed."""

    def made(task: Task) -> Environment:
        environment = make(task)
        if isinstance(environment, ToolEnvironment):
            environment.errors = policy
        return environment

    return made


def limited(policy: ErrorPolicy, calls_per_response: int) -> ErrorPolicy:
    """The policy with another limit of calls."""
    return replace(policy, calls_per_response=calls_per_response)
