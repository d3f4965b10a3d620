"""A user's feedback source, from outside the package: given as an object in Python, and by its name in a recipe."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from examples.documentation import Documentation
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.cli import main
from fissile.config import load_config, parse_config
from fissile.dialects import get_dialect
from fissile.environments import SingleStep
from fissile.errors import ConfigError
from fissile.feedback import Diagnoser, Failure, get_source
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool
from installed import Offer
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama
from tiny_world import make_world

EXAMPLES = Path(__file__).parents[2] / "examples"
SIDE = {"type": "integer", "description": "Its length in metres."}
AREA = Tool("area", "", {"type": "object", "properties": {"side": SIDE}, "required": ["side"]})
TASK = Task("t", ({"role": "user", "content": "A square"},), (AREA,), (ExpectedCall.exactly("area", {"side": 7}),))


def failure(text: str) -> Failure:
    return Failure(TASK, SingleStep().attempt(TASK, text, get_dialect("hermes")))


@pytest.fixture
def installed(offer: Offer) -> None:
    """The example as a user installs it: its own file, and the entry points of its own pyproject.toml."""
    points = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]["entry-points"]["fissile.feedback"]
    offer("documentation", (EXAMPLES / "documentation.py").read_text(), "fissile.feedback", **points)


def test_it_quotes_the_documentation_of_the_blamed_argument():
    wrong = failure('<tool_call>{"name": "area", "arguments": {"side": 4}}</tool_call>')
    assert Documentation().diagnose([wrong]) == ["area: 'side' (integer). Its length in metres."]
    (feedback,) = Diagnoser(Documentation()).diagnose([failure("no call")])
    assert (feedback.source, feedback.fallback) == ("rules", "no_documentation")


def test_it_trains_as_an_object(tmp_path: Path):
    records = []
    trainer = FissionGRPOTrainer(
        tiny_llama(267, max_position_embeddings=2048),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_generations=4,
            max_steps=2,
            max_completion_length=24,
            temperature=2.0,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=squares(8),
        processing_class=tiny_tokenizer(),
        source=Documentation(),
        journal=records.append,
    )
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.method.report()["feedback"]["source"] == "documentation"
    assert any(record["event"] == "intercepted" for record in records)


@pytest.mark.usefixtures("installed")
def test_it_trains_by_its_name_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = make_world(tmp_path, steps=2)
    asked = ["--set", "method.feedback=documentation", "--set", "cold_start.feedback=documentation"]
    monkeypatch.setattr("sys.argv", ["fissile", "train", str(recipe), *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["feedback"]["source"] == "documentation"
    shown = json.loads((tmp_path / "run" / "cold_start" / "feedback.json").read_text(encoding="utf-8"))
    assert shown["source"] == "documentation"


@pytest.mark.usefixtures("installed")
def test_rules_stand_in_for_it_and_are_no_evaluation_then(tmp_path: Path):
    config = load_config(make_world(tmp_path), ["method.feedback=documentation"])
    assert config.trained_with == {"documentation", "rules"}
    with pytest.raises(ConfigError, match=r"Choose one of fixed, rules, .*endpoint, documentation"):
        parse_config({"evaluation": {"feedback": "documentations"}})
    assert get_source("documentation").name == "documentation"
