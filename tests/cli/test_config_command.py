"""`fissile config` lists every key."""

from pydantic import BaseModel
from typer.testing import CliRunner

from fissile.cli import app
from fissile.cli.show_config import SCHEMAS, reference


def test_the_keys_of_a_laboratory_are_listed() -> None:
    keys = {key: (default, meaning) for key, default, meaning in reference(SCHEMAS["fissile lab run"])}
    assert {"seeds", "run", "simulator", "start.layers", "start.procedural.seed", "arms.<name>.match"} <= set(keys)
    assert keys["seeds"][0] == "8"
    assert keys["run"][0] == "{}"
    assert "fissile simulate" in keys["simulator"][1]


def test_every_key_of_every_recipe_says_what_it_means() -> None:
    for command, schema in SCHEMAS.items():
        assert issubclass(schema, BaseModel)
        assert not [key for key, _, meaning in reference(schema) if not meaning], command


def test_the_command_shows_every_recipe() -> None:
    result = CliRunner().invoke(app, ["config"], catch_exceptions=False)
    assert result.exit_code == 0
    for command in SCHEMAS:
        assert f"recipe keys of {command}" in result.output
