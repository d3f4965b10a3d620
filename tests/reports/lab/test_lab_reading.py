from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_lab import write_lab, write_object, write_run

from fissile.errors import RunError
from fissile.reports.lab.lab_record import RunState
from fissile.reports.lab.reading import read_lab


def test_every_seed_that_was_asked_for_is_there_with_its_state(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {"label": "GRPO"}, "fission": {"seeds": 1}}, seeds=5)
    write_run(tmp_path, "grpo", 0, (1, 2))
    write_object(tmp_path / "arms/grpo/seed-1.failure.json", {"error": f"'{tmp_path}/start' is missing"})
    unfinished = tmp_path / "arms/grpo/seed-2"
    unfinished.mkdir()
    (unfinished / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    broken = write_run(tmp_path, "grpo", 3, (1, 2))
    (broken / "evaluations/grpo.json").write_text("{")
    grpo, fission = read_lab(tmp_path).arms
    assert [run.state for run in grpo.runs] == [
        RunState.FINISHED,
        RunState.FAILED,
        RunState.UNFINISHED,
        RunState.UNREADABLE,
        RunState.MISSING,
    ]
    assert [run.reason for run in grpo.runs][1:3] == ["'start' is missing", "2 steps so far"]
    assert [run.seed for run in grpo.lost] == [1, 2, 3, 4]
    assert (grpo.label, fission.label, len(fission.runs)) == ("GRPO", "fission", 1)


def test_a_finished_run_that_failed_before_counts(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}}, seeds=1)
    write_run(tmp_path, "grpo", 0, (1, 2))
    write_object(tmp_path / "arms/grpo/seed-0.failure.json", {"error": "an earlier try"})
    (run,) = read_lab(tmp_path).arms[0].runs
    assert run.state is RunState.FINISHED


def test_the_final_stage_is_that_of_the_trained_policy(tmp_path: Path) -> None:
    write_lab(tmp_path, {"start": {}, "offline": {}}, seeds=1)
    write_run(tmp_path, "start", 0, (1, 4), stage="base")
    write_run(tmp_path, "offline", 0, (3, 4), stage="offline", checkpoints={40: (2, 4), 5: (1, 4)})
    start, offline = (arm.runs[0] for arm in read_lab(tmp_path).arms)
    assert (start.rate("recovery_rate"), offline.rate("recovery_rate")) == (0.25, 0.75)
    assert list(offline.checkpoints or {}) == [5, 40]


def test_a_trained_run_without_its_evaluation_does_not_count(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}}, seeds=1)
    path = write_run(tmp_path, "grpo", 0, (1, 4))
    (path / "evaluations/grpo.json").rename(path / "evaluations/base.json")
    (run,) = read_lab(tmp_path).arms[0].runs
    assert run.state is RunState.UNREADABLE
    assert "0 final evaluations" in run.reason


def test_variations_are_grouped_by_their_group(tmp_path: Path) -> None:
    arms = {
        "grpo": {},
        "knob_delta": {"group": "Knobs", "reference": "rules"},
        "slow": {"group": "Real model"},
        "rules": {},
    }
    lab = read_lab(write_lab(tmp_path, arms, order=["grpo", "rules"]))
    assert [arm.name for arm in lab.main] == ["grpo", "rules"]
    assert {group: [arm.name for arm in held] for group, held in lab.variations.items()} == {
        "Knobs": ["knob_delta"],
        "Real model": ["slow"],
    }
    assert [arm.reference for arm in lab.arms] == ["grpo", "rules", "grpo", "grpo"]
    assert (lab.baseline, lab.order) == ("grpo", ("grpo", "rules"))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"spec": {"seeds": 2}}', '{"spec": {"arms": {"a": 3}}}'])
def test_another_folder_is_refused_with_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "lab.json").write_text(content)
    with pytest.raises(RunError, match="Give the folder that `fissile lab run` wrote"):
        read_lab(tmp_path)


def test_what_a_specification_leaves_out_has_its_default(tmp_path: Path) -> None:
    spec = {"seeds": 1, "arms": {"grpo": {"label": "", "seeds": None, "match": None, "set": {}}}, "start": None}
    (tmp_path / "lab.json").write_text(json.dumps({"spec": spec, "command": ""}))
    lab = read_lab(tmp_path)
    assert (lab.title, lab.baseline, lab.order, lab.has_start) == (tmp_path.name, "grpo", (), False)
