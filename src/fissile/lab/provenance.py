"""What made the figures of a laboratory: the specification, the versions, the commit of the source, the machine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fissile
from fissile.journal import write_json
from fissile.lab.lab_folder import LabFolder
from fissile.lab.spec import LabSpec
from fissile.machine import machine
from fissile.training.run_folder import versions
from fissile.training.simulator_folder import training_settings

MAKERS = ("versions", "commit", "date", "hardware", "command")
"""Keys of `lab.json` about who made the figures."""


def write_lab(folder: LabFolder, spec: LabSpec, command: str, runs: bool) -> None:
    """Write `lab.json`.

    What made earlier figures is kept under "earlier", oldest first, where it was not the same; and where nothing is
    left to run, those who made the figures stay.

    Args:
        folder: of the laboratory.
        spec: what is run now.
        command: repeats it.
        runs: whether anything is left to run.
    """
    before = folder.read_lab()
    made = {name: before[name] for name in MAKERS if name in before}
    earlier = list(before.get("earlier", []))
    now: dict[str, Any] = made
    if runs or not made:
        now = {"versions": versions(), "commit": commit(), **machine(), "command": command}
        if made and _lasting(made) != _lasting(now):
            earlier.append(made)
    fields = {"spec": spec.model_dump(mode="json"), "fingerprint": fingerprint(spec), **now}
    write_json(folder.lab, {**fields, **({"earlier": earlier} if earlier else {})})


def _lasting(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a change of is worth telling."""
    return {name: value for name, value in made.items() if name in {"versions", "commit", "hardware"}}


def fingerprint(spec: LabSpec) -> str:
    """A hash of all that shapes the figures: not of the folder, the title and the labels."""
    spec = spec.model_copy(update={"output": ""})
    arms = {
        name: {
            "seeds": spec.seeds_of(name),
            "match": arm.match,
            "run": spec.run_config(name, 0, Path("run")).fingerprint,
        }
        for name, arm in spec.arms.items()
    }
    made = [arms, None if spec.start is None else spec.start.model_dump(mode="json")]
    recipe = spec.simulator_recipe()
    if recipe is not None and any(map(spec.asks_simulator, spec.arms)):
        made.append(training_settings(recipe))
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def commit(source: Path | None = None) -> str:
    """`git describe --always --dirty` of a source tree, by default this package's; "" where it is in no repository."""
    source = source or Path(fissile.__file__).parent
    try:
        _git(source, "ls-files", "--error-unmatch", "__init__.py")  # an environment may lie in somebody's repository
        return _git(source, "describe", "--always", "--dirty")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(source: Path, *arguments: str) -> str:
    command = ["git", "-C", str(source), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
