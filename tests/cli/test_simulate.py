"""`fissile simulate` as a user runs it: data, training, resuming, evaluation, card; with a tiny model."""

import json
from pathlib import Path
from typing import Any

import datasets
import psutil
import pytest
from typer.testing import CliRunner

from fault_server import free_port
from fissile.cli import app
from fissile.errors import ConfigError, InputError, RunError
from tiny_world import make_world

SIDES = ("train", "test")

RECIPE = """\
output = "{folder}/simulator"
[model]
path = "{folder}/model"
dtype = "float32"
lora_rank = 4
[data]
source = "{folder}/tasks.jsonl"
live_categories = []
split_like = "{folder}/recipe.toml"
rows = 40
test_rows = 12
[training]
examples = 8
batch_examples = 4
[evaluation]
rows = 6
samples = 2
first_samples = 1
max_new_tokens = 12
"""


def run(*arguments: object) -> str:
    """The output of a command that succeeds; its error is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, tasks, a policy's run, and a simulator that was made and judged."""
    folder = tmp_path_factory.mktemp("simulate")
    policy = make_world(folder, steps=0)
    (folder / "simulator.toml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    run("train", policy, "--set", "evaluation.base=false", "--set", "cold_start.examples=4")
    run("simulate", "train", folder / "simulator.toml")
    (folder / "eval.txt").write_text(run("simulate", "eval", folder / "simulator.toml", "--policy", folder / "run"))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_data_is_split_by_function_and_says_where_it_comes_from(world: Path) -> None:
    rows = [json.loads(line) for line in (world / "simulator" / "rows.jsonl").read_text().splitlines()]
    train, test = ({name for row in rows if row["side"] == side for name in row["functions"]} for side in SIDES)
    assert train
    assert test
    assert not train & test
    assert {row["origin"] for row in rows} == {"corruption"}
    assert {row["teacher"] for row in rows} == {"rules"}
    assert all(row["fault"] and row["kind"] and row["rule"] for row in rows)


def test_the_data_is_what_trl_reads(world: Path) -> None:
    loaded = datasets.load_dataset("json", data_files=str(world / "simulator" / "rows.jsonl"), split="train")
    assert [message["role"] for message in loaded[0]["prompt"]] == ["system", "user"]
    row = loaded[0]
    fields = " | ".join(row[name] or "-" for name in ("kind", "tool", "argument", "rule"))
    assert row["completion"][0] == {"role": "assistant", "content": f"{fields}\n{row['diagnosis']}"}


def test_the_evaluation_judges_every_source(world: Path) -> None:
    outcome = read(world / "simulator" / "evaluation.json")
    assert list(outcome["sources"]) == ["fixed", "environment", "rules", "learned"]
    rules, fixed = outcome["sources"]["rules"], outcome["sources"]["fixed"]
    assert rules["rates"]["right_field"]["num"] == rules["rates"]["right_field"]["den"] > 0
    assert fixed["rates"]["right_field"]["num"] == 0
    assert rules["rates"]["right_kind"]["den"] == fixed["rates"]["right_kind"]["den"] == 0, "free text has no kind"
    for report in outcome["sources"].values():
        assert report["non_leaking_after_guard"]["num"] == report["non_leaking_after_guard"]["den"] == 6
        own, injected = (report["usefulness"][origin]["next_attempt_recovery_rate"] for origin in ("own", "injected"))
        assert own["den"] == 2 * outcome["policy"]["failures"] > 0
        assert injected["den"] == 2 * outcome["policy"]["injected"] > 0
        assert report["usefulness"]["shown"]["diagnosed"] == (own["den"] + injected["den"]) / 2
    learned = outcome["sources"]["learned"]
    assert learned["count"] + sum(learned["missing"].values()) == 6
    assert learned["rates"]["right_kind"]["den"] == learned["count"]
    assert "right field" in (world / "eval.txt").read_text()


def test_the_card_is_made_from_the_figures(world: Path) -> None:
    card = (world / "simulator" / "card.md").read_text(encoding="utf-8")
    for heading in ("# Error simulator", "## Data", "## Training", "## Figures", "## Limits"):
        assert heading in card
    assert "| not leaking, without the guard | 100.0 % (6/6)," in card
    assert "| right kind of error | – | – | – |" in card
    assert "nan" not in card.lower()
    assert f" cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, 20" in card


def test_what_is_done_is_not_done_again(world: Path) -> None:
    adapter = world / "simulator" / "adapter" / "adapter_model.safetensors"
    before = adapter.stat().st_mtime_ns
    assert "already trained" in run("simulate", "train", world / "simulator.toml")
    assert adapter.stat().st_mtime_ns == before
    assert "rules: judged before" in run("simulate", "eval", world / "simulator.toml", "--policy", world / "run")


def test_another_recipe_does_not_enter_the_folder(world: Path) -> None:
    with pytest.raises(RunError, match="holds data of another recipe"):
        run("simulate", "data", world / "simulator.toml", "--set", "data.rows=41")
    with pytest.raises(RunError, match="holds training of another recipe"):
        run("simulate", "train", world / "simulator.toml", "--set", "training.examples=4")


def test_an_interrupted_training_goes_on(world: Path) -> None:
    folder = world / "simulator"
    (folder / "adapter").rename(folder / "first")
    (folder / "training.json").unlink()
    output = run("simulate", "train", world / "simulator.toml")  # from its last checkpoint, which was the end
    assert "adapter:" in output
    first, again = ((folder / name / "adapter_model.safetensors").read_bytes() for name in ("first", "adapter"))
    assert first == again


def test_a_checkpoint_of_another_recipe_is_not_gone_on_with(world: Path) -> None:
    folder = world / "simulator"
    (folder / "training.json").rename(folder / "kept.json")
    with pytest.raises(RunError, match="written under another configuration"):
        run("simulate", "train", world / "simulator.toml", "--set", "training.learning_rate=0.1")
    (folder / "kept.json").rename(folder / "training.json")


def test_what_was_found_of_other_sources_and_of_the_policy_stays(world: Path) -> None:
    before = read(world / "simulator" / "evaluation.json")
    assert "rules: judged before" in run("simulate", "eval", world / "simulator.toml", "--sources", "rules")
    after = read(world / "simulator" / "evaluation.json")
    assert after["sources"] == before["sources"]
    assert after["policy"] == before["policy"]


def test_an_outage_is_no_result(world: Path) -> None:
    server = f"endpoint.server={{base_url='http://127.0.0.1:{free_port()}/v1', model='m', retries=0}}"
    with pytest.raises(RunError, match=r"'endpoint' failed too often .*run the command again"):
        run("simulate", "eval", world / "simulator.toml", "--sources", "endpoint", "--set", server)
    assert not (world / "simulator" / "evaluation" / "endpoint.json").exists()
    taught = ["--output", world / "taught", "--set", "data.teachers=['endpoint']", "--set", server]
    with pytest.raises(RunError, match=r"'endpoint' failed too often"):
        run("simulate", "data", world / "simulator.toml", *taught)
    assert not (world / "taught" / "rows.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--set", "data.teachers=['endpoint']"], "table \\[endpoint\\]"),
        (["--set", "data.teachers=['oracle']"], "no feedback source 'oracle'"),
        (["--set", "data.live_categories=['simple_python']"], "none of multi_turn_base"),
        (["--set", "data.fault=1"], "unknown key"),
        (["--set", "data.faults=['typo']"], "data.faults"),
        (["--set", "data.teachers=['environment']"], "silent in single-step tasks"),
        (["--set", "training.recovery_share=0.5"], "unknown key"),
    ],
)
def test_a_recipe_that_cannot_be_run(world: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        run("simulate", "data", world / "simulator.toml", *arguments)


def test_a_policy_that_is_none(world: Path) -> None:
    with pytest.raises(InputError, match="fissile train recipes"):
        run("simulate", "eval", world / "simulator.toml", "--policy", world / "model")


def test_a_source_that_is_not_made_yet(world: Path) -> None:
    with pytest.raises(InputError, match=r"adapter"):
        run("simulate", "eval", world / "simulator.toml", "--sources", "learned", "--adapter", world / "nothing")
    with pytest.raises(ConfigError, match="no feedback source 'guess'"):
        run("simulate", "eval", world / "simulator.toml", "--sources", "guess")
