"""The data of an error simulator: whose failures, on which side, diagnosed by whom."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fissile.calls import JSON
from fissile.config import load_config
from fissile.config.simulator_recipe import ENDPOINT, DataConfig, SimulatorRecipe
from fissile.dialects import get_dialect
from fissile.errors import ConfigError, DataError
from fissile.feedback import EnvironmentMessage, Failure, FeedbackSource, FixedMessage, get_source
from fissile.simulator.dataset import (
    FAILED,
    assign_sides,
    balanced,
    diagnose_all,
    statistics,
    unseen_functions_only,
)
from fissile.simulator.diagnosed_failure import DiagnosedFailure, FoundFailure, Side
from fissile.simulator.gathering import MISWRITTEN, corrupted, harvested, miswritten_ones
from fissile.simulator.quality import assess
from fissile.simulator.reply import Said
from fissile.simulator.sources import refuse_outage
from fissile.tasks import Split, Task, load_bfcl_multi_turn, load_tasks
from fissile.tasks.procedural import ProceduralSettings, procedural_split
from fissile.tasks.scenarios import split_scenarios
from fissile.training.course import Course
from fissile.training.policy_model import longest_context
from fissile.training.run_folder import RunFolder
from fissile.training.simulator_making import chat_of


@dataclass(frozen=True)
class Seen:
    """The functions of another recipe's split, by side."""

    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()

    @classmethod
    def by(cls, recipe: str | None) -> Seen:
        """Those of a recipe of `fissile train`; none without one."""
        if recipe is None:
            return cls()
        config = load_config(recipe)
        if config.is_live:
            raise ConfigError(f"data.split_like = '{recipe}' trains in a live world. Name a single-step recipe.")
        split = Course(config, chat_of(config.model), None, nothing_said).split
        trained = frozenset(name for task in split.train for name in task.functions)
        return cls(trained, frozenset(name for task in (*split.validation, *split.test) for name in task.functions))


def nothing_said(_name: str) -> FeedbackSource:
    """In the place of any source, where a course is asked for its tasks alone."""
    return FixedMessage()


@dataclass(frozen=True)
class SidedTasks:
    """Tasks that are corrupted alike.

    Attributes:
        tasks: all single-step, or all with a live world.
        sides: task id to side; tasks on no side are left out.
    """

    tasks: Sequence[Task]
    sides: Mapping[str, Side]


def loaded_groups(config: DataConfig) -> list[SidedTasks]:
    """Single-step tasks that are loaded, and BFCL's multi-turn ones."""
    tasks = load_tasks(config.source, categories=config.categories) if config.categories else []
    seen = Seen.by(config.split_like)
    groups = [SidedTasks(tasks, assign_sides(tasks, seen.trained, seen.held_out, config.split_seed))]
    if config.live_categories:
        live = list(load_bfcl_multi_turn(config.live_categories, docs="brief").tasks)
        split = split_scenarios(live, held_out=config.held_out, seed=config.split_seed, validation=0.0)
        groups.append(SidedTasks(live, _sides_of(split)))
    return groups


def procedural_groups(settings: ProceduralSettings) -> list[SidedTasks]:
    """The tasks of the procedural world as single-step ones; where it is live, once more to be executed in it."""
    split = procedural_split(settings)
    tasks, sides = [*split.train, *split.test], _sides_of(split)
    single = SidedTasks([replace(task, world=None) for task in tasks], sides)
    return [single, SidedTasks(tasks, sides)] if settings.live else [single]


def _sides_of(split: Split) -> dict[str, Side]:
    """The side of each task to train on or to test on, by id."""
    sides: dict[str, Side] = {task.id: "train" for task in split.train}
    return sides | {task.id: "test" for task in split.test}


def find_failures(config: DataConfig, seed: int, left_out: Counter[str] | None = None) -> list[FoundFailure]:
    """Every failure that the data is drawn from: corruptions of both sides, and what earlier runs intercepted.

    Args:
        config: of the data.
        seed: of every draw.
        left_out: counts what is left out, by reason.

    Raises:
        DataError: a source that cannot be used.
        RunError: a run that cannot be used.
        ConfigError: `split_like` is no recipe of single-step tasks.
    """
    dialect = get_dialect(config.dialect)
    left_out = Counter() if left_out is None else left_out
    groups = procedural_groups(config.procedural) if config.is_procedural else loaded_groups(config)
    found: list[FoundFailure] = []
    for group in groups:
        found += corrupted(group.tasks, group.sides, dialect, config.faults, seed, left_out)
    if config.is_procedural:
        found += miswritten_ones(groups[0].tasks, groups[0].sides, dialect, seed)
    sides = {name: side for group in groups for name, side in group.sides.items()}
    for run in config.runs:
        found += harvested([run], trained_tasks(run), sides, left_out)
    return unseen_functions_only(found, left_out)


