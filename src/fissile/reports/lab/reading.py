"""Reads a lab folder as far as it is there. A run that cannot be read is kept, with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fissile.errors import RunError
from fissile.journal import read_object
from fissile.lab.lab_folder import LabFolder, RunKey
from fissile.lab.spec import LabSpec
from fissile.reports import run_record
from fissile.reports.lab.lab_record import Arm, Lab, LabRun, RunState
from fissile.reports.run_lines import LoggedStep, StageReport
from fissile.reports.wording import plural
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.training.run_folder import RunFolder
from fissile.training.spending import Limit

MALFORMED = (*run_record.MALFORMED, OSError)
"""What a file of another shape raises."""

STARTS = ("cold_start", "base")
"""Stages of the policy before training, the later one first."""

PROVENANCE = ("fingerprint", "versions", "commit", "date", "hardware", "earlier")
"""Keys of `lab.json` that say what made the figures."""


def read_lab(folder: Path) -> Lab:
    """Read a lab folder.

    Raises:
        RunError: it holds no `lab.json`, or one of another shape.
    """
    layout = LabFolder(folder)
    path = layout.lab
    try:
        written = read_object(path)
        spec = LabSpec.model_validate(written["spec"])
        arms = tuple(_arm(layout, name, spec) for name in spec.arms)
        lab = Lab(
            name=folder.resolve().name,
            title=spec.title or folder.resolve().name,
            command=str(written["command"]),
            baseline=spec.baseline,
            order=tuple(spec.order),
            arms=arms,
            has_start=spec.start is not None,
            draws_worlds=spec.run.get("tasks", {}).get("source") == PROCEDURAL,
            provenance={key: written[key] for key in PROVENANCE if written.get(key)},
            unasked=_unasked(layout, arms),
        )
    except MALFORMED as error:
        raise RunError(
            f"'{folder}' is no lab folder ({path.name}: {error!r}). Give the folder that `fissile lab run` wrote: the "
            "output of its specification."
        ) from None
    return lab


def _arm(layout: LabFolder, name: str, spec: LabSpec) -> Arm:
    arm = spec.arms[name]
    return Arm(
        name=name,
        label=spec.label_of(name),
        group=arm.group,
        match=arm.match or "",
        reference=arm.reference or spec.baseline,
        runs=tuple(_run(layout, RunKey(name, seed)) for seed in range(spec.seeds_of(name))),
    )


def _unasked(layout: LabFolder, arms: Sequence[Arm]) -> tuple[RunKey, ...]:
    """The runs in the folder that no arm has: of an arm, or of seeds, that the specification has not any more."""
    asked = {RunKey(arm.name, run.seed) for arm in arms for run in arm.runs}
    return tuple(key for key in layout.begun() if key not in asked)


def _run(layout: LabFolder, key: RunKey) -> LabRun:
    folder, failure, seed = layout.run(key), layout.failure(key), key.seed
    if not folder.summary.is_file():
        if failure.is_file():
            return LabRun(seed, RunState.FAILED, _failure(failure, layout.path))
        if not folder.path.is_dir():
            return LabRun(seed, RunState.MISSING, "no folder yet")
        return LabRun(seed, RunState.UNFINISHED, f"{plural(_lines(folder.metrics), 'step')} so far")
    try:
        return _finished(folder, seed)
    except MALFORMED as error:
        return LabRun(seed, RunState.UNREADABLE, repr(error))


def _finished(folder: RunFolder, seed: int) -> LabRun:
    summary = read_object(folder.summary)
    config = read_object(folder.config)["config"]
    final = _final_stage(sorted(path.stem for path in folder.stages()), config)
    settings = config["training"]
    return LabRun(
        seed=seed,
        state=RunState.FINISHED,
        final=_stage(folder.evaluation(final)),
        checkpoints={step: _stage(path) for step, path in folder.step_evaluations().items()},
        steps=_steps(folder.metrics),
        spent={str(name): float(value) for name, value in summary["spent"].items()},
        budgets={name: int(settings[name]) for name in get_args(Limit) if settings.get(name)},
        ended_by=str(summary["ended_by"]),
        stopped=str(summary["stopped"]),
        feedback=dict(summary["feedback"]),
        seconds={str(name): float(value) for name, value in read_object(folder.meter)["seconds"].items()},
        rollouts_per_step=int(settings["prompts_per_step"]) * int(settings["group_size"]),
    )


def _final_stage(stages: Sequence[str], config: Mapping[str, Any]) -> str:
    """The stage of the trained policy; where nothing is trained, that of the starting one.

    Raises:
        ValueError: there is none, or more than one.
    """
    trained = [stage for stage in stages if stage not in STARTS]
    if not trained and not config["training"]["steps"]:
        trained = [stage for stage in STARTS if stage in stages][:1]
    if len(trained) != 1:
        raise ValueError(f"{plural(len(trained), 'final evaluation')} instead of one: {', '.join(trained) or 'none'}")
    return trained[0]


def _stage(path: Path) -> StageReport:
    return StageReport.from_dict(path.stem, read_object(path))


def _steps(path: Path) -> tuple[LoggedStep, ...]:
    """One step for each number; the last line of it counts."""
    if not path.is_file():
        return ()
    lines = (LoggedStep.from_dict(json.loads(line)) for line in path.read_bytes().splitlines())
    steps = {step.step: step for step in lines}
    return tuple(steps[number] for number in sorted(steps))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _failure(path: Path, lab: Path) -> str:
    """The reason that a failed run left, with paths relative to the lab folder: the page is read elsewhere."""
    try:
        return str(read_object(path)["error"]).replace(f"{lab.resolve()}/", "")
    except MALFORMED as error:
        return f"{path.name} cannot be read ({error!r})"
