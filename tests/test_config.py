from pathlib import Path

import pytest

from fissile.config import RunConfig, load_config, parse_config
from fissile.errors import ConfigError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_how_to_run_it(recipe: Path) -> None:
    load_config(recipe)
    head = recipe.read_text(encoding="utf-8").split("\n\n")[0]
    for word in ("Purpose:", "Hardware:", "Minutes:", "Command:"):
        assert word in head


def test_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"training": {"learning_rat": 1e-4}})
    assert "training.learning_rat: unknown key" in str(error.value)
    assert "learning_rate" in str(error.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"training": {"group_size": 1}, "model": {"dtype": "int3"}})
    assert "training.group_size" in str(error.value)
    assert "(got 1)" in str(error.value)
    assert "model.dtype" in str(error.value)


def test_recovery_groups_must_fill_a_step() -> None:
    with pytest.raises(ConfigError, match=r"fission.samples = 5 does not divide .* = 32"):
        parse_config({"fission": {"samples": 5}})


def test_checkpoints_must_not_split_the_updates_on_one_batch() -> None:
    with pytest.raises(ConfigError, match="save_steps = 3 must be a multiple of iterations = 2"):
        parse_config({"training": {"iterations": 2, "save_steps": 3}})


def test_evaluation_must_not_use_the_feedback_that_was_trained_with() -> None:
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config({"evaluation": {"feedback": "rules"}})
    assert parse_config({"method": "grpo", "evaluation": {"feedback": "rules"}}).method == "grpo"
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config({"method": "grpo", "cold_start": {"recovery_share": 0.5}, "evaluation": {"feedback": "rules"}})


@pytest.mark.parametrize(
    ("override", "expected"),
    [("training.steps=7", 7), ("training.steps = 8", 8)],
)
def test_overrides_are_toml(override: str, expected: int) -> None:
    assert load_config(None, [override]).training.steps == expected


def test_a_bare_word_is_a_string() -> None:
    assert load_config(None, ["method=grpo"]).method == "grpo"


@pytest.mark.parametrize("override", ["training.steps", "=3", "method.steps=3"])
def test_a_broken_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_config(None, ["method=grpo", override])


def test_a_missing_or_broken_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no config file"):
        load_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 3", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_config(broken)


def test_the_fingerprint_ignores_the_folder_and_the_loggers_alone() -> None:
    base = RunConfig().fingerprint
    assert load_config(None, ["output=elsewhere", "training.report_to=['wandb']"]).fingerprint == base
    assert load_config(None, ["seed=1"]).fingerprint != base
