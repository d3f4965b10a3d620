"""Help texts as they were written: nothing is cut, and no word is broken."""

from __future__ import annotations

import shutil
from typing import Any

from typer.core import TyperGroup

NARROWEST, WIDEST = 80, 110
"""Columns of a help text: on a narrower terminal a line is wrapped by the terminal, and still copies whole."""


class WholeHelp(TyperGroup):
    """A group of commands that lists each with its whole first sentence."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """See click; what it decides about the width holds for the commands inside."""
        columns = shutil.get_terminal_size((NARROWEST, 24)).columns
        extra.setdefault("terminal_width", min(max(columns, NARROWEST), WIDEST))
        return super().make_context(info_name, args, parent, **extra)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """See click."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(10_000)) for name, command in commands if command is not None]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
