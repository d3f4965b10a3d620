"""Which tools a dialect can call: what it would write of them must be read back as it was meant."""

from __future__ import annotations

from collections.abc import Iterable

from fissile.calls import ToolCall
from fissile.dialects.base import Dialect
from fissile.dialects.dialect_names import DIALECTS
from fissile.errors import DataError
from fissile.tools import Tool


def can_call(dialect: Dialect, name: str, arguments: tuple[str, ...] = ()) -> bool:
    """Whether a call of that tool with these arguments survives being written and read."""
    call = ToolCall(name, dict.fromkeys(arguments, "x"), "")
    read = dialect.parse(dialect.render_calls([call]), {name}).calls
    return [(found.name, found.arguments) for found in read] == [(name, call.arguments)]


def refuse_unnameable(dialect: Dialect, tools: Iterable[Tool]) -> None:
    """Raise where a tool cannot be called in a dialect: no response could ever be right.

    Raises:
        DataError: it names the first such tool, the dialect, and those of our own that can call it.
    """
    for tool in tools:
        arguments = tuple(tool.properties)
        if can_call(dialect, tool.name, arguments):
            continue
        named = can_call(dialect, tool.name)
        trouble = next((name for name in arguments if not can_call(dialect, tool.name, (name,))), "") if named else ""
        subject = f"with its argument '{trouble}' " if trouble else ""
        others = map(DIALECTS.made, DIALECTS.own)
        able = ", ".join(dict.fromkeys(one.name for one in others if can_call(one, tool.name, arguments)))
        choice = f"Set model.dialect to one that can ({able}), or rename" if able else "Rename"
        raise DataError(
            f"The tool '{tool.name}' cannot be called {subject}in the dialect '{dialect.name}': what would be written "
            f"is not read back as that call. {choice} {'the argument' if trouble else 'the tool'}."
        )
