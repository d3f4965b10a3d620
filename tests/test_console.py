"""Nothing that is written is markup, and no table cuts what somebody may want to copy."""

from __future__ import annotations

import io

import pytest
from rich.table import Column, Table

from fissile.console import PlainConsole

WORDS = ["[bold]tasks/[x]/:bug:.jsonl", "runs/a-very/long/path/of/a/run/folder/episodes.jsonl", "multi_turn_base_17"]
PROSE = "what it means, at some length, with a list[int] and a [link=x]word[/link] in it"


def written(width: int | None, *cells: str) -> str:
    file = io.StringIO()
    console = PlainConsole(file) if width is None else PlainConsole(file, width=width)
    table = Table(Column("key", no_wrap=True), "default", "meaning", title="[title] of :smile:", title_justify="left")
    for cell in cells:
        table.add_row(cell, cell, PROSE)
    console.table(table)
    return file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200, None])
def test_a_table_has_every_word_whole_at_any_width(width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = written(width, *WORDS)
    for word in (*WORDS, *PROSE.split()):
        assert text.count(word) >= 2 or word in PROSE, word
        assert word in text
    assert "[title] of :smile:" in " ".join(text.split())
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_that_fits_is_a_table_within_its_width(width: int) -> None:
    lines = written(width, "seed", "training.steps").splitlines()
    assert any("┃" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_pipe_has_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert all(sum(word in line for word in (name, PROSE)) == 2 for name in WORDS for line in _rows(None, name))


def _rows(width: int | None, name: str) -> list[str]:
    return [line for line in written(width, *WORDS).splitlines() if name in line]


def test_a_line_and_a_title_are_what_was_given() -> None:
    file = io.StringIO()
    console = PlainConsole(file, width=30)
    console.say("runs/[red]x[/red]/", ("[bold]:smile:", "bold"), " and a good deal more than thirty columns")
    console.print("[dim]1[/dim] :warning:")
    console.rule("[b]turn 2[/b]", align="left")
    first, second, third = file.getvalue().splitlines()
    assert first == "runs/[red]x[/red]/[bold]:smile: and a good deal more than thirty columns"
    assert second == "[dim]1[/dim] :warning:"
    assert third.startswith("[b]turn 2[/b] ─")
