"""Lab folders as a laboratory leaves them, with figures that are chosen by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fissile.serial import to_json
from fissile.statistics import Ratio

METRICS = (
    "recovery_rate",
    "final_accuracy",
    "first_attempt_accuracy",
    "next_attempt_recovery_rate",
    "repeat_rate",
    "calls_per_task",
)
Count = tuple[int, int]


def write_object(path: Path, fields: Mapping[str, Any]) -> None:
    """One JSON object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))


def write_lab(folder: Path, arms: Mapping[str, Mapping[str, Any]], seeds: int = 2, **spec: Any) -> Path:
    """`lab.json` alone."""
    write_object(
        folder / "lab.json",
        {
            "spec": {
                "title": "A small lab",
                "output": "runs/lab",
                "seeds": seeds,
                "start": {"layers": 2},
                "run": {"tasks": {"source": "procedural"}},
                "arms": dict(arms),
                **spec,
            },
            "command": "fissile lab run recipes/lab.toml",
            "fingerprint": "f1ng3r",
            "versions": {"fissile": "0.1.0", "python": "3.11.2"},
            "commit": "abc1234-dirty",
            "date": "2026-11-23",
            "hardware": "a machine, 2 cores",
        },
    )
    return folder


def report_of(counts: Mapping[str, Count] | Count) -> dict[str, Any]:
    """An evaluation with these counts; one count stands for every metric."""
    held = counts if isinstance(counts, Mapping) else dict.fromkeys(METRICS, counts)
    ratios = {key: Ratio(num, den, num / den if den else None, None, None) for key, (num, den) in held.items()}
    return {"n_tasks": 4, "error_kinds": {}, **{key: to_json(ratio) for key, ratio in ratios.items()}}


def write_run(
    folder: Path,
    arm: str,
    seed: int,
    final: Mapping[str, Count] | Count,
    *,
    stage: str = "grpo",
    checkpoints: Mapping[int, Mapping[str, Count] | Count] | None = None,
    steps: Sequence[Mapping[str, float]] = (),
    spent: Mapping[str, int] | None = None,
    budgets: Mapping[str, int] | None = None,
    seconds: Mapping[str, float] | None = None,
    ended_by: str = "",
    stopped: str = "",
    feedback: Mapping[str, Any] | None = None,
) -> Path:
    """A finished run; `steps` are the lines of its metrics without their numbers."""
    path = folder / "arms" / arm / f"seed-{seed}"
    trained = 0 if stage == "base" else max(1, len(steps))
    limits = {"rollouts": None, "tokens": None, **(budgets or {})}
    config = {"training": {"steps": trained, "prompts_per_step": 2, "group_size": 4, **limits}}
    write_object(path / "config.json", {"config": config})
    write_object(path / "evaluations" / f"{stage}.json", report_of(final))
    for step, counts in (checkpoints or {}).items():
        write_object(path / "evaluations" / f"step_{step}.json", report_of(counts))
    lines = [json.dumps({"step": number, **step}) for number, step in enumerate(steps, start=1)]
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    write_object(path / "meter.json", {"seconds": dict(seconds or {stage: 10.0, f"evaluate_{stage}": 2.0})})
    told = {"ended_by": ended_by, "stopped": stopped, "feedback": dict(feedback or {})}
    write_object(path / "summary.json", {"method": "grpo", "spent": dict(spent or {}), **told})
    return path
