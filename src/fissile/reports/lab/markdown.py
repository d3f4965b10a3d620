"""Markdown from text that may hold anything: nothing of it is markup on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fissile.reports.wording import shortened, visible

MAX_CHARACTERS = 300
"""A longer text is cut."""

_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")


def plain_text(text: str) -> str:
    """One line that shows `text` as it is, in a table cell too."""
    line = shortened(" ".join(str(visible(text)).split()), MAX_CHARACTERS)
    escaped = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", escaped)


def code_block(text: str) -> str:
    """A fenced block; the fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{visible(text)}\n{fence}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; all columns but the first are right-aligned."""
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
