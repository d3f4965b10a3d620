"""The packages of examples/, as if they were installed."""

import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def offer_examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the entry points of examples/pyproject.toml known, by the files that `pip install ./examples` leaves."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / "fissile_examples-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {place}" for name, place in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups) + "\n")
    for path in (folder, EXAMPLES):
        monkeypatch.syspath_prepend(str(path))
