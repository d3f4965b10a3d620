from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from synthetic_run import write_run

from fissile.errors import RunError
from fissile.reports.fates import correction_counts, fates, staleness_counts
from fissile.reports.headline import headline_changes, sentence, status, title
from fissile.reports.paired import numbered, pairings
from fissile.reports.run_lines import EpisodeOutcome
from fissile.reports.run_page import render
from fissile.reports.run_record import read_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_finished_run_is_read_whole(finished: Path) -> None:
    run = read_run(finished)
    assert run.finished
    assert run.problems == ()
    assert [step.step for step in run.steps] == list(range(1, 49))
    assert [stage.stage for stage in run.stages] == ["base", "cold_start", "fission"]
    assert (len(run.fissions), len(run.interceptions)) == (48, 144)
    assert run.fissions[0].step == 4, "the file counts the steps before a step, the page counts from 1"
    assert [step.phase for step in run.steps[2:4]] == ["explore", "fission"]


def test_the_headline_sets_the_last_stage_against_the_one_before(finished: Path) -> None:
    run = read_run(finished)
    recovery = headline_changes(run.stages)[0]
    assert recovery.metric.key == "next_attempt_recovery_rate"
    assert recovery.before is not None
    assert (recovery.before[0], recovery.after[0]) == ("cold_start", "fission")
    assert recovery.overlap == "The intervals do not overlap."
    assert title(run) == "Fission-GRPO on smollm2-135m"
    assert sentence(run).startswith("36 explore and 12 fission steps on tasks of BFCL (simple_python, multiple and")
    assert status(run) == ""


def test_an_unfinished_run_says_how_far_it_came(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", steps=13, finished=False))
    assert "step 13 of 48" in status(run)
    assert run.seconds["cold_start"] == 203.9, "the meter stands in for the summary"


def test_an_early_stop_is_told(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"stopped": "nothing to learn"}))
    assert status(read_run(folder)) == "Stopped early: nothing to learn"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "empty"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, make: object) -> None:
    make(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(RunError, match="Give the folder that `fissile train` wrote"):
        read_run(tmp_path / "run")


def test_torn_and_foreign_records_are_left_out_and_counted(folder: Path) -> None:
    with (folder / "corrections.jsonl").open("a") as file:
        file.write('{"event": "fission", "step": 3}\n[]\n{"event": "else"}\n{"event": "inter')
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 49, "grad_norm": NaN}\n{"step": "x"}\n')
    run = read_run(folder)
    assert len(run.fissions) == 48
    assert run.steps[-1].step == 49
    assert run.problems == (
        "corrections.jsonl: left out 4 records that could not be read.",
        "metrics.jsonl: left out 1 record that could not be read.",
        "grad_norm was not finite at 1 step, first at step 49.",
    )


def test_an_empty_evaluation_and_a_step_logged_twice_are_problems(folder: Path) -> None:
    (folder / "evaluations" / "fission.json").write_text("{}")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 48, "loss": 0.0}\n')
    run = read_run(folder)
    assert [stage.stage for stage in run.stages] == ["base", "cold_start"]
    assert run.problems[0].startswith("evaluations/fission.json is no recovery report")
    assert run.problems[1] == "metrics.jsonl: left out 1 record of steps that were logged again."


def test_the_page_tells_what_was_shown_lost_and_measured_on_the_way(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 49, "fission/is_fission": 0, "explore/infrastructure": 8, "explore/step_limit": 0.25}\n')
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "lost": {"out_of_memory": 8}}))
    run = read_run(folder)
    assert "a cold start on 282 examples (518 asked), 71 of them recoveries; 2 left out: longer" in sentence(run)
    assert [stage.stage for stage in run.during] == ["step_30"]
    page = render(run)
    assert "8 rollouts of the training, to failures of the engine or the world (8 x out_of_memory)" in page
    assert "Held-out tasks, during the training" in page
    assert "Cut at the step limit" in page
    (folder / "cold_start" / "summary.json").unlink()  # of a version that did not count
    assert "a cold start on at most 518 examples" in sentence(read_run(folder))


@pytest.mark.parametrize(
    "name", ["config.json", "summary.json", "evaluations/fission.json", "evaluations/fission.episodes.jsonl"]
)
@pytest.mark.parametrize("content", ["", '{"config": ', "[]", '{"stages": 3, "config": 1, "n_tasks": "x"}'])
def test_a_broken_file_is_a_problem_and_never_an_exception(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    run = read_run(folder)
    assert render(run).rstrip().endswith("</html>")
    assert len(run.steps) == 48
    assert run.setting("seed") == (None if name == "config.json" else 3)


def test_the_fates_of_corrections_add_up(finished: Path) -> None:
    counts = correction_counts(read_run(finished))
    assert counts["evicted"] == 0, "only the log of the steps has it"
    assert sum(fate.count for fate in fates(counts)) == counts["intercepted"] == 131


def test_staleness_counts_every_used_correction(finished: Path) -> None:
    run = read_run(finished)
    counts = staleness_counts(run.fissions)
    assert sum(counts) == len(run.fissions)
    assert counts[-1] > 0
    assert staleness_counts(()) == []


def test_episodes_are_paired_by_task_and_number() -> None:
    before = numbered(
        [EpisodeOutcome("a", False, False), EpisodeOutcome("a", True, True), EpisodeOutcome("b", False, True)]
    )
    after = numbered(
        [EpisodeOutcome("a", True, True), EpisodeOutcome("a", False, True), EpisodeOutcome("c", True, True)]
    )
    first, last = pairings(before, after)
    assert (first.both, first.gained, first.lost, first.neither) == (0, 1, 1, 0)
    assert (last.both, last.gained, last.lost, last.neither) == (1, 1, 0, 0)
    assert pairings(before, {}) == []
