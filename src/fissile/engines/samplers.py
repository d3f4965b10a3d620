"""Which sampler fits a set of tasks."""

from __future__ import annotations

from collections.abc import Sequence

from fissile.dialects import ChatFormat
from fissile.dialects.naming import refuse_unnameable
from fissile.engines.attempts import Attempter, Sampler
from fissile.engines.live import EnvironmentMaker, LiveSampler
from fissile.environments import SingleStep
from fissile.environments.bfcl_ast import is_valid
from fissile.environments.worlds import make_environment
from fissile.errors import ConfigError
from fissile.rollouts import Limits
from fissile.tasks import Task


def make_sampler(
    chat: ChatFormat,
    tasks: Sequence[Task],
    make_environment: EnvironmentMaker = make_environment,
    limits: Limits | None = None,
) -> Sampler:
    """Who samples rollouts of these tasks: all of them single-step, or all of them with a live world.

    Raises:
        ConfigError: they are mixed.
        DataError: a tool that the dialect cannot call.
    """
    for task in tasks:
        revealed = (tool for turn in task.later for tool in turn.revealed)
        refuse_unnameable(chat.dialect, (*task.tools, *revealed))
    live = {task.world is not None for task in tasks}
    if len(live) > 1:
        raise ConfigError("Some tasks have a live world and others have none. Train on one kind at a time.")
    if live == {True}:
        return LiveSampler(chat, make_environment, limits=limits or Limits())
    return Attempter(chat, SingleStep(chat.dialect, official=is_valid))
