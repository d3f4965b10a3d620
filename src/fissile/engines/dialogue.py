"""Where the scripted turns lie in a dialogue, and what the user says at the beginning of one."""

from __future__ import annotations

from fissile.corrections.context import Context, Exchange, current_turn
from fissile.dialects.base import Dialect
from fissile.tasks import Message, Turn


def exchanges(context: Context) -> tuple[Exchange, ...]:
    """What was said since the task's first messages: the dialogue, or the failed attempts where it was left out."""
    if context.dialogue:
        return context.dialogue
    return tuple(
        Exchange(turn.attempt.text, turn.attempt.calls, (turn.feedback,), failed=True) for turn in context.history
    )


def current_exchanges(context: Context) -> tuple[Exchange, ...]:
    """The exchanges of the scripted turn at hand, oldest first."""
    return current_turn(exchanges(context))


def offered_names(context: Context) -> frozenset[str]:
    """Names of the tools that are offered in the turn at hand."""
    return frozenset(tool.name for tool in context.task.at_turn(context.turn).tools)


def announced(turn: Turn, dialect: Dialect) -> tuple[Message, ...]:
    """The messages of a turn, the tools that it reveals written before the first one.

    A turn that reveals tools without a word becomes a user message of its own.
    """
    if not turn.revealed:
        return turn.messages
    text = dialect.announce(turn.revealed)
    if not turn.messages:
        return ({"role": "user", "content": text},)
    first, *rest = turn.messages
    return ({**first, "content": f"{text}\n\n{first['content']}"}, *rest)
