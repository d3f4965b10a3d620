"""What made the figures of a laboratory."""

import json
import subprocess
from pathlib import Path

import pytest

from fissile.lab import LabFolder, LabSpec, provenance
from fissile.lab.provenance import commit, fingerprint, write_lab


def spec(**fields: object) -> LabSpec:
    return LabSpec.model_validate({"arms": {"grpo": {}, "fission": {"set": {"training": {"steps": 3}}}}, **fields})


def test_a_fingerprint_is_of_what_shapes_the_figures() -> None:
    before = fingerprint(spec())
    assert fingerprint(spec(title="x", output="y", start=None)) == before
    assert fingerprint(spec(start={})) != before
    assert fingerprint(spec(start={}, output="y")) == fingerprint(spec(start={}))
    assert fingerprint(spec(seeds=3)) != before
    assert fingerprint(spec(run={"training": {"group_size": 4}})) != before


def test_a_commit_is_that_of_the_package_not_of_whatever_lies_around_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert commit(package) == ""
    git("init")
    (tmp_path / "other").touch()
    git("add", "other")
    git("commit", "-m", "x")
    assert commit(package) == ""
    git("add", "package")
    git("commit", "-m", "y")
    clean = commit(package)
    assert len(clean) >= 7
    (package / "__init__.py").write_text("changed")
    assert commit(package) == f"{clean}-dirty"


def test_earlier_makers_are_kept_where_they_were_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LabFolder(tmp_path)
    for made, runs in (("a", True), ("a", True), ("b", True), ("c", False), ("c", True)):
        monkeypatch.setattr(provenance, "commit", lambda made=made: made)
        write_lab(folder, spec(), "command", runs)
    fields = json.loads(folder.lab.read_text(encoding="utf-8"))
    assert [one["commit"] for one in fields["earlier"]] == ["a", "b"]
    assert fields["commit"] == "c"
