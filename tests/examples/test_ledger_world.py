"""A user's world, from outside the package: given as an object in Python, and by its name in a recipe."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from examples.ledger import Ledger
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.cli import main
from fissile.config import load_config, parse_config
from fissile.dialects import get_dialect
from fissile.engines import Sampling
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, StubbornPolicy
from fissile.environments.worlds import make_environment
from fissile.errors import ConfigError
from fissile.evaluation import EpisodeRecord, evaluate
from fissile.rollouts import Limits
from fissile.tasks import World, instances, load_jsonl
from installed import Offer
from tiny import tiny_tokenizer
from tiny_models import tiny_llama
from tiny_world import make_world

EXAMPLES = Path(__file__).parents[2] / "examples"
TASKS = load_jsonl(EXAMPLES / "ledger.jsonl", world=World("ledger"))
HERMES = get_dialect("hermes")


@pytest.fixture
def installed(offer: Offer) -> None:
    """The example as a user installs it: its own file, and the entry points of its own pyproject.toml."""
    points = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]["entry-points"]["fissile.worlds"]
    offer("ledger", (EXAMPLES / "ledger.py").read_text(), "fissile.worlds", **points)


def recipe(folder: Path, **changes: object) -> list[str]:
    """Arguments of a run of seconds over the example tasks."""
    make_world(folder, steps=2)
    asked = {"tasks.source": EXAMPLES / "ledger.jsonl", "tasks.world": "ledger", "world.steps_per_turn": 2, **changes}
    told = [part for key, value in asked.items() for part in ("--set", f"{key}={value}")]
    return [str(folder / "recipe.toml"), *told]


@pytest.mark.parametrize(
    ("policy", "right"), [(OraclePolicy(HERMES), 24), (CorruptedOraclePolicy(HERMES), 24), (StubbornPolicy(HERMES), 0)]
)
def test_it_answers_and_judges(policy: Policy, right: int) -> None:
    records: list[EpisodeRecord] = []
    evaluate(policy, TASKS, lambda task: Ledger(), Sampling(), records.append)
    assert sum(record.valid for record in records) == right


def test_it_trains_as_an_object(tmp_path: Path) -> None:
    trainer = FissionGRPOTrainer(
        tiny_llama(267, max_position_embeddings=4096),
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
        train_dataset=[turn for task in TASKS for turn in instances(task)],
        processing_class=tiny_tokenizer(),
        make_environment=lambda task: Ledger(),
        limits=Limits(steps_per_turn=2),
    )
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.usefixtures("installed")
def test_it_trains_by_its_name_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fissile", "train", *recipe(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["steps"] == 2
    assert make_environment(TASKS[0]).snapshot() is None


@pytest.mark.usefixtures("installed")
def test_its_recipe_is_a_recipe() -> None:
    config = load_config(EXAMPLES / "ledger.toml")
    assert config.is_live
    assert config.tasks.world == "ledger"


def test_a_world_that_nobody_offers_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no world 'ledgers'.*bfcl, procedural, python.*fissile\.worlds"):
        parse_config({"tasks": {"source": "tasks.jsonl", "world": "ledgers"}})


def test_a_world_and_tools_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.world.*without tasks\.tools"):
        parse_config({"tasks": {"source": "tasks.jsonl", "world": "python", "tools": "tools.py"}})
