"""The error simulator that a laboratory makes for the arms that ask it."""

import shutil
from pathlib import Path
from typing import Any

import lab_jobs
import pytest
from rich.console import Console

from fissile.errors import ConfigError, RunError
from fissile.lab import Display, LabFolder, LabSpec, RunKey, load_spec, run_lab
from fissile.lab.provenance import fingerprint

ARMS = {
    "grpo": {"set": {"method": {"name": "grpo"}}},
    "learned": {"set": {"method": {"feedback": "learned"}}},
    "longer": {"match": "learned", "set": {"method": {"name": "grpo"}}},
}
SIMULATOR = {"data": {"source": "procedural", "teachers": ["rules"]}, "model": {"dtype": "float32"}}

TOML = """\
output = "labs/one"
[start]
[simulator]
model = { dtype = "float32", lora_rank = 4 }
data = { source = "procedural" }
[run]
evaluation = { feedback = "service" }
[arms.grpo]
set = { method = { name = "grpo" } }
[arms.learned]
set = { method = { feedback = "learned" } }
"""


def spec(folder: Path, **fields: Any) -> LabSpec:
    made = {"output": str(folder / "lab"), "seeds": 1, "arms": ARMS, "start": {}, "simulator": SIMULATOR, **fields}
    return LabSpec.model_validate(made)


def run(lab: LabSpec, **options: Any) -> dict[RunKey, str]:
    return dict(run_lab(lab, Display(Console(quiet=True)), program=lab_jobs.COMMAND, **options))


def tries(folder: LabFolder) -> list[str]:
    path = folder.simulator.path / "tries"
    return path.read_text().splitlines() if path.exists() else []


def test_it_is_made_once_of_the_start_and_before_the_run_that_asks_it(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    assert run(spec(tmp_path), only=["grpo"]) == {}
    assert tries(folder) == []
    assert run(spec(tmp_path), only=["learned"]) == {}
    assert tries(folder) == [str(folder.start.path)]
    settings = folder.run(RunKey("learned", 0)).read_config("").simulator.learned
    assert settings.adapter == str(folder.simulator.adapter)
    assert (settings.model, settings.dtype) == (str(folder.start.path), "float32")
    assert run(spec(tmp_path, seeds=2)) == {}
    assert len(tries(folder)) == 1


def test_without_it_only_the_runs_that_ask_it_fail_and_are_tried_again(tmp_path: Path) -> None:
    lab, folder = spec(tmp_path, simulator={**SIMULATOR, "seed": 13}), LabFolder(tmp_path / "lab")
    failed = run(lab)
    assert list(failed) == [RunKey("learned", 0), RunKey("longer", 0)]
    assert "The error simulator could not be made: ZeroDivisionError: unlucky. See" in failed[RunKey("learned", 0)]
    assert folder.is_finished(RunKey("grpo", 0))
    assert "unlucky" in folder.simulator_log.read_text()
    (folder.path / "mended").touch()
    assert run(lab) == {}
    assert len(tries(folder)) == 2


@pytest.mark.parametrize(
    ("changed", "stage"), [({"data": {"source": "procedural"}}, "data"), ({"training": {"examples": 3}}, "training")]
)
def test_one_of_other_settings_is_refused_before_anything_runs(
    tmp_path: Path, changed: dict[str, Any], stage: str
) -> None:
    run(spec(tmp_path), only=["learned"])
    with pytest.raises(RunError, match=rf"holds {stage} of another recipe \({stage}\)(.|\n)*take \[simulator\] back"):
        run(spec(tmp_path, simulator={**SIMULATOR, **changed}, seeds=2))
    assert not LabFolder(tmp_path / "lab").is_begun(RunKey("grpo", 0))


def test_one_that_is_gone_is_made_again_as_it_was_asked(tmp_path: Path) -> None:
    other = {**SIMULATOR, "training": {"examples": 3}}
    run(spec(tmp_path), only=["grpo"])
    run(spec(tmp_path, simulator=other), only=["learned"])
    shutil.rmtree(LabFolder(tmp_path / "lab").simulator.path)
    with pytest.raises(RunError, match=r"a simulator of other settings.*or remove the whole laboratory"):
        run(spec(tmp_path, seeds=2))
    assert run(spec(tmp_path, simulator=other, seeds=2)) == {}


def test_runs_that_do_not_ask_it_stay_what_they_were(tmp_path: Path) -> None:
    only_grpo = {"grpo": ARMS["grpo"]}
    assert run(spec(tmp_path, simulator=None, arms=only_grpo)) == {}
    assert run(spec(tmp_path, arms=only_grpo)) == {}
    assert fingerprint(spec(tmp_path, simulator=None, arms=only_grpo)) == fingerprint(spec(tmp_path, arms=only_grpo))
    assert tries(LabFolder(tmp_path / "lab")) == []


def test_a_fingerprint_holds_its_settings() -> None:
    before = fingerprint(spec(Path("a")))
    assert fingerprint(spec(Path("b"))) == before
    assert fingerprint(spec(Path("a"), simulator={**SIMULATOR, "seed": 1})) != before


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("simulator.data.fault=1", "[simulator] cannot be run:\n  data.fault: unknown key"),
        ("simulator.data.teachers=['oracle']", "no feedback source 'oracle'"),
        ("simulator.output=x", "[simulator] sets output: the laboratory does that itself"),
        ("simulator.model.path=x", "[simulator] sets model.path"),
        ("run.simulator.learned.adapter=x", "[run] sets simulator.learned"),
        ("arms.learned.set.simulator.learned.dtype=float32", "arm 'learned' sets simulator.learned"),
    ],
)
def test_what_cannot_be_made_is_told_when_the_file_is_read(tmp_path: Path, override: str, told: str) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(TOML, encoding="utf-8")
    assert load_spec(path).asks_simulator("learned")
    assert not load_spec(path).asks_simulator("grpo")
    with pytest.raises(ConfigError) as error:
        load_spec(path, [override])
    assert told in str(error.value)


def test_without_a_start_its_model_is_named() -> None:
    lab = spec(Path("a"), start=None, simulator={"model": {"path": "somewhere"}})
    recipe = lab.simulator_recipe()
    assert recipe is not None
    assert (recipe.model.path, recipe.output) == ("somewhere", "a/lab/simulator")
