import json
import os
from pathlib import Path

import pytest

from fissile.errors import RunError
from fissile.journal import write_json
from fissile.training.checkpoints import latest_checkpoint, load_state, resume_point, save_state


def test_the_latest_complete_checkpoint_is_found_and_incomplete_ones_go(tmp_path: Path) -> None:
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        save_state(str(tmp_path / f"checkpoint-{step}"), {"fingerprint": "a"})
    (tmp_path / "checkpoint-12").mkdir()
    (tmp_path / "checkpoint-12" / "optimizer.pt").write_text("torn")
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert (tmp_path / "checkpoint-12").exists()  # to tell what is kept removes nothing
    told: list[str] = []
    assert resume_point(tmp_path, told.append) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
    assert told == ["going on from step 10 (checkpoint-12 was not whole and is removed)"]
    assert resume_point(tmp_path / "nowhere", told.append) is None
    assert len(told) == 1


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    save_state(str(tmp_path), {"fingerprint": "a"})
    assert load_state(str(tmp_path), "a")["fingerprint"] == "a"
    with pytest.raises(RunError, match="another configuration"):
        load_state(str(tmp_path), "b")


def test_a_folder_without_state_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a complete checkpoint"):
        load_state(str(tmp_path), "a")


def test_json_is_whole_or_unchanged_on_a_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full to stand for a full disk")
    target = tmp_path / "summary.json"
    write_json(target, {"a": 1})
    (tmp_path / f".summary.json.{os.getpid()}").symlink_to(full)  # the temporary file cannot be written
    with pytest.raises(RunError, match="No space left on device"):
        write_json(target, {"a": 2})
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
