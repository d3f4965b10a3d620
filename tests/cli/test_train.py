"""`fissile train` and `fissile eval` as a user runs them: whole runs of a tiny model, killed and resumed."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoTokenizer

from fissile.training.progress import HEADLINE, ratio_text
from tiny_models import tiny_llama
from tiny_world import make_world

TIMES = ("step_time", "feedback/seconds", "train_runtime", "runtime", "per_second")
"""Parts of log keys that tell seconds, which no two runs share."""


def fissile(*arguments: object, wait: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from fissile.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if wait:
        process.wait(timeout=300)
    return process


def succeed(*arguments: object) -> str:
    process = fissile(*arguments)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.returncode == 0, output
    return output


def fail(*arguments: object) -> str:
    process = fissile(*arguments)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.returncode == 2, output
    assert "Traceback" not in output
    return " ".join(output.split())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def comparable(run: Path) -> dict[str, Any]:
    """Everything that a run leaves and that two equal runs share."""
    metrics = [
        {key: value for key, value in record.items() if not any(part in key for part in TIMES)}
        for record in lines(run / "metrics.jsonl")
    ]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    for key in ("seconds", "peak_memory_bytes"):
        summary.pop(key)
    return {"metrics": metrics, "corrections": lines(run / "corrections.jsonl"), "summary": summary}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    output = succeed("train", make_world(folder))
    assert "updates: 3 explore, 3 fission" in output
    return folder / "run"


def test_a_run_leaves_everything(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["stages"]) == ["base", "cold_start", "fission"]
    for stage in summary["stages"].values():
        for key in (
            "first_attempt_accuracy",
            "final_accuracy",
            "recovery_rate",
            "next_attempt_recovery_rate",
            "repeat_rate",
        ):
            assert set(stage[key]) == {"num", "den", "rate", "low", "high"}
        assert stage["first_attempt_accuracy"]["den"] == 4
    assert summary["updates"] == {"explore": 3, "fission": 3}
    assert set(summary["corrections"]) == {"intercepted", "deduplicated", "evicted", "used", "stale", "leaked"}
    assert summary["lost"] == {}
    shown = json.loads((finished / "cold_start" / "summary.json").read_text(encoding="utf-8"))
    assert 0 < shown["examples"] <= shown["asked"]
    assert shown["loss"] > 0
    assert summary["corrections"]["used"] == 3 * 2
    assert set(summary["seconds"]) == set(summary["peak_memory_bytes"])
    assert {"cold_start", "fission", "evaluate_base"} <= set(summary["seconds"])
    assert "<html" in (finished / "report.html").read_text(encoding="utf-8")
    assert len(lines(finished / "metrics.jsonl")) == 6
    PeftModel.from_pretrained(tiny_llama(267, max_position_embeddings=2048), finished / "adapter")


def test_the_adapters_can_be_published(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    for folder, title in ((finished / "adapter", "Fission-GRPO"), (finished / "cold_start" / "adapter", "cold start")):
        card = ModelCard.load(folder / "README.md")
        assert (card.data.base_model, card.data.library_name) == ("model", "peft")
        assert title in card.text
        assert "no configuration in it says which model of the hub it is" in card.text
        assert AutoTokenizer.from_pretrained(folder).chat_template
        for file in folder.iterdir():
            assert str(finished.parent).encode() not in file.read_bytes(), file
    stage = summary["stages"]["fission"]
    assert {one.metric_type: one.metric_value for one in card_of(finished).data.eval_results} == {
        key: round(stage[key]["rate"], 4) for key in HEADLINE if stage[key]["rate"] is not None
    }
    assert f"| first attempt right | {ratio_text(summary['stages']['base']['first_attempt_accuracy'])} |" in (
        card_of(finished).text
    )
    (recipe,) = re.findall(r"```toml\n(.*?)```", card_of(finished).text, re.DOTALL)
    assert tomllib.loads(recipe)["training"]["learning_rate"] == 1e-2
    assert not list(finished.glob("**/checkpoints/**/README.md")), "no card of empty headings beside a checkpoint"


def card_of(run: Path) -> ModelCard:
    return ModelCard.load(run / "adapter" / "README.md")


def test_a_finished_run_is_not_overwritten_and_resume_reuses_it(finished: Path) -> None:
    recipe = finished.parent / "recipe.toml"
    before = comparable(finished)
    assert "already holds a run" in fail("train", recipe)
    assert "another configuration (seed: 3 there, 4 now)" in fail("train", recipe, "--resume", "--set", "seed=4")
    succeed("train", recipe, "--resume")
    assert comparable(finished) == before


@pytest.mark.parametrize("after_step", [3, 5])
def test_a_killed_run_goes_on_and_ends_like_an_uninterrupted_one(
    tmp_path: Path, finished: Path, after_step: int
) -> None:
    recipe = make_world(tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = fissile("train", recipe, wait=False)
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= after_step):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "summary.json").exists()
    succeed("train", recipe, "--resume")
    assert comparable(tmp_path / "run") == comparable(finished)


def test_the_trained_adapter_evaluates_alike_on_its_own(finished: Path, tmp_path: Path) -> None:
    recipe = finished.parent / "recipe.toml"
    succeed("eval", "--recipe", recipe, "--adapter", finished / "adapter", "--output", tmp_path / "eval")
    alone = json.loads((tmp_path / "eval" / "evaluations" / "model.json").read_text(encoding="utf-8"))
    within = json.loads((finished / "evaluations" / "fission.json").read_text(encoding="utf-8"))
    assert alone == within


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("training.step=3", "training.step: unknown key"),
        ("training.steps=many", "training.steps"),
        ("model.path=./no/such/model", "There is no model at './no/such/model'"),
        ("model.adapter=./no/such/adapter", "Can't find 'adapter_config.json' at './no/such/adapter'"),
        ("model.dialect=klingon", "klingon"),
        ("method.feedback=oracle", "oracle"),
        ("tasks.source=none.jsonl", "none.jsonl"),
        ("method.samples=3", "does not divide"),
        ("tasks.max_prompt_tokens=16", "No training task is left"),
    ],
)
def test_bad_input_is_one_message_and_code_2(tmp_path: Path, change: str, told: str) -> None:
    recipe = make_world(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert told in fail("train", recipe, "--set", change)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_evaluation_of_bad_input_leaves_nothing(tmp_path: Path) -> None:
    recipe = make_world(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told = fail("eval", "--recipe", recipe, "--adapter", "./none", "--output", tmp_path / "evaluation")
    assert "Can't find 'adapter_config.json' at './none'" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tokenizer_without_template_is_told(tmp_path: Path) -> None:
    recipe = make_world(tmp_path)
    for name in ("chat_template.jinja",):
        (tmp_path / "model" / name).unlink()
    assert "no chat template" in fail("train", recipe)


def test_dry_run_prints_the_resolved_configuration_and_writes_nothing(tmp_path: Path) -> None:
    recipe = make_world(tmp_path)
    output = succeed("train", recipe, "--dry-run", "--set", "training.steps=9")
    assert json.loads(output)["training"]["steps"] == 9
    assert not (tmp_path / "run").exists()
