"""What a run folder holds, read as far as it is there. Nothing here fails because a run is not finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fissile.errors import RunError
from fissile.journal import read_object
from fissile.reports.run_lines import EpisodeOutcome, Fission, Interception, LoggedStep, StageReport
from fissile.reports.wording import STAGES, plural
from fissile.serial import from_json
from fissile.training.run_folder import RunFolder

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What a record of another shape raises."""

Problems = list[str]
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as its folder tells it.

    Attributes:
        name: of the folder.
        config: the nested configuration; empty if `config.json` is not there.
        fingerprint: of the configuration.
        versions: package to version.
        platform: the machine's system.
        steps: one for each optimizer step, in order.
        interceptions: corrections that were made, in order.
        fissions: corrections that were used, in order.
        stages: evaluations in the order of the run.
        during: evaluations during the training, in the order of the steps; their stages are "step_10", ...
        outcomes: stage to what came of each of its episodes, in order.
        cold_start: `cold_start/summary.json`; empty where there is none.
        summary: `summary.json`; empty while the run is not finished.
        seconds: phase to seconds, finished phases only.
        peak_memory_bytes: phase to bytes.
        problems: one sentence for each file or record that could not be read.
    """

    name: str
    config: Mapping[str, Any]
    fingerprint: str
    versions: Mapping[str, Any]
    platform: str
    steps: tuple[LoggedStep, ...]
    interceptions: tuple[Interception, ...]
    fissions: tuple[Fission, ...]
    stages: tuple[StageReport, ...]
    during: tuple[StageReport, ...]
    outcomes: Mapping[str, tuple[EpisodeOutcome, ...]]
    cold_start: Mapping[str, Any]
    summary: Mapping[str, Any]
    seconds: Mapping[str, float]
    peak_memory_bytes: Mapping[str, float]
    problems: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """True when the run wrote its summary."""
        return bool(self.summary)

    def setting(self, *keys: str, default: Any = None) -> Any:
        """A value of the nested configuration, or the default."""
        value: Any = self.config
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                return default
            value = value[key]
        return value


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        RunError: the folder is not there, or holds nothing that a run leaves.
    """
    folder = RunFolder(path)
    evaluations = sorted(folder.stages(), key=_stage_order)
    if not any(file.is_file() for file in (folder.config, folder.metrics, folder.corrections, folder.summary)) and not (
        evaluations
    ):
        what = "holds no run" if path.is_dir() else "is not a folder"
        raise RunError(f"'{path}' {what}. Give the folder that `fissile train` wrote: the recipe's output or --output.")
    problems: Problems = []
    written = _object(folder.config, problems)
    summary = _object(folder.summary, problems)
    meter = summary if "seconds" in summary else _object(folder.meter, problems)
    stages = tuple(_evaluations(evaluations, problems))
    interceptions, fissions = _corrections(folder.corrections, problems)
    return RunRecord(
        name=path.resolve().name,
        config=_mapping(written, "config"),
        fingerprint=str(written.get("fingerprint", "")),
        versions=_mapping(written, "versions"),
        platform=str(written.get("platform", "")),
        steps=_steps(folder.metrics, problems),
        interceptions=interceptions,
        fissions=fissions,
        stages=stages,
        during=tuple(_evaluations(list(folder.step_evaluations().values()), problems)),
        outcomes={
            stage.stage: tuple(_records(folder.episodes(stage.stage), EpisodeOutcome.from_dict, problems))
            for stage in stages
        },
        cold_start=_object(folder.cold_start_summary, problems),
        summary=summary,
        seconds=_numbers(meter, "seconds"),
        peak_memory_bytes=_numbers(meter, "peak_memory_bytes"),
        problems=tuple(problems),
    )


def _stage_order(path: Path) -> tuple[int, str]:
    known = list(STAGES)
    return (known.index(path.stem) if path.stem in known else len(known), path.stem)


def _evaluations(paths: list[Path], problems: Problems) -> Iterator[StageReport]:
    for path in paths:
        known = len(problems)
        fields = _object(path, problems)
        if len(problems) > known:
            continue
        try:
            yield StageReport.from_dict(path.stem, fields)
        except MALFORMED as error:
            problems.append(f"evaluations/{path.name} is no recovery report ({error!r}) and was left out.")


def _steps(path: Path, problems: Problems) -> tuple[LoggedStep, ...]:
    """One step for each number; a step that was logged twice counts as logged last, and is a problem."""
    logged = list(_records(path, LoggedStep.from_dict, problems))
    steps = {step.step: step for step in logged}
    if twice := len(logged) - len(steps):
        problems.append(f"{path.name}: left out {plural(twice, 'record')} of steps that were logged again.")
    for key in dict.fromkeys(key for step in steps.values() for key in step.not_finite):
        at = [number for number, step in sorted(steps.items()) if key in step.not_finite]
        problems.append(f"{key} was not finite at {plural(len(at), 'step')}, first at step {at[0]}.")
    return tuple(steps[number] for number in sorted(steps))


def _corrections(path: Path, problems: Problems) -> tuple[tuple[Interception, ...], tuple[Fission, ...]]:
    def typed(fields: dict[str, Any]) -> Interception | Fission:
        return _EVENTS[fields["event"]](fields)

    records = list(_records(path, typed, problems))
    return (
        tuple(record for record in records if isinstance(record, Interception)),
        tuple(record for record in records if isinstance(record, Fission)),
    )


_EVENTS: dict[str, Callable[[dict[str, Any]], Interception | Fission]] = {
    "intercepted": partial(from_json, Interception),
    "fission": Fission.from_dict,
}


def _records(path: Path, typed: Callable[[dict[str, Any]], Read], problems: Problems) -> Iterator[Read]:
    """The records of a JSON-lines file that are whole; the number of the others becomes a problem."""
    if not path.is_file():
        return
    unread = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = typed(json.loads(line))
            except MALFORMED:
                unread += 1
            else:
                yield record
    if unread:
        problems.append(f"{path.name}: left out {plural(unread, 'record')} that could not be read.")


def _object(path: Path, problems: Problems) -> dict[str, Any]:
    """A JSON object; empty if the file is not there or is none."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}
    except (OSError, *MALFORMED) as error:
        problems.append(f"{path.name} cannot be read ({error}) and was left out.")
        return {}


def _mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _numbers(fields: Mapping[str, Any], key: str) -> dict[str, float]:
    return {name: float(value) for name, value in _mapping(fields, key).items() if isinstance(value, int | float)}
