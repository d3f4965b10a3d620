"""How messages are put to a chat template that cannot show them as they are: the arrangements, best first.

Templates differ in what they render. Some have no system message and some refuse one; some have a turn for tool results
and some drop or refuse it; some want user and assistant to alternate. `ChatFormat` tries the arrangements once for each
sequence of roles, in this order, and keeps the first under which the template shows all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from fissile.calls import ToolCall
from fissile.dialects.base import Dialect
from fissile.tasks import Message

Results = Literal["tool", "dialect", "user"]
"""Tool results as turns of the role "tool", as the dialect writes them, or as it writes them but in the user's turn."""


@dataclass(frozen=True)
class Arrangement:
    """One way to put messages."""

    results: Results  # who writes tool results
    folded: bool = False  # what the system says stands before the user's next words, in one turn
    merged: bool = False  # what one side says in a row is one turn, with a blank line between

    def __call__(self, dialect: Dialect, messages: Sequence[Message]) -> list[Message]:
        """The messages as they go to the template: text only, calls written by the dialect."""
        turns: list[Message] = []
        for _, run in groupby(messages, key=lambda message: bool(message["role"] == "tool")):
            turns += (self._written(dialect, message, place) for place, message in enumerate(run))
        turns = list(_folded(turns)) if self.folded else turns
        return list(_merged(turns)) if self.merged else turns

    def _written(self, dialect: Dialect, message: Message, place: int) -> Message:
        """A message as text. Mistral's templates want an id of nine characters on a result."""
        if message["role"] != "tool":
            return {"role": message["role"], "content": with_calls(message, dialect)}
        if self.results == "tool":
            named = {"name": message["name"]} if "name" in message else {}
            return {"role": "tool", "content": message["content"], "tool_call_id": f"{place:09d}", **named}
        result = dialect.render_result(message["content"])
        return {**result, "role": "user"} if self.results == "user" else result


def with_calls(message: Message, dialect: Dialect) -> str:
    """The content of a message, its calls behind it as the dialect writes them."""
    calls = dialect.render_calls(calls_of(message))
    return "\n".join(filter(None, [message["content"], calls])) if calls else message["content"]


def calls_of(message: Message) -> list[ToolCall]:
    """The calls that a message of a task makes."""
    functions: list[dict[str, Any]] = [call["function"] for call in message.get("tool_calls", ())]
    return [ToolCall.of(function["name"], json.loads(function["arguments"])) for function in functions]


def _folded(turns: Sequence[Message]) -> Iterator[Message]:
    """What the system says goes to the user's next turn, or is one where none follows."""
    said: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            said += [turn["content"]] if turn["content"] else []
        elif turn["role"] == "user" and said:
            yield {**turn, "content": "\n\n".join([*said, turn["content"]])}
            said = []
        else:
            yield turn
    if said:
        yield {"role": "user", "content": "\n\n".join(said)}


def _merged(turns: Sequence[Message]) -> Iterator[Message]:
    for role, group in groupby(turns, key=lambda turn: turn["role"]):
        run = list(group)
        if role in ("user", "assistant"):
            yield {"role": role, "content": "\n\n".join(turn["content"] for turn in run)}
        else:
            yield from run


NATIVE = tuple(Arrangement("tool", folded, merged) for folded in (False, True) for merged in (False, True))
"""For templates that write this dialect's calls and tools themselves."""

BY_DIALECT = (
    Arrangement("dialect"),
    Arrangement("user", merged=True),
    Arrangement("dialect", folded=True),
    Arrangement("user", folded=True, merged=True),
)
"""For every template."""
