"""Tasks of the procedural world: some calls, and a request in words that asks for them."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

from fissile.calls import JSON
from fissile.tasks.procedural import words
from fissile.tasks.procedural.catalogue import Operation, Parameter, draw_operations
from fissile.tasks.procedural.conventions import KINDS
from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.tasks.splits import Split
from fissile.tasks.task import ExpectedCall, Task, World

logger = logging.getLogger(__name__)

SOURCE = "procedural"
"""`Task.source` of these tasks, and the name of their world."""

CATALOGUE_TOOLS, CATALOGUE_TASKS = 24, 48
"""Pretraining: tools that are drawn at once, and tasks that are made of them."""

MOST_FACTS = 4
"""Parameters in a drill, at most."""

BYSTANDERS = 2
"""Records beside those that a task speaks of."""


def procedural_split(settings: ProceduralSettings) -> Split:
    """The tasks to train on and to test on: no tool and no value in common, no validation side."""
    train, test = random.Random(f"{settings.seed}/train"), random.Random(f"{settings.seed}/test")
    return Split(
        tuple(_side(settings, settings.train_tasks, settings.train_tools, train, "train")),
        (),
        tuple(_side(settings, settings.test_tasks, settings.test_tools, test, "test")),
    )


def _side(settings: ProceduralSettings, tasks: int, tools: int, draw: random.Random, side: str) -> list[Task]:
    operations = draw_operations(settings, tools, draw, held_out=side == "test")
    distinct = len({(operation.action, operation.noun) for operation in operations})
    if distinct < settings.offered:
        logger.warning(
            "Of tasks.procedural.%s_tools = %d only %d mean different things: a task offers so many, and not "
            "offered = %d. Raise the former or lower the latter.",
            side,
            tools,
            distinct,
            settings.offered,
        )
    return [draw_task(settings, operations, draw, f"{SOURCE}-{side}-{index}") for index in range(tasks)]


def draw_task(settings: ProceduralSettings, operations: Sequence[Operation], draw: random.Random, name: str) -> Task:
    """A task over some of these tools. Its values are held out where the tools are."""
    held_out = words.is_held_out(operations[0].name)
    count = draw.choices(range(1, len(settings.calls) + 1), settings.calls)[0]
    offered = _offered(settings, operations, draw, count)
    called = [draw.choice(offered[:count]) if index else offered[0] for index in range(count)]
    codes = _new_codes(draw, held_out)
    clauses, truth = [], []
    records: dict[str, list[str]] = {}
    for operation in called:
        values = _values(operation, draw, held_out, codes)
        clauses.append(_clause(operation, values, settings, draw))
        truth.append(_expected(operation, values))
        if operation.action != "create":
            records.setdefault(operation.noun, []).append(values[operation.parameters[0].name])
    for noun in records:
        records[noun] += [next(codes) for _ in range(BYSTANDERS)]
    draw.shuffle(offered)
    setup: dict[str, JSON] = {
        "records": {noun: sorted(present) for noun, present in records.items()},
        "tools": {operation.name: _meaning(operation) for operation in offered},
        "transient": settings.transient,
    }
    return Task(
        id=name,
        messages=({"role": "user", "content": f"Please {'; then '.join(clauses)}."},),
        tools=tuple(operation.tool for operation in offered),
        ground_truth=tuple(truth),
        source=SOURCE,
        category=f"{count}_call" + "s" * (count > 1),
        world=World(SOURCE, setup) if settings.live else None,
    )


def _offered(
    settings: ProceduralSettings, operations: Sequence[Operation], draw: random.Random, calls: int
) -> list[Operation]:
    """Tools of which no two could be meant by the same words: one for each action and noun.

    Fewer than wanted where the catalogue has no more.
    """
    distinct: dict[tuple[str, str], Operation] = {}
    wanted = max(settings.offered, min(calls, 2))
    for operation in draw.sample(operations, len(operations)):
        distinct.setdefault((operation.action, operation.noun), operation)
        if len(distinct) == wanted:
            break
    return list(distinct.values())


def _new_codes(draw: random.Random, held_out: bool) -> Iterator[str]:
    """Codes of which no two are equal: the records of a task are told apart by them."""
    seen: set[str] = set()
    while True:
        code = words.code(draw, held_out)
        if code not in seen:
            seen.add(code)
            yield code


def _values(operation: Operation, draw: random.Random, held_out: bool, codes: Iterator[str]) -> dict[str, Any]:
    """A value for every parameter that the request speaks of, by the parameter's name."""
    return {
        parameter.name: next(codes) if parameter.kind == "code" else KINDS[parameter.kind].draw(draw, held_out)
        for parameter in operation.parameters
        if not (parameter.optional and draw.random() < 0.5)
    }


def _clause(operation: Operation, values: dict[str, Any], settings: ProceduralSettings, draw: random.Random) -> str:
    verb = operation.verb
    if draw.random() < settings.paraphrased:
        verb = draw.choice(words.VERBS[operation.action])
    spoken = [parameter for parameter in operation.parameters if parameter.name in values]
    if draw.random() < settings.shuffled:
        draw.shuffle(spoken)
    stated = ", ".join(_phrase(parameter, values[parameter.name], settings, draw) for parameter in spoken)
    return f"{verb} the {operation.noun}, {stated}"


def _phrase(parameter: Parameter, value: Any, settings: ProceduralSettings, draw: random.Random) -> str:
    kind = KINDS[parameter.kind]
    word = kind.names[parameter.name] if draw.random() < settings.paraphrased else parameter.name
    return kind.phrase.format(p=word, v=kind.surface(value))


def _expected(operation: Operation, values: dict[str, Any]) -> ExpectedCall:
    arguments = {
        parameter.name: parameter.convention.write(values[parameter.name])
        for parameter in operation.parameters
        if parameter.name in values
    }
    return ExpectedCall.exactly(operation.name, arguments)


def _meaning(operation: Operation) -> dict[str, JSON]:
    """What the world must know of a tool beyond its schema; only codes name a record."""
    first = operation.parameters[0]
    return {"action": operation.action, "noun": operation.noun, "key": first.name if first.kind == "code" else None}


def pretraining_tasks(settings: ProceduralSettings, count: int, draw: random.Random) -> list[Task]:
    """Live tasks of the training side's names and values; the tools are drawn anew every `CATALOGUE_TASKS` tasks."""
    settings = settings.model_copy(update={"live": True})
    tasks: list[Task] = []
    while len(tasks) < count:
        operations = draw_operations(settings, CATALOGUE_TOOLS, draw, held_out=False)
        some = range(len(tasks), min(count, len(tasks) + CATALOGUE_TASKS))
        tasks += [draw_task(settings, operations, draw, f"{SOURCE}-pretraining-{index}") for index in some]
    return tasks


def facts(draw: random.Random) -> tuple[str, str]:
    """What requests may ask for and say of parameters, training values only; and the same in another order."""
    named = [(name, kind) for kind in KINDS.values() for name in kind.names]
    chosen = draw.sample(named, draw.randint(1, MOST_FACTS))
    said = [kind.phrase.format(p=name, v=kind.surface(kind.draw(draw, False))) for name, kind in chosen]
    wanted = draw.sample(words.tool_names(held_out=False), draw.randint(1, 2))
    said = draw.sample([*said, *(f"{verb} the {noun}" for _, verb, noun in wanted)], len(said) + len(wanted))
    return f"{', '.join(said)}.", f"{', '.join(draw.sample(said, len(said)))}."
