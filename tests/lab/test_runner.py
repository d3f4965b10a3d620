"""Whole laboratories of runs that do what their arm is called."""

import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lab_jobs
import pytest
from rich.console import Console

from fissile.errors import RunError
from fissile.lab import Display, LabFolder, LabSpec, RunKey, run_lab


def spec(folder: Path, *names: str, **fields: Any) -> LabSpec:
    arms = {name: {"set": {"method": {"name": "grpo"}}} for name in names}
    return LabSpec.model_validate({"output": str(folder / "lab"), "seeds": 2, "arms": arms, **fields})


def run(lab: LabSpec, **options: Any) -> tuple[Mapping[RunKey, str], str]:
    """The failures, and what a person saw, on one line."""
    console = Console(file=io.StringIO(), width=200, highlight=False)
    failed = run_lab(lab, Display(console), program=lab_jobs.COMMAND, **options)
    assert isinstance(console.file, io.StringIO)
    return failed, " ".join(console.file.getvalue().split())


def tries(folder: LabFolder, arm: str, seed: int) -> int:
    return len((folder.run(RunKey(arm, seed)).path / "tries").read_text().splitlines())


def failure(folder: LabFolder, arm: str, seed: int) -> dict[str, str]:
    fields: dict[str, str] = json.loads(folder.failure(RunKey(arm, seed)).read_text(encoding="utf-8"))
    return fields


def test_a_failure_costs_one_run_and_is_tried_again(tmp_path: Path) -> None:
    lab = spec(tmp_path, "dying", "grpo", "refusing", seeds=1)
    folder = LabFolder(tmp_path / "lab")
    failed, seen = run(lab)
    assert failed == {
        RunKey("dying", 0): "the process died (signal 9)",
        RunKey("refusing", 0): "Give it other tasks.",
    }
    assert "dying seed 0 failed after" in seen
    assert "grpo seed 0 · " in seen
    assert "right at first 50% · 2 of 3 · about" in seen
    assert failure(folder, "dying", 0)["error"] == "the process died (signal 9)"
    assert "DataError" in failure(folder, "refusing", 0)["traceback"]
    assert folder.is_finished(RunKey("grpo", 0))
    assert not folder.failure(RunKey("grpo", 0)).exists()
    assert "hello from refusing" in folder.log(RunKey("refusing", 0)).read_text()

    (folder.path / "mended").touch()
    failed, seen = run(lab)
    assert not failed
    assert "3 runs, 1 finished before, 2 to do" in seen
    assert [tries(folder, arm, 0) for arm in lab.arms] == [2, 1, 2]
    assert not list(folder.path.rglob("*.failure.json"))

    failed, seen = run(lab)
    assert "3 runs, 3 finished before, 0 to do" in seen
    assert [tries(folder, arm, 0) for arm in lab.arms] == [2, 1, 2]


def test_cores_that_stay_idle_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {first, first + 1, first + 2}, raising=False)
    _, seen = run(spec(tmp_path, "grpo", seeds=1), jobs=2)
    assert "--jobs 2: 1 of 3 cores idle, since all runs get equally many" in seen
    _, seen = run(spec(tmp_path, "grpo", seeds=1), jobs=1)
    assert "idle" not in seen


def test_a_run_without_summary_and_one_that_exits_have_failed(tmp_path: Path) -> None:
    failed, _ = run(spec(tmp_path, "leaving", "exiting", "raising", seeds=1))
    assert [reason.partition(" '")[0] for reason in failed.values()] == [
        "it ended without",
        "the process died (exit code 3)",
        "ZeroDivisionError: no more",
    ]


