"""What training would say of its tasks, before it begins: all faults at once, the sides, the lengths of the prompts.

Imports no torch, unless prompts are to be measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fissile.config import RunConfig
from fissile.dialects import Dialect, get_dialect
from fissile.dialects.naming import refuse_unnameable
from fissile.environments.base import EnvironmentMaker
from fissile.environments.python import CallLimits, PythonTools, PythonWorld
from fissile.environments.worlds import make_environment
from fissile.errors import InputError
from fissile.evaluation.truths import Trouble, troubles_in_dialect, troubles_in_world
from fissile.tasks import Reading, Task
from fissile.training.task_sources import Sides, read_source, refuse_too_few, sides_of

CountOf = Callable[[str, int, int], None]
"""Called with (what, done, all) as often as one likes."""

PromptLength = Callable[[Task], int]
"""Tokens of the prompt of a task, or of a turn of a live scenario."""


@dataclass
class TaskCheck:
    """What was found.

    Attributes:
        reading: the tasks, and what was left out of them.
        faults: what training would refuse, or could never get right; each says what to change.
        sides: how the tasks are split; None where they cannot be.
        notes: truths that a tool answers with an error, which may be what is wanted.
        lengths: tokens of each prompt that training would look at; empty where none was measured.
        limit: of a prompt, in tokens.
    """

    reading: Reading
    faults: list[str]
    sides: Sides | None = None
    notes: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    limit: int = 0


Measure = Callable[[EnvironmentMaker], PromptLength]
"""From what makes a task's world to what measures prompts."""


def check_tasks(config: RunConfig, measure: Measure | None, count: CountOf) -> TaskCheck:
    """Look at all tasks of a configuration; `measure` None measures no prompts, `count` hears how far it is.

    Raises:
        InputError: the source or the tools as a whole cannot be used.
    """
    tools = None if config.tasks.tools is None else PythonTools.from_file(config.tasks.tools)
    reading = read_source(config, tools)
    found = TaskCheck(reading, list(reading.faults), limit=config.tasks.max_prompt_tokens)
    make = environment_maker(config, tools)
    for trouble in _troubles(reading.tasks, get_dialect(config.model.dialect), config.is_live, make, count):
        (found.notes if trouble.may_be_wanted else found.faults).append(trouble.text)
    if reading.faults and not reading.tasks:
        return found
    turns = sum(len(task.turns) for task in reading.tasks)
    measured = _Measured(measure(make) if measure else None, config.tasks.max_prompt_tokens, turns, found, count)
    try:
        found.sides = sides_of(config, reading.tasks, measured)
        refuse_too_few(found.sides, config)
    except InputError as error:
        found.faults.append(str(error))
    return found


def environment_maker(config: RunConfig, tools: PythonTools | None) -> EnvironmentMaker:
    """Gives every rollout its own world: that of the user's tools, or BFCL's where there are none."""
    if tools is None:
        return make_environment
    world = config.world
    limits = CallLimits(world.call_seconds, world.result_characters, world.call_memory_mb, world.calls_per_response)
    return lambda task: PythonWorld(tools, limits)


def _troubles(
    tasks: Sequence[Task], dialect: Dialect, live: bool, make: EnvironmentMaker, count: CountOf
) -> Iterator[Trouble]:
    """The faults of the tasks: tools that the dialect cannot call, each said once, and truths that are not right."""
    said: Counter[str] = Counter()
    for done, task in enumerate(tasks, 1):
        try:
            refuse_unnameable(dialect, (*task.tools, *(tool for turn in task.later for tool in turn.revealed)))
        except InputError as error:
            said[str(error)] += 1
            if said[str(error)] == 1:
                yield Trouble(f"Task '{task.id}': {error}")
        else:
            yield from troubles_in_world(task, make(task)) if live else troubles_in_dialect(task, dialect)
        count("truths replayed" if live else "truths judged", done, len(tasks))


@dataclass
class _Measured:
    """Measures prompts as training does, and keeps what it finds."""

    length: PromptLength | None
    limit: int
    total: int
    found: TaskCheck
    count: CountOf

    def __call__(self, task: Task) -> bool:
        """Whether the prompt of a task fits. One that cannot be written is a fault."""
        if self.length is None:
            return True
        try:
            tokens = self.length(task)
        except InputError as error:
            text = str(error)
            if text not in self.found.faults:
                self.found.faults.append(text)
            return True
        self.found.lengths.append(tokens)
        self.count("prompts measured", len(self.found.lengths), self.total)
        return tokens <= self.limit
