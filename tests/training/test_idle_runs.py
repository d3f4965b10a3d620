"""A run that can make no update is refused before it starts, and one that made none is no success, by command too."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import typer.testing
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from fissile.cli import app
from fissile.config import load_config
from fissile.dialects import ChatFormat, HermesDialect
from fissile.errors import InputError, RunError
from fissile.training.callbacks import LearningWatch
from fissile.training.course import make_course
from fissile.training.folder import RunFolder
from fissile.training.progress import Progress
from fissile.training.run import Run
from fissile.training.updates import Learning
from tiny import tiny_tokenizer
from tiny_world import make_world


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.prompts_per_step=50", r"prompts_per_step = 50 different tasks, and \d+ to train on are left of 24"),
        ("tasks.max_prompt_tokens=16", "No training task is left of 24"),
        ("training.rollouts=7", "training.rollouts = 7 is less than one step samples"),
    ],
)
def test_what_makes_no_update_is_refused_before_anything_is_computed(
    tmp_path: Path, override: str, message: str
) -> None:
    chat = ChatFormat(tiny_tokenizer(), HermesDialect())
    with pytest.raises(InputError, match=message):
        make_course(load_config(make_world(tmp_path), [override]), chat, None)


def test_a_single_step_within_the_warm_up_is_refused(tmp_path: Path) -> None:
    chat = ChatFormat(tiny_tokenizer(), HermesDialect())
    with pytest.raises(InputError, match="warmup_steps = 0"):
        make_course(load_config(make_world(tmp_path, 1), ["training.warmup_steps=1"]), chat, None)


def test_a_recipe_without_training_is_refused_by_the_command(tmp_path: Path) -> None:
    recipe = make_world(tmp_path, 0)
    outcome = typer.testing.CliRunner().invoke(app, ["train", str(recipe), "--set", "cold_start.examples=0"])
    assert isinstance(outcome.exception, InputError)
    assert "fissile eval" in str(outcome.exception)
    assert not (tmp_path / "run").exists()


def test_a_run_that_learned_nothing_leaves_no_adapter_and_no_summary_even_when_resumed(tmp_path: Path) -> None:
    options = ["training.max_new_tokens=8", "training.save_steps=1", "cold_start.examples=0", "evaluation.base=false"]
    config = load_config(make_world(tmp_path, 2), options)  # every response is cut: all rewards are the same
    for _ in range(2):
        with pytest.raises(RunError, match="No update was made"):
            Run(config, RunFolder(tmp_path / "run"), Progress(Console(quiet=True))).execute()
        assert (tmp_path / "run" / "metrics.jsonl").exists()
        assert not RunFolder(tmp_path / "run").adapter.exists()
        assert not RunFolder(tmp_path / "run").summary.exists()


def test_the_stop_of_a_run_tells_what_was_lost_from_what_was_silent() -> None:
    learning = Learning()
    batch = {"completion_mask": torch.ones(4, 1), "advantages": torch.zeros(4)}
    learning.count(batch, ["", "", "", ""])
    watch = LearningWatch(1, lambda: 1, lambda: learning.quiet_losses)
    assert "Raise training.temperature" in stopped(watch)
    learning.count(batch, ["out_of_memory: No memory for 64 rows."] * 4)
    told = stopped(watch)
    assert "4 of the 8 rollouts were lost to the engine or the world: out_of_memory: No memory for 64 rows. Me" in told
    learning.count({**batch, "advantages": torch.ones(4)}, [""] * 4)
    assert learning.quiet_losses == ""
    assert Learning(**asdict(learning)) == learning


def stopped(watch: LearningWatch) -> str:
    watch.on_step_end(TrainingArguments(use_cpu=True), TrainerState(), TrainerControl())
    return watch.reason
