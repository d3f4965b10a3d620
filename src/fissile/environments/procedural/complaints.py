"""What is wrong with the arguments of a call, in the words of the procedural world.

What a value should look like is said from the schema alone: a choice by its options, a pattern by its shape
("00.00"). So a policy hears from the world what the rules could tell it too, in other sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from fissile.calls import JSON, shorten
from fissile.errors import ErrorKind, ToolError
from fissile.tools import Tool

MAX_TEXT = 80
"""Characters of a value; what the tasks ask for has 7 at most."""

MAX_NUMBER = 10**9
"""What the tasks ask for is below 100."""


def complaints(tool: Tool, arguments: dict[str, JSON]) -> Iterator[ToolError]:
    """Typed errors of a call's arguments, one for each argument; none where they are valid.

    The kinds are those of `Tool.validate`. Values that are far too large are refused too.
    """
    told: set[str | None] = {name for name in tool.properties if _oversized(arguments.get(name))}
    for name in filter(told.__contains__, tool.properties):
        message = f"{name} of {tool.name} is far too large."
        yield ToolError(ErrorKind.WRONG_VALUE, message, tool=tool.name, argument=name)
    for error in tool.validate({name: _shallow(value) for name, value in arguments.items()}):
        if error.argument in told:  # a value can violate its type and its pattern
            continue
        told.add(error.argument)
        name = shorten(error.argument or "argument without a name")
        wanted = described(tool.properties.get(error.argument or "", {}))
        yield replace(error, message=_COMPLAINTS[error.kind].format(tool=tool.name, name=name, wanted=wanted))


_COMPLAINTS = {
    ErrorKind.MISSING_ARGUMENT: "{tool} does not work without {name}: {wanted}.",
    ErrorKind.UNEXPECTED_ARGUMENT: "{tool} knows no {name}.",
    ErrorKind.WRONG_TYPE: "{name} of {tool} has to be {wanted}.",
    ErrorKind.WRONG_VALUE: "{name} of {tool} has to be {wanted}.",
    ErrorKind.TIMEOUT: "{name} of {tool} cannot be checked in time.",
}


def described(schema: dict[str, JSON]) -> str:
    """What a value must be, in plain words; only what the schema says."""
    match schema:
        case {"enum": list(options)}:
            return " or ".join(map(str, options))
        case {"pattern": str(pattern)}:
            return f'text like "{shape(pattern)}"'
        case {"type": "integer", "minimum": least}:
            return f"a whole number from {least} up, without quotes"
        case _:
            return _TYPES.get(str(schema.get("type")), "something else")


_TYPES = {"string": "text", "boolean": "true or false, without quotes", "integer": "a whole number, without quotes"}


def shape(pattern: str) -> str:
    """An example of what a pattern matches: 0 for a digit, A and a for letters, "00.00" for a day.

    Knows classes of characters, counts and "+", which is all that the conventions use.
    """
    text = pattern.removeprefix("^").removesuffix("$")
    text = re.sub(r"\[(.)[^\]]*\]", r"\1", text)
    text = re.sub(r"(.)\{(\d+)\}", lambda letter: letter[1] * int(letter[2]), text)
    return re.sub(r"(.)\+", r"\1\1", text)


def _oversized(value: JSON) -> bool:
    if isinstance(value, str):
        return len(value) > MAX_TEXT
    return isinstance(value, int | float) and abs(value) > MAX_NUMBER


def _shallow(value: JSON) -> JSON:
    """The value, or a small one of its type: jsonschema writes out what it objects to, however large or deep."""
    if _oversized(value) or isinstance(value, list | dict):
        return type(value)()
    return value
