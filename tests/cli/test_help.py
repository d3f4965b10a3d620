"""Every help text and every description of a key is shown as it is written, at any width."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fissile.cli import app, main
from fissile.cli.show_config import SCHEMAS, reference

WIDTHS = ["40", "80", "200"]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the tree, with the words that call it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def shown(*arguments: str, columns: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": columns, "TERMINAL_WIDTH": columns})
    assert result.exit_code == 0, result.output
    return result.output


def folded(text: str) -> str:
    return " ".join(text.split())


def test_the_tree_is_walked() -> None:
    assert {(), ("train",), ("eval", "bfcl"), ("lab", "run"), ("simulate", "merge")} <= set(COMMANDS)


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_help_text_is_what_the_source_says(path: tuple[str, ...], columns: str) -> None:
    command, text = COMMANDS[path], shown(*path, "--help", columns=columns)
    assert folded(inspect.cleandoc(command.help)) in folded(text)
    for parameter in command.params:
        assert folded(parameter.help or "") in folded(text)
        for option in (*parameter.opts, *parameter.secondary_opts) if parameter.param_type_name == "option" else ():
            assert re.search(rf"{re.escape(option)}\b", text)
    for name, inner in getattr(command, "commands", {}).items():
        sentence = re.split(r"(?<=\.)\s", folded(inspect.cleandoc(inner.help)))[0].rstrip(".")
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
        assert sentence in folded(text)


@pytest.mark.parametrize("columns", [*WIDTHS, None])
def test_a_key_is_whole_and_its_meaning_is_what_the_source_says(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    result = CliRunner().invoke(app, ["config"], env={"COLUMNS": columns} if columns else {})
    words = re.sub(r"[│┃]", " ", result.output).split()
    text = " ".join(words)
    for schema in SCHEMAS.values():
        for key, default, meaning in reference(schema):
            assert key in words
            assert default.split()[0] in words
            assert columns == "200" or columns is None or folded(meaning) in text  # in a table, cells share a line
            assert all(word in words for word in meaning.split())


def test_what_a_user_wrote_is_no_markup_in_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fissile", "train", "[bold]runs[/bold]/[x] :bug:.toml"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "no config file '[bold]runs[/bold]/[x] :bug:.toml'" in capsys.readouterr().err
