"""Where the commands write: text as it is, and tables of which nothing is ever cut.

What a user or a model wrote may hold brackets, colons and anything else: rich's markup and emoji codes are off, and
colours are given as styles. A table that has no room for its longest words is written as one block a row.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement
from rich.rule import Rule
from rich.table import Column, Table
from rich.text import Text

PIPE_COLUMNS = 100_000
"""A file and a pipe have no width: who reads them wraps them."""

COMFORT = 24
"""A column of prose that is narrower than this is no pleasure to read."""

READ_AT_ONCE = 80
"""A line across the page is not longer than this."""

Part = str | tuple[str, str]
"""A text, or (text, style)."""


class PlainConsole(Console):
    """A rich console that takes text literally, and cuts nothing.

    Args:
        file: where to; stdout by default.
        stderr: write to stderr instead.
        options: of rich's console.
    """

    def __init__(self, file: IO[str] | None = None, stderr: bool = False, **options: Any) -> None:
        stream = file or (sys.stderr if stderr else sys.stdout)
        has_width = "width" in options or "COLUMNS" in os.environ or options.get("force_terminal") or stream.isatty()
        if not has_width:
            options["width"] = PIPE_COLUMNS
        super().__init__(file=file, stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    def say(self, *parts: Part) -> None:
        """One line, however long: the terminal wraps it, so that it can be copied whole."""
        self.print(Text.assemble(*parts), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table whose cells are texts; as blocks where it has no room for whole words."""
        widths = _widths(table, self)
        if widths is not None:
            for column, width in zip(table.columns, widths, strict=True):
                column.width = width
            self.print(table)
            return
        if table.title:
            self.print(_text(table.title), style="italic", soft_wrap=True)
        for row in zip(*(list(column.cells) for column in table.columns), strict=True):
            self._block(table.columns, [_text(cell) for cell in row])

    def _block(self, columns: Sequence[Column], cells: Sequence[Text]) -> None:
        """One row: its first cell, then each other one behind the name of its column."""
        self.print(cells[0], style="bold", soft_wrap=True)
        for column, cell in zip(columns[1:], cells[1:], strict=True):
            name = _text(column.header).plain
            if cell.plain:
                self.print(Text.assemble("  ", (f"{name}: " if name else "", "dim"), cell), soft_wrap=True)

    def rule(self, title: Any = "", **options: Any) -> None:
        """See rich; no longer than what is read at once, and a title that is longer stands alone."""
        text, width = _text(title), min(self.width, READ_AT_ONCE)
        if text.cell_len + 4 > width:
            self.print(text, soft_wrap=True)
        else:
            self.print(Rule(text, **options), width=width)


def _widths(table: Table, console: Console) -> list[int] | None:
    """A width for each column that leaves every word whole, and prose room enough; None where there is no such."""
    unlimited = console.options.update(width=PIPE_COLUMNS)
    needed, wanted = [], []
    for column in table.columns:
        cells = [Measurement.get(console, unlimited, _text(cell)) for cell in (column.header, *column.cells)]
        longest, word = max(cell.maximum for cell in cells), max(cell.minimum for cell in cells)
        wanted.append(longest)
        needed.append(longest if column.no_wrap else max(word, min(longest, COMFORT)))
    spare = console.width - sum(needed) - 3 * len(needed) - 1  # borders and padding
    if spare < 0:
        return None
    widths = dict(enumerate(needed))
    by_lack = sorted(widths, key=lambda index: wanted[index] - needed[index])
    for left, index in zip(range(len(by_lack), 0, -1), by_lack, strict=True):  # who lacks least is filled first
        given = min(wanted[index] - needed[index], spare // left)
        widths[index] += given
        spare -= given
    return list(widths.values())


def _text(cell: Any) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))
