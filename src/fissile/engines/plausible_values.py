"""Arguments in the shape of a schema, with values that stand in the conversation: what a careless model would send."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fissile.calls import JSON, scalars
from fissile.tools import Tool, json_type

MAX_NESTING = 4
"""Schemas are followed to this depth; deeper parts are left empty."""

_FALLBACKS: tuple[JSON, ...] = ("default", 1, 0.5, True)


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Values at hand, by their JSON type; each type has at least one scalar to offer.

    Attributes:
        by_type: JSON Schema type name to the values of that type.
    """

    by_type: dict[str, list[JSON]]

    @classmethod
    def among(cls, texts: Iterable[str], values: Iterable[JSON] = ()) -> Borrowed:
        """The words and numbers of some texts, the scalars inside some JSON values, and a few that always fit."""
        by_type: dict[str, list[JSON]] = {}
        words = [word for text in texts for word in re.findall(r"\w[\w.@/-]*", text)]
        numbers: list[JSON] = [int(word) for word in words if re.fullmatch(r"[0-9]{1,9}", word)]
        given = (scalar for value in values for scalar in scalars(value))
        for scalar in (*words, *numbers, *given, *_FALLBACKS):
            by_type.setdefault(json_type(scalar), []).append(scalar)
        by_type["number"] += by_type["integer"]
        return cls(by_type)


def plausible_arguments(tool: Tool, borrowed: Borrowed, rng: random.Random) -> dict[str, JSON]:
    """Every required argument of a tool and half of the others, each with a value of its schema's type."""
    chosen = (name for name in tool.properties if name in tool.required or rng.random() < 0.5)
    return {name: _value(tool.properties[name], borrowed, rng, MAX_NESTING) for name in chosen}


def _value(schema: JSON, borrowed: Borrowed, rng: random.Random, levels: int) -> JSON:
    if not isinstance(schema, dict):
        return rng.choice(borrowed.by_type["string"])
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind in borrowed.by_type:
        return rng.choice(borrowed.by_type[kind])
    items = range(rng.randint(0, 2) if levels else 0)
    fields = schema.get("properties", {}) if levels else {}
    compound: dict[str, Callable[[], JSON]] = {
        "array": lambda: [_value(schema.get("items", {}), borrowed, rng, levels - 1) for _ in items],
        "object": lambda: {name: _value(field, borrowed, rng, levels - 1) for name, field in fields.items()},
    }
    return compound[kind]() if kind in compound else None
