"""A method outside the package, given as an object and by its name in a recipe."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from test_method_hooks import inputs_of, trainer

from fissile.config import load_config, parse_config
from fissile.errors import ConfigError
from fissile.methods import get_method
from fissile.training.progress import Progress
from fissile.training.run import Run
from fissile.training.run_folder import RunFolder
from offered import EXAMPLES, offer_examples
from tiny_world import make_world


def test_it_is_at_most_thirty_lines() -> None:
    assert len((EXAMPLES / "max_rl.py").read_text(encoding="utf-8").splitlines()) <= 30


def test_given_as_an_object_its_advantages_are_those_of_the_paper(tmp_path: Path) -> None:
    method = runpy.run_path(str(EXAMPLES / "max_rl.py"))["MaxRL"](floor=0.01)
    made = trainer(tmp_path, method, 1)
    inputs = inputs_of(made)
    rewards = [entry.total for entry in made._scored]
    for row, reward in enumerate(rewards):
        group = rewards[row // 4 * 4 : row // 4 * 4 + 4]
        mean = sum(group) / 4
        values = inputs["advantages"][row]
        assert values[0].item() == pytest.approx((reward - mean) / mean, abs=1e-6)


def test_by_its_name_a_recipe_trains_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_examples(tmp_path, monkeypatch)
    recipe = make_world(tmp_path, steps=4)
    settings = ["method.name=max_rl", "method.floor=0.5", "cold_start.examples=0", "evaluation.base=false"]
    config = load_config(recipe, [*settings, f"output={tmp_path / 'run'}"])
    assert config.method.model_dump() == {"name": "max_rl", "floor": 0.5}
    folder = RunFolder(tmp_path / "run")
    folder.enter(config, resume=False)
    summary: Any = Run(config, folder, Progress()).execute()
    assert (summary["method"], summary["steps"], list(summary["stages"])) == ("max_rl", 4, ["max_rl"])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["method"]["floor"] == 0.5
    assert "`max_rl`" in (tmp_path / "run" / "adapter" / "README.md").read_text(encoding="utf-8")


def test_its_recipe_is_valid_and_its_settings_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_examples(tmp_path, monkeypatch)
    monkeypatch.chdir(EXAMPLES.parent)
    assert load_config("examples/max_rl.toml").method.name == get_method("max_rl").name
    with pytest.raises(ConfigError, match=r"method\.floor is a setting of max_rl, not of grpo"):
        parse_config({"method": {"name": "grpo", "floor": 1}})
    with pytest.raises(ConfigError, match=r"method\.floor: Input should be greater than 0 \(got -1\)"):
        parse_config({"method": {"name": "max_rl", "floor": -1}})