def test_arms_and_seeds_may_be_added_and_titles_changed(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    run(spec(tmp_path, "grpo", seeds=1), command="first")
    before = folder.read_lab()
    assert set(before) == {"spec", "fingerprint", "versions", "commit", "date", "hardware", "command"}
    run(spec(tmp_path, "grpo", seeds=1, title="Another title"), command="second")
    same = folder.read_lab()
    assert same["spec"]["title"] == "Another title"
    assert {**same, "spec": None} == {**before, "spec": None}, "who made the figures has not changed"
    run(spec(tmp_path, "grpo", "more"), command="third")
    after = folder.read_lab()
    assert after["command"] == "third"
    assert after["fingerprint"] != before["fingerprint"]
    assert [tries(folder, arm, seed) for arm in ("grpo", "more") for seed in (0, 1)] == [1, 1, 1, 1]


def test_what_a_run_was_made_with_may_not_be_changed(tmp_path: Path) -> None:
    run(spec(tmp_path, "grpo", "raising", seeds=1))
    for name in ("grpo", "raising"):  # finished or not
        other = spec(tmp_path, "grpo", "raising", seeds=1)
        other.arms[name].set["training"] = {"group_size": 4}
        with pytest.raises(RunError, match=r"seed-0' holds a run of another configuration \(training.group_size: 8"):
            run(other)
    assert "training" not in LabFolder(tmp_path / "lab").read_lab()["spec"]["arms"]["grpo"]["set"]


def test_a_matched_run_comes_first_and_gives_its_tokens(tmp_path: Path) -> None:
    arms = {
        "longer": {"set": {"method": {"name": "grpo"}}, "match": "grpo"},
        "grpo": {"set": {"method": {"name": "grpo"}}},
    }
    lab = spec(tmp_path, arms=arms)
    folder = LabFolder(tmp_path / "lab")
    assert run(lab, only=["longer"], jobs=1)[0] == {}
    for seed in (0, 1):
        config = folder.run(RunKey("longer", seed)).read_config("")
        assert config.training.tokens == lab_jobs.SPENT + seed
    assert run(lab)[0] == {}
    assert tries(folder, "longer", 0) == 1


def test_who_matches_a_failed_run_fails_with_it(tmp_path: Path) -> None:
    arms = {"longer": {"match": "raising"}, "longest": {"match": "longer"}, "raising": {}, "grpo": {}}
    folder = LabFolder(tmp_path / "lab")
    failed, seen = run(spec(tmp_path, arms=arms, seeds=1))
    assert list(failed) == [RunKey("raising", 0), RunKey("longer", 0), RunKey("longest", 0)]
    assert failure(folder, "longer", 0)["error"] == (
        "the run that it matches, raising seed 0, failed: ZeroDivisionError: no more"
    )
    assert "longest seed 0 failed" in seen
    assert not folder.run(RunKey("longer", 0)).path.exists()
    assert folder.is_finished(RunKey("grpo", 0))


def test_the_start_is_made_once_and_its_settings_stay(tmp_path: Path) -> None:
    lab = spec(tmp_path, "grpo", seeds=1, start={"layers": 2})
    folder = LabFolder(tmp_path / "lab")
    assert "making the small policy" in run(lab)[1]
    assert folder.run(RunKey("grpo", 0)).read_config("").model.path == str(folder.start.path)
    more = spec(tmp_path, "grpo", start={"layers": 2})
    assert "making the small policy" not in run(more)[1]
    with pytest.raises(RunError, match=r"made with other settings \(start.layers: 2 there, 3 now\)"):
        run(spec(tmp_path, "grpo", start={"layers": 3}))
    shutil.rmtree(folder.start.path)
    with pytest.raises(RunError, match=r"layers: 2 there, 3 now\).*or remove the whole laboratory"):
        run(spec(tmp_path, "grpo", start={"layers": 3}))
    assert run(spec(tmp_path, "grpo", start={"layers": 2}))[0] == {}


def test_a_start_that_no_run_began_from_may_be_changed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not be made"):
        run(spec(tmp_path, "grpo", start={"seed": 13}))
    assert run(spec(tmp_path, "grpo", start={"seed": 1}))[0] == {}


@pytest.mark.parametrize(
    ("name", "told"),
    [("lab.json", "lab.json is no JSON object.*Remove it"), ("start/start.json", "start.json is no JSON object")],
)
def test_a_file_of_another_shape_is_one_message(tmp_path: Path, name: str, told: str) -> None:
    lab = spec(tmp_path, "grpo", seeds=1, start={})
    run(lab)
    (tmp_path / "lab" / name).write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match=told):
        run(lab)


def test_a_summary_of_another_shape_is_one_message(tmp_path: Path) -> None:
    lab = spec(tmp_path, "grpo", seeds=1)
    run(lab)
    LabFolder(tmp_path / "lab").run(RunKey("grpo", 0)).summary.write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match=r"summary.json is no JSON object.*Remove the folder of that run"):
        run(lab)


def test_a_file_is_no_folder_of_a_laboratory(tmp_path: Path) -> None:
    (tmp_path / "lab").touch()
    with pytest.raises(RunError, match=r"lab' cannot be the folder of a laboratory .*--set output=FOLDER"):
        run(spec(tmp_path, "grpo"))


def test_a_start_that_cannot_be_made_ends_the_laboratory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"could not be made: ZeroDivisionError: unlucky. See '.*start.log'"):
        run(spec(tmp_path, "grpo", start={"seed": 13}))
    assert "unlucky" in LabFolder(tmp_path / "lab").start_log.read_text()


def test_two_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        LabFolder(tmp_path / "lab").locked(),
        pytest.raises(RunError, match=rf"Process {os.getpid()} runs the laboratory"),
    ):
        run(spec(tmp_path, "grpo"))
    assert run(spec(tmp_path, "grpo", seeds=1))[0] == {}


def test_a_run_that_failed_before_it_did_anything_may_be_changed(tmp_path: Path) -> None:
    folder = LabFolder(tmp_path / "lab")
    lab = spec(tmp_path, "grpo", seeds=1)
    key = RunKey("grpo", 0)
    before = folder.run(key)
    before.enter(lab.run_config("grpo", 0, before.path), resume=True)
    (before.path / ".config.json.123").write_text("{", encoding="utf-8")  # killed while it was written
    assert not folder.is_begun(key)
    lab.arms["grpo"].set["training"] = {"group_size": 4}
    assert run(lab)[0] == {}
    assert folder.run(key).read_config("").training.group_size == 4
    assert folder.is_begun(key)