def trained_tasks(run: str) -> dict[str, Task]:
    """The training tasks of a run folder, by id.

    Raises:
        RunError: the folder holds no run, or one that this version cannot read.
    """
    config = RunFolder(Path(run).expanduser()).read_config("Name one of `fissile train`.")
    course = Course(config, chat_of(config.model), longest_context(config.model.path), nothing_said)
    return {task.id: task for task in course.train}


def choose_rows(
    found: Sequence[FoundFailure], config: DataConfig, left_out: Counter[str] | None = None
) -> list[FoundFailure]:
    """The failures that get a row: every policy's own on the training side, and corruptions in the wanted shares.

    `left_out` counts the policies' own on the test side.
    """
    if left_out is not None:
        left_out["a policy's failure on the test side"] += sum(bool(one.run) and one.side == "test" for one in found)
    own = {one.key: one for one in found if one.run and one.side == "train"}
    chosen = list(own.values())
    for side, count in (("train", max(0, config.rows - len(chosen))), ("test", config.test_rows)):
        members = [one for one in found if one.side == side and not one.run and one.key not in own]
        executed = balanced([one for one in members if one.domain], round(count * config.live_share))
        judged = [one for one in members if not one.domain]
        single = count - len(executed)
        invited = balanced([one for one in judged if one.fault == MISWRITTEN], round(single * config.miswritten_share))
        others = balanced([one for one in judged if one.fault != MISWRITTEN], single - len(invited))
        chosen += [*invited, *others, *executed]
    return chosen


def teacher_of(config: DataConfig) -> Callable[[FoundFailure], str]:
    """Who diagnoses a failure: a draw by its hash, so that it does not depend on the others."""

    def choose(one: FoundFailure) -> str:
        if (
            "environment" in config.teachers
            and _share(one.key[:8]) < config.environment_share
            and _is_told(one.failure)
        ):
            return "environment"
        others = [name for name in config.teachers if name not in ("environment", ENDPOINT)]
        if ENDPOINT in config.teachers and (not others or _share(one.key[8:16]) < config.endpoint_share):
            return ENDPOINT
        return others[int(_share(one.key[16:24]) * len(others))]

    return choose


def _is_told(failure: Failure) -> bool:
    """Whether the live world objected, and named the wrong argument if one is: a vague error teaches vagueness."""
    if not failure.answers or failure.silent:
        return False
    (message,) = EnvironmentMessage().diagnose([failure])
    return assess(Said(message), failure).right_field is not False


def _share(digits: str) -> float:
    """Hexadecimal digits as a number in [0, 1)."""
    return int(digits, 16) / float(16 ** len(digits))


def make_rows(
    recipe: SimulatorRecipe,
    endpoint: FeedbackSource | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[DiagnosedFailure], dict[str, object]]:
    """The rows of a recipe, and what they hold.

    Raises:
        DataError: no training row is left.
        RunError: the endpoint failed; what it answered is kept.
    """
    choose = teacher_of(recipe.data)
    left_out: Counter[str] = Counter()
    found = choose_rows(find_failures(recipe.data, recipe.seed, left_out), recipe.data, left_out)
    random.Random(recipe.seed).shuffle(found)  # so that a prefix is a fair sample
    teachers: dict[str, FeedbackSource] = {name: get_source(name) for name in recipe.data.teachers if name != ENDPOINT}
    if endpoint is not None:
        teachers[ENDPOINT] = endpoint
    rows, undiagnosed = diagnose_all(found, teachers, choose, progress)
    failed = {reason[len(FAILED) :]: n for reason, n in undiagnosed.items() if reason.startswith(FAILED)}
    refuse_outage(ENDPOINT, failed, sum(failed.values()) + sum(row.teacher == ENDPOINT for row in rows))
    left_out = +(left_out + undiagnosed)
    if not any(row.side == "train" for row in rows):
        raise DataError(f"No training row is left ({dict(left_out)}). Give more tasks, faults or teachers.")
    asked: dict[str, JSON] = {"train": recipe.data.rows, "test": recipe.data.test_rows}
    return rows, {**statistics(rows, left_out), "asked": asked}
