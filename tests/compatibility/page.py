"""`docs/compatibility.md`: tables of what works and what is refused. Each row carries the check that proves it.

`FISSILE_WRITE_DOCS=1 pytest tests/compatibility` writes the tables into the page; without it the tests compare.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        what: what a user brings, as it would be searched for.
        verdict: "works" as it is; "converted" to something that works; "refused" with a message.
        note: what happens, or what to use instead; one sentence.
        check: raises where the line is not true.
    """

    what: str
    verdict: Literal["works", "converted", "refused"]
    note: str
    check: Callable[[], None]

    def __str__(self) -> str:
        return self.what


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    cells = [(row.what, row.verdict, row.note) for row in rows]
    lines = ["| what | verdict | what happens |", "| --- | --- | --- |"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)])


def assert_section(name: str, rows: Sequence[Row]) -> None:
    """Compare the page's section `name` with the rows, or write it."""
    begin, end = f"<!-- table: {name} -->", f"<!-- /table: {name} -->"
    text = PAGE.read_text(encoding="utf-8")
    section = re.compile(re.escape(begin) + r"\n(.*?)\n?" + re.escape(end), re.DOTALL)
    assert section.search(text), f"docs/compatibility.md has no section '{name}'"
    if os.environ.get("FISSILE_WRITE_DOCS"):
        written = section.sub(lambda _: f"{begin}\n{table(rows)}\n{end}", text)
        PAGE.write_text(written, encoding="utf-8")
        return
    (found,) = section.findall(text)
    assert found == table(rows), "run FISSILE_WRITE_DOCS=1 pytest tests/compatibility"
