"""The tasks that a configuration names, and how they are split: for training, and for `fissile data check`.

Imports no torch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fissile.config import EvaluationConfig, RunConfig
from fissile.environments.bfcl.reseeding import reseed
from fissile.environments.python import PythonTools
from fissile.errors import ConfigError, DataError
from fissile.tasks import Reading, Split, Task, World, instances, load_bfcl_multi_turn, read_tasks, split_by_function
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.tasks.procedural import procedural_split
from fissile.tasks.scenarios import split_scenarios
from fissile.tasks.splits import split_by_task

Fits = Callable[[Task], bool]
"""Whether the prompt of a task is short enough."""


@dataclass(frozen=True)
class Sides:
    """The tasks of a run."""

    split: Split  # all three sides: of the tasks that fit, or of whole live scenarios
    train: tuple[Task, ...]  # what is trained on: tasks, or those turns of live scenarios that fit
    evaluated: tuple[Task, ...]  # the held-out tasks that are measured
    count: int  # tasks, or turns of the training scenarios, before those that do not fit are left out


def read_source(config: RunConfig, tools: PythonTools | None = None) -> Reading:
    """The tasks of a configuration, with every fault of theirs; `tools` are the user's, of the file `tasks.tools`.

    Raises:
        DataError: the source as a whole cannot be read.
        AssetError: BFCL cannot be fetched.
    """
    settings = config.tasks
    if settings.source == PROCEDURAL:
        return Reading(PROCEDURAL, [task for side in procedural_split(settings.procedural) for task in side])
    if tools is not None:
        return read_tasks(settings.source, hub_split=settings.hub_split, tools=tools.tools, world=World("python"))
    if settings.world is not None:
        return read_tasks(settings.source, hub_split=settings.hub_split, world=World(settings.world))
    if config.is_live:
        loaded = load_bfcl_multi_turn(settings.categories, docs=settings.docs)
        return Reading(settings.source, list(loaded.tasks), remarks=loaded.remarks)
    reading = read_tasks(settings.source, categories=settings.categories, hub_split=settings.hub_split)
    live = next((task.id for task in reading.tasks if task.world is not None), None)
    if live is not None:
        reading.faults.append(f"Task '{live}' has a live world. Give the tools of its world: --tools my_tools.py.")
    return reading


def sides_of(config: RunConfig, tasks: Sequence[Task], fits: Fits = lambda task: True) -> Sides:
    """Split the tasks of `read_source` as a run does; `fits`: which ones, or turns of scenarios, are short enough."""
    split = _whole_split(config, tasks) if config.is_live or config.tasks.source == PROCEDURAL else None
    if config.is_live and split is not None:
        turns = [instance for task in split.train for instance in instances(task)]
        return Sides(split, tuple(filter(fits, turns)), _evaluated(split, config.evaluation), len(turns))
    if split is not None:
        split = Split(*(tuple(filter(fits, side)) for side in split))
    else:
        split = split_by_function(list(filter(fits, tasks)), seed=config.tasks.split_seed)
    return Sides(split, split.train, _evaluated(split, config.evaluation), len(tasks))


def refuse_too_few(sides: Sides, config: RunConfig) -> None:
    """A run that could make no update, or measure nothing, says so before anything is computed.

    Raises:
        DataError: too few tasks.
        ConfigError: settings under which no update could be made.
    """
    training = config.training
    for side, tasks in (("training", sides.train), ("held-out", sides.evaluated)):
        if not tasks:
            raise DataError(
                f"No {side} task is left of {sides.count} (max_prompt_tokens = {config.tasks.max_prompt_tokens}). "
                "Raise tasks.max_prompt_tokens, or give more tasks with different functions."
            )
    if training.steps and len(sides.train) < training.prompts_per_step:
        raise DataError(
            f"A step samples training.prompts_per_step = {training.prompts_per_step} different tasks, and "
            f"{len(sides.train)} to train on are left of {sides.count}, so no update could be made. Lower "
            "training.prompts_per_step, or give more tasks (or raise tasks.max_prompt_tokens = "
            f"{config.tasks.max_prompt_tokens})."
        )
    rollouts = training.prompts_per_step * training.group_size
    if training.steps and training.rollouts is not None and training.rollouts < rollouts:
        raise ConfigError(
            f"training.rollouts = {training.rollouts} is less than one step samples (prompts_per_step x group_size = "
            f"{rollouts}). Raise it, or sample fewer a step."
        )
    if training.steps == 1 and training.warmup_steps:
        raise ConfigError(
            "training.warmup_steps gives the first step a learning rate of 0, and training.steps = 1 no other one. Set "
            "training.warmup_steps = 0."
        )


def _whole_split(config: RunConfig, tasks: Sequence[Task]) -> Split:
    """Procedural worlds as they are made; the user's at random; BFCL's scenarios, their training side reseeded."""
    settings = config.tasks
    if settings.source == PROCEDURAL:
        return procedural_split(settings.procedural)
    if settings.tools is not None or settings.world is not None:
        return split_by_task(tasks, seed=settings.split_seed)
    split = split_scenarios(tasks, held_out=settings.held_out, seed=settings.split_seed)
    if settings.reseed:
        split = split._replace(train=tuple(reseed(task, settings.split_seed + 1) for task in split.train))
    return split


def _evaluated(split: Split, settings: EvaluationConfig) -> tuple[Task, ...]:
    tasks = list(split.test if settings.split == "test" else split.validation)
    random.Random(settings.seed).shuffle(tasks)
    return tuple(tasks[: settings.tasks])
