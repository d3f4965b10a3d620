"""How results and the user's next words are put behind an assistant turn: the ways, best first.

Templates differ in what they render there. Some have a turn for tool results and some drop or refuse it; some
refuse two user turns in a row. `ChatFormat` tries the ways once, in this order, and keeps the first that shows all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from fissile.dialects.base import Dialect
from fissile.tasks import Message

Way = Callable[[Dialect, Sequence[str], Sequence[Message]], list[Message]]
"""(dialect, results, messages) to the turns behind the assistant's."""


def tool_turns(_: Dialect, results: Sequence[str], messages: Sequence[Message]) -> list[Message]:
    """One turn of the role "tool" for each result. Mistral's templates want an id of nine characters on it."""
    turns = [
        {"role": "tool", "content": result, "tool_call_id": f"{index:09d}"} for index, result in enumerate(results)
    ]
    return [*turns, *messages]


def dialect_turns(dialect: Dialect, results: Sequence[str], messages: Sequence[Message]) -> list[Message]:
    """One turn for each result as the dialect writes it."""
    return [*map(dialect.render_result, results), *messages]


def merged_tool_turns(dialect: Dialect, results: Sequence[str], messages: Sequence[Message]) -> list[Message]:
    """As `tool_turns`, with what the user says in a row as one turn."""
    return _merge(tool_turns(dialect, results, messages))


def merged_user_turns(dialect: Dialect, results: Sequence[str], messages: Sequence[Message]) -> list[Message]:
    """Results as the dialect writes them, but as the user's words, and all that the user says in a row as one turn."""
    turns = [{**dialect.render_result(result), "role": "user"} for result in results]
    return _merge([*turns, *messages])


def _merge(turns: Sequence[Message]) -> list[Message]:
    """User turns in a row become one, with a blank line between."""
    merged: list[Message] = []
    for role, group in groupby(turns, key=lambda turn: turn["role"]):
        run = list(group)
        words = {"role": role, "content": "\n\n".join(turn["content"] for turn in run)}
        merged += [words] if role == "user" else run
    return merged


NATIVE_WAYS: tuple[Way, ...] = (tool_turns, merged_tool_turns)
"""For templates that write this dialect's calls and tools themselves; best first."""

DIALECT_WAYS: tuple[Way, ...] = (dialect_turns, merged_user_turns)
"""For every template; best first, and the last one is what none should refuse."""
