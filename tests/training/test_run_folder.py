import json
from pathlib import Path

import pytest

from fissile.config import RunConfig, load_config
from fissile.errors import Interrupted, ModelError, RunError
from fissile.training.run_folder import RunFolder


def test_a_folder_with_a_run_is_entered_only_to_resume_the_same_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.enter(RunConfig(), resume=False)
    with pytest.raises(RunError, match="already holds a run"):
        folder.enter(RunConfig(), resume=False)
    folder.enter(RunConfig(), resume=True)
    with pytest.raises(RunError, match=r"training.steps: 40 there, 41 now"):
        folder.enter(load_config(None, ["training.steps=41"]), resume=True)


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("end", [ModelError("no such model"), Interrupted(2)])
def test_bad_input_and_ctrl_c_leave_all_as_it_was_before(tmp_path: Path, was_there: bool, end: BaseException) -> None:
    folder = RunFolder(tmp_path / "run")
    if was_there:
        folder.path.mkdir()
    with pytest.raises(type(end)), folder.entered(RunConfig(), resume=False):
        raise end
    assert list(tmp_path.rglob("*")) == [folder.path] * was_there


def test_bad_input_after_the_first_stage_loses_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.enter(RunConfig(), resume=False)
    folder.metrics.write_text("{}\n")
    with pytest.raises(ModelError), folder.entered(RunConfig(), resume=True):
        raise ModelError("no such adapter")
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "metrics.jsonl"}


def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="holds no run"):
        RunFolder(tmp_path).enter(RunConfig(), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_goes_on_under_other_versions_says_and_keeps_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.enter(RunConfig(), resume=False)
    written = json.loads(folder.config.read_text())
    written["versions"]["torch"] = "1.0"
    folder.config.write_text(json.dumps(written))
    for _ in range(2):
        folder.enter(RunConfig(), resume=True)
    assert caplog.text.count("torch 1.0 before") == 1
    (now,) = json.loads(folder.config.read_text())["resumed_under"]
    assert now["torch"] != "1.0"
