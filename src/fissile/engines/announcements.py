"""What the user says at the beginning of a scripted turn, the tools that it reveals included."""

from __future__ import annotations

from fissile.dialects.base import Dialect
from fissile.tasks import Message, Turn


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
