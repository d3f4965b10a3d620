"""The mistake that the procedural world invites: a value that is written in another convention than the tool's."""

from __future__ import annotations

import random

from fissile.calls import JSON, ToolCall
from fissile.tasks.procedural.conventions import KINDS
from fissile.tasks.task import Task
from fissile.tools import Tool


def miswritten(task: Task, draw: random.Random) -> list[ToolCall] | None:
    """The right calls with one value in another convention; None where no value has another one."""
    calls = task.oracle_calls()
    choices = [
        (index, name, other)
        for index, call in enumerate(calls)
        for name, value in (call.arguments or {}).items()
        for other in _otherwise(task.tool(call.name or ""), name, value)
    ]
    if not choices:
        return None
    at, changed, value = draw.choice(choices)
    wrong = ToolCall.of(calls[at].name or "", {**(calls[at].arguments or {}), changed: value})
    return [*calls[:at], wrong, *calls[at + 1 :]]


def _otherwise(tool: Tool | None, name: str, value: JSON) -> list[JSON]:
    """A value as the other conventions of its kind write it."""
    assert tool is not None, "the right calls are to tools that the task offers"
    kind = next(kind for kind in KINDS.values() if name in kind.names)
    ways = (way.write(kind.read(value)) for way in kind.conventions)
    return [way for way in ways if way != value]
