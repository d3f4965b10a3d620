"""A whole run with everything that counts, ends and measures it on the way, resumed and compared."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from fissile.config import load_config
from fissile.reports.run_record import read_run
from fissile.training.progress import Progress
from fissile.training.run import Run
from fissile.training.run_folder import RunFolder
from fissile.training.step_evaluations import StepEvaluations
from tiny_world import make_world

SETTINGS = (
    "method.name=offline_grpo",
    "method.collect_tasks=6",
    "cold_start.examples=0",
    "evaluation.base=false",
    "method.refills=1",
    "training.rollouts=56",  # 24 collected, at least 8 a step: not more than four steps of the six
)
TIMES = ("step_time", "seconds", "runtime", "per_second")


def run(recipe: Path, folder: Path, *settings: str) -> Path:
    config = load_config(recipe, [*SETTINGS, f"output={folder}", *settings])
    made = RunFolder(folder)
    made.enter(config, resume=folder.exists())
    Run(config, made, Progress()).execute()
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in record.items() if not any(t in key for t in TIMES)} for record in records]


def left(folder: Path) -> dict[str, Any]:
    """What two equal runs share."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    evaluations = {file.name: file.read_bytes() for file in (folder / "evaluations").iterdir()}
    names = ("metrics.jsonl", "corrections.jsonl")
    return {name: lines(folder / name) for name in names} | {"training": training, "evaluations": evaluations}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    return run(make_world(folder), folder / "run", "evaluation.every=1", "evaluation.every_tasks=2")


def test_spending_and_the_end_are_told(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    steps = summary["steps"]
    assert list(summary["stages"]) == ["offline"]
    assert (summary["ended_by"], summary["stopped"]) == ("rollouts", "")
    assert 1 < steps <= 4
    assert summary["spent"]["rollouts"] >= 56
    last = lines(finished / "metrics.jsonl")[-1]
    assert {name: last[f"spent/{name}"] for name in summary["spent"]} == summary["spent"]
    assert {"offline", "evaluate_offline", "evaluate_steps"} == set(summary["seconds"])


def test_evaluations_on_the_way_are_of_fewer_tasks_and_no_stages_of_the_page(finished: Path) -> None:
    folder = RunFolder(finished)
    steps = len(lines(folder.metrics))
    for step in range(1, steps + 1):
        assert json.loads(folder.evaluation(f"step_{step}").read_text(encoding="utf-8"))["n_tasks"] == 2
        assert folder.episodes(f"step_{step}").exists()
    record = read_run(finished)
    assert [stage.stage for stage in record.stages] == ["offline"]
    assert not record.problems


def test_a_training_does_not_notice_its_evaluations(finished: Path, tmp_path: Path) -> None:
    plain = left(run(finished.parent / "recipe.toml", tmp_path / "plain"))
    measured = left(finished)
    for name in ("metrics.jsonl", "corrections.jsonl", "training"):
        assert plain[name] == measured[name]
    weights = "adapter/adapter_model.safetensors"
    assert (tmp_path / "plain" / weights).read_bytes() == (finished / weights).read_bytes()


def test_seconds_are_kept_at_every_checkpoint(tmp_path: Path) -> None:
    """What a run that is killed after a checkpoint has taken is not lost: here it looks at its own folder."""
    kept: list[dict[str, float]] = []

    class Looking(Progress):
        def step(self, name: str) -> Any:
            return lambda step, steps, logs: kept.append(json.loads(meter.read_text()) if meter.exists() else {})

    recipe = make_world(tmp_path, steps=3)
    config = load_config(recipe, [*SETTINGS, "evaluation.every=1", "evaluation.every_tasks=2"])
    folder = RunFolder(tmp_path / "run")
    meter = folder.meter
    folder.enter(config, resume=False)
    Run(config, folder, Looking()).execute()
    assert not kept[1], "before the checkpoint of step 2"
    seconds = kept[2]["seconds"]
    assert 0 < seconds["offline"] < json.loads(meter.read_text())["seconds"]["offline"]
    assert seconds["evaluate_steps"] > 0


def test_an_evaluation_leaves_the_random_numbers_as_they_were(tmp_path: Path) -> None:
    drawn: list[tuple[float, float, float]] = []

    def draw(step: int = 0) -> tuple[float, float, float]:
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
        return drawn[-1]

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = draw()
    seed()
    made = StepEvaluations(2, draw)
    for step in (1, 2):
        made.on_step_end(TrainingArguments(str(tmp_path)), TrainerState(global_step=step), TrainerControl())
    assert len(drawn) == 2, "only after every second step"
    assert draw() == expected


def test_a_resumed_run_collects_and_evaluates_nothing_twice(finished: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(finished, cut)
    for name in ("adapter", "summary.json", "training.json"):
        target = cut / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    for checkpoint in (cut / "checkpoints").glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-2":
            shutil.rmtree(checkpoint)
    (cut / "evaluations" / "offline.json").unlink()
    first = (cut / "evaluations" / "step_1.json").stat().st_mtime_ns
    run(finished.parent / "recipe.toml", cut, "evaluation.every=1", "evaluation.every_tasks=2")
    assert left(cut) == left(finished)
    assert (cut / "evaluations" / "step_1.json").stat().st_mtime_ns == first
