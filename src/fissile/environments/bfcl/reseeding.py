"""Other scenarios of the same shape: new identifiers, so that those of the benchmark are not worth remembering.

Booking number 3426812 answers 34 of the 200 base entries and occurs in no question: it follows from a fixed random
seed. Here such seeds and counters change, the truth is replayed in the old and the new world side by side, and where
their results differ, later calls of the truth get the new identifier in the place of the old one.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fissile.calls import JSON
from fissile.environments.bfcl.instances import methods
from fissile.environments.bfcl.session import Scenario, Session, first_values
from fissile.tasks import ExpectedCall, Task, Turn, World

COUNTERS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "TicketAPI": ("ticket_counter", 1),
        "TradingBot": ("order_counter", 12446),
        "TwitterAPI": ("tweet_counter", 0),
    }
)
"""Class to the field of its configuration that numbers what it creates, and the field's default. `TravelAPI` draws its
numbers from `random_seed` instead. Those of messages are left as they are: no call takes one."""

_IDENTIFIER = re.compile(r".*_id|access_token")
"""Names of the arguments that hold an identifier."""

Identifier = tuple[str, str | int]
"""The class that uses it, and itself."""


def reseed(task: Task, seed: int) -> Task:
    """The task in a scenario with other identifiers, its truth adapted; or the task itself where that cannot be.

    It cannot be where the truth would run into an error, and where a message names an identifier that changes: there
    the user would ask for one thing and the truth do another. Neither happens in the 800 entries.

    Args:
        task: of `load_bfcl_multi_turn`, or one of its `instances`.
        seed: another seed, other identifiers; with the id of the task it decides alone.

    Raises:
        DataError: the task has no BFCL world.
    """
    before = Session(Scenario.of(task))
    assert task.world is not None
    config = _reseeded(task.world.setup, random.Random(f"{seed}:{task.id}"))
    moved = replace(task, world=World("bfcl", {**task.world.setup, "initial_config": config, "seed": seed}))
    turns = _adapted(task.turns, before, Session(Scenario.of(moved)))
    if turns is None:
        return task
    reference = {
        "entry": {**task.reference["entry"], "initial_config": config},
        "ground_truth": [[_source(call) for call in turn.ground_truth] for turn in turns],
    }
    return replace(moved, ground_truth=turns[0].ground_truth, later=turns[1:], reference=reference)


def _reseeded(setup: Mapping[str, JSON], draw: random.Random) -> dict[str, JSON]:
    """The initial configuration with other seeds and counters."""
    config = {name: dict(fields) for name, fields in setup["initial_config"].items()}
    for name in setup["classes"]:
        fields = config.setdefault(name, {})
        if name == "TravelAPI":
            fields["random_seed"] = draw.randrange(10**9)
        elif name in COUNTERS:
            counter, default = COUNTERS[name]
            fields[counter] = fields.get(counter, default) + draw.randrange(100, 10_000)
    return config


def _adapted(turns: Sequence[Turn], before: Session, after: Session) -> tuple[Turn, ...] | None:
    """The turns with the identifiers of the new world; None where that cannot be."""
    renamed: dict[Identifier, str | int] = {}
    adapted = []
    for turn in turns:
        calls = []
        for call in turn.ground_truth:
            moved = ExpectedCall.exactly(call.name, _with_new_identifiers(call, renamed))
            old = before.run(call.name, first_values(call))
            new = after.run(moved.name, first_values(moved))
            if old.error or new.error:
                return None
            owner = methods()[call.name].class_name
            renamed.update({(owner, one): other for one, other in _differences(_read(old.content), _read(new.content))})
            calls.append(moved)
        adapted.append(replace(turn, ground_truth=tuple(calls)))
    said = {word for turn in turns for message in turn.messages for word in re.findall(r"\w+", message["content"])}
    return None if any(str(old) in said for _, old in renamed) else tuple(adapted)


def _with_new_identifiers(call: ExpectedCall, renamed: Mapping[Identifier, str | int]) -> dict[str, JSON]:
    owner = methods()[call.name].class_name
    return {
        name: renamed.get((owner, value), value)
        if _IDENTIFIER.fullmatch(name) and isinstance(value, str | int)
        else value
        for name, value in first_values(call).items()
    }


def _read(text: str) -> JSON:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _differences(old: JSON, new: JSON) -> Iterator[tuple[str | int, str | int]]:
    """Texts and integers that stand in the same place of two results of one shape, and differ; keys, too."""
    if isinstance(old, dict) and isinstance(new, dict) and len(old) == len(new):
        yield from _differences(list(old), list(new))
        yield from _differences(list(old.values()), list(new.values()))
    elif isinstance(old, list) and isinstance(new, list):
        for one, other in zip(old, new, strict=False):
            yield from _differences(one, other)
    elif isinstance(old, str | int) and isinstance(new, str | int) and old != new:
        yield old, new


def _source(call: ExpectedCall) -> str:
    """The call as the official truth writes it."""
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in first_values(call).items())})"
