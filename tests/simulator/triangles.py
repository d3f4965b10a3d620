"""Failed calls about the area of a triangle."""

from __future__ import annotations

from typing import Any

from fissile.calls import Attempt, ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Failure
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

AREA = Tool(
    "calculate_area",
    "Area of a triangle.",
    {
        "type": "object",
        "properties": {
            "base": {"type": "integer", "minimum": 1},
            "height": {"type": "integer", "description": "The height, from 1 to 90."},
            "unit": {"type": "string", "enum": ["cm", "m", "inch"]},
            "labels": {"type": "array", "items": {"type": "string"}},
            "owner": {"type": "string", "pattern": "^[A-Z]| "},
        },
        "required": ["base", "height"],
    },
)
LENGTH = Tool("calculate_length", "", {"type": "object", "properties": {"side": {"type": "number"}}})
TASK = Task(
    "t",
    ({"role": "user", "content": "Area of a triangle of base 10 and height 5 in cm, labelled a and b, for Ann Lee"},),
    (AREA, LENGTH),
    (
        ExpectedCall(
            "calculate_area",
            {"base": [10], "height": [5], "unit": ["cm"], "labels": [["a", "b"]], "owner": ["Ann Lee"]},
            frozenset({"labels", "owner"}),
        ),
    ),
)
RIGHT = {"base": 10, "height": 5, "unit": "cm"}


def failure(text: str) -> Failure:
    return Failure(TASK, SingleStep().attempt(TASK, text, HermesDialect()))


def called(arguments: dict[str, Any], name: str = "calculate_area") -> Failure:
    return failure(HermesDialect().render_calls([ToolCall(name, arguments, "")]))


def in_a_world(call: ToolCall, silent: bool = False) -> Failure:
    error = (
        ToolError(ErrorKind.WRONG_STATE, "other state")
        if silent
        else ToolError(ErrorKind.DOMAIN_ERROR, "no such triangle", 0, call.name)
    )
    return Failure(TASK, Attempt("", (call,), (error,)), answers=('{"error": "no such triangle"}',), silent=silent)
