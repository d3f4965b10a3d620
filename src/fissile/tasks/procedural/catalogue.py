"""Tools made by chance: an operation on a kind of record, with typed parameters, each with its convention."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fissile.calls import JSON
from fissile.tasks.procedural import words
from fissile.tasks.procedural.conventions import KINDS, Convention, Kind
from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.tools import Tool


@dataclass(frozen=True)
class Parameter:
    """A parameter of a tool."""

    name: str  # of the argument
    kind: str  # a key of `KINDS`
    convention: Convention  # how the tool wants its values
    documented: bool  # whether the tool's documentation says so
    optional: bool  # whether a call may leave it out

    @property
    def schema(self) -> dict[str, JSON]:
        """Its JSON Schema; only documented conventions have a description."""
        note: dict[str, JSON] = {"description": self.convention.note} if self.documented else {}
        return {**self.convention.schema, **note}


@dataclass(frozen=True)
class Operation:
    """A tool of the procedural world, with what it means."""

    action: str  # a key of `VERBS`
    verb: str  # the one in the tool's name
    noun: str  # the kind of record that it works on
    parameters: tuple[Parameter, ...]  # the first one identifies the record, unless one is created

    @property
    def name(self) -> str:
        """Of the tool."""
        return f"{self.verb}_{self.noun}"

    @cached_property
    def tool(self) -> Tool:
        """As the policy, the judge and the rules know it."""
        return Tool(
            self.name,
            f"{self.verb} a {self.noun}",
            {
                "type": "object",
                "properties": {parameter.name: parameter.schema for parameter in self.parameters},
                "required": [parameter.name for parameter in self.parameters if not parameter.optional],
            },
        )


def draw_operations(settings: ProceduralSettings, count: int, draw: random.Random, held_out: bool) -> list[Operation]:
    """`count` tools with different names; there are names for as many as `settings` allow."""
    names = draw.sample(words.tool_names(held_out), count)
    return [Operation(*name, tuple(_parameters(name[0], settings, draw))) for name in names]


def _parameters(action: str, settings: ProceduralSettings, draw: random.Random) -> Iterator[Parameter]:
    """The first one is never optional, nor the second of an update, which would otherwise change nothing."""
    most = {"create": settings.parameters, "update": settings.parameters, "delete": 2, "find": 2}[action]
    fewest = {"create": min(2, settings.parameters), "update": 2, "delete": 1, "find": 1}[action]
    count = draw.randint(fewest, max(fewest, min(most, settings.parameters)))
    kinds = draw.sample([kind for kind in KINDS if kind != "code"], count)
    if action != "create":
        kinds = ["code", *kinds[: count - 1]]
    elif draw.random() < 0.3:
        kinds[0] = "code"
    needed = 2 if action == "update" else 1
    for index, kind in enumerate(kinds):
        yield _parameter(kind, settings, draw, needed=index < needed)


def _parameter(name: str, settings: ProceduralSettings, draw: random.Random, needed: bool) -> Parameter:
    kind: Kind = KINDS[name]
    usual, *others = kind.conventions
    convention = draw.choice(others) if others and draw.random() < settings.unusual else usual
    documented = not others or draw.random() >= settings.undocumented
    optional = not needed and draw.random() < settings.optional
    return Parameter(draw.choice(list(kind.names)), name, convention, documented, optional)
