"""An error simulator of the procedural world: its failures, its settings, and that lab and command make the same."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from pydantic import ValidationError
from typer.testing import CliRunner

from fissile.cli import app
from fissile.cli.simulate import data_table
from fissile.config import SimulatorRecipe
from fissile.config.simulator_recipe import DataConfig
from fissile.lab import execution
from fissile.simulator.dataset import shortfalls
from fissile.simulator.diagnosed_failure import FoundFailure
from fissile.simulator.gathering import MISWRITTEN, domain_of
from fissile.tasks.procedural import ProceduralSettings
from fissile.training.progress import Progress
from fissile.training.simulator_data import choose_rows, find_failures, make_rows
from fissile.training.simulator_folder import SimulatorFolder, data_settings, digest
from fissile.training.simulator_making import load_learned
from tiny import tiny_tokenizer
from tiny_models import tiny_llama

SMALL = ProceduralSettings(seed=1000, train_tasks=30, test_tasks=12)
DATA = DataConfig(source="procedural", procedural=SMALL, rows=40, test_rows=12)

RECIPE = """\
output = "{folder}/simulator"
[model]
path = "{folder}/model"
dtype = "float32"
lora_rank = 4
[data]
source = "procedural"
procedural = {{ train_tasks = 12, test_tasks = 8 }}
rows = 12
test_rows = 4
[training]
examples = 8
batch_examples = 4
"""


@pytest.fixture(scope="module")
def found() -> list[FoundFailure]:
    return find_failures(DATA, 0)


def test_the_sides_of_the_procedural_world_share_no_tool(found: list[FoundFailure]) -> None:
    sides = {
        side: {name for one in found if one.side == side for name in one.failure.task.functions}
        for side in ("train", "test")
    }
    assert all(sides.values())
    assert not sides["train"] & sides["test"]
    assert {one.failure.task.id.split("-")[1] for one in found if one.side == "test"} == {"test"}
    assert {one.domain for one in found} == {""}
    assert len({one.kind for one in found}) >= 6


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_share_of_the_rows_is_the_mistake_that_the_world_invites(found: list[FoundFailure], share: float) -> None:
    rows = choose_rows(found, DATA.model_copy(update={"miswritten_share": share}))
    for side, count in (("train", DATA.rows), ("test", DATA.test_rows)):
        invited = [row for row in rows if row.side == side and row.fault == MISWRITTEN]
        assert len(invited) == min(count * share, sum(one.fault == MISWRITTEN for one in found if one.side == side))
        assert {row.kind for row in invited} <= {"wrong_value", "wrong_type"}
        assert sum(row.side == side for row in rows) == count


def test_a_live_world_adds_what_it_says_itself(found: list[FoundFailure]) -> None:
    live = DATA.model_copy(update={"procedural": SMALL.model_copy(update={"live": True})})
    both = find_failures(live, 0)
    assert [one.key for one in both if not one.domain] == [one.key for one in found]
    executed = [one for one in both if one.domain]
    assert {one.domain for one in executed} == {domain_of(executed[0].failure.task)} == {"procedural"}
    assert any(one.failure.answers and not one.failure.silent for one in executed)
    rows, held = make_rows(SimulatorRecipe(data=live))
    assert Counter(row.teacher for row in rows if not row.domain).keys() == {"rules"}
    assert Counter(row.teacher for row in rows if row.domain).keys() == {"rules", "environment"}
    assert isinstance(held["sides"], dict)
    assert set(held["sides"]) == {"train", "test"}


def test_fewer_rows_than_asked_for_are_told_with_what_was_left_out() -> None:
    rows, held = make_rows(SimulatorRecipe(data=DATA.model_copy(update={"rows": 5000})))
    made = sum(row.side == "train" for row in rows)
    told = f"train: {made} of the 5,000 rows that were asked for. There were no more failures; see what was left out"
    (sentence,) = shortfalls(held)
    assert sentence.startswith(told)
    assert str(data_table(held).caption).startswith(told)
    assert isinstance(held["left_out"], dict)
    assert held["left_out"]["a fault that does not apply"] > 0
    assert 0 not in held["left_out"].values()
    assert shortfalls({name: value for name, value in held.items() if name != "asked"}) == []  # of before


def test_settings_hold_what_the_source_uses() -> None:
    plain = data_settings(SimulatorRecipe())
    assert plain == {
        "seed": 0,
        "data": DataConfig().model_dump(mode="json", exclude={"procedural", "miswritten_share"}),
    }
    assert "split_like" in SimulatorRecipe().data.shaping
    drawn = data_settings(SimulatorRecipe(data=DATA))
    assert drawn == data_settings(SimulatorRecipe(data=DATA.model_copy(update={"live_categories": []})))
    another = DATA.model_copy(update={"procedural": ProceduralSettings(seed=1)})
    assert drawn != data_settings(SimulatorRecipe(data=another))
    assert drawn != data_settings(SimulatorRecipe(data=DATA.model_copy(update={"miswritten_share": 0.0})))


@pytest.mark.parametrize("fields", [{"split_like": "recipes/reader.toml"}, {"runs": ["runs/run"]}])
def test_the_procedural_world_takes_no_other_sides(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=f"data.{next(iter(fields))}: the procedural world has sides of its own"):
        DataConfig.model_validate({"source": "procedural", **fields})


def test_the_laboratory_makes_what_the_command_makes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny_llama(267, max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    recipe = tmp_path / "simulator.toml"
    recipe.write_text(RECIPE.format(folder=tmp_path), encoding="utf-8")

    def command(*arguments: object) -> str:
        result = CliRunner().invoke(app, ["simulate", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    command("train", recipe, "--output", tmp_path / "other")
    fields = {
        "output": str(tmp_path / "simulator"),
        "model": {"path": str(tmp_path / "model"), "dtype": "float32", "lora_rank": 4},
        "data": {
            "source": "procedural",
            "procedural": {"train_tasks": 12, "test_tasks": 8},
            "rows": 12,
            "test_rows": 4,
        },
        "training": {"examples": 8, "batch_examples": 4},
    }
    execution.JOBS["simulator"](SimulatorRecipe.model_validate(fields).model_dump(mode="json"), Progress())
    mine, other = SimulatorFolder(tmp_path / "simulator"), SimulatorFolder(tmp_path / "other")
    card = ModelCard.load(mine.adapter / "README.md")
    assert (card.data.library_name, "error-simulator" in card.data.tags) == ("peft", True)
    assert f"{len(mine.read_rows())} failed calls" in card.text
    assert not [file for file in mine.adapter.iterdir() if str(mine.path.parent).encode() in file.read_bytes()]
    held = digest(mine.adapter)
    (mine.adapter / "README.md").write_text("another card", encoding="utf-8")
    assert digest(mine.adapter) == held, "a card shapes nothing"
    for name in ("adapter_model.safetensors", "prompt.txt"):
        assert (mine.adapter / name).read_bytes() == (other.adapter / name).read_bytes()
    assert mine.rows.read_bytes() == other.rows.read_bytes()
    assert "already trained" in command("train", recipe)

    before = torch.get_rng_state()
    load_learned(SimulatorRecipe.model_validate(fields).learned(mine.adapter))
    assert torch.equal(torch.get_rng_state(), before), "the policy of a run must not depend on who diagnoses"

    command("eval", recipe, "--sources", "rules")
    card = (mine.path / "card.md").read_text(encoding="utf-8")
    assert "16 rows from the procedural world of seed 0: single-step tasks; each side has its own tools." in card

    assert "prompt.txt" not in caplog.text
    (mine.adapter / "prompt.txt").unlink()
    load_learned(SimulatorRecipe.model_validate(fields).learned(mine.adapter))
    assert f"'{mine.adapter}' holds no prompt.txt: this adapter is asked with the package's prompt" in caplog.text
