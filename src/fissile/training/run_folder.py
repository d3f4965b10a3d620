"""What a run leaves on disk, and the rules for entering a folder that already holds one."""

from __future__ import annotations

import json
import logging
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from fissile.config import RunConfig
from fissile.errors import InputError, Interrupted, RunError
from fissile.journal import write_json

logger = logging.getLogger(__name__)

STEP_STAGE = re.compile(r"step_(\d+)")
"""Stages of evaluations during the training, of fewer tasks."""

PACKAGES = ("fissile", "torch", "transformers", "trl", "peft", "accelerate", "datasets")
"""Those that shape a figure."""


class RunFolder:
    """The layout of a run folder; every path in one place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"  # the resolved configuration
        self.metrics = path / "metrics.jsonl"  # one record for each optimizer step
        self.corrections = path / "corrections.jsonl"  # one record for each intercepted failure and each fission
        self.summary = path / "summary.json"  # the figures of the run; it exists exactly when the run is finished
        self.report = path / "report.html"  # the page to look at
        self.meter = path / "meter.json"  # seconds and memory so far
        self.adapter = path / "adapter"  # the trained adapter, for plain PEFT
        self.cold_start = path / "cold_start"  # the adapter after the cold start, and its checkpoints
        self.cold_start_summary = self.cold_start / "summary.json"  # what examples it showed, and its mean loss
        self.checkpoints = path / "checkpoints"  # of the reinforcement-learning stage

    def evaluation(self, stage: str) -> Path:
        """The recovery report of a stage."""
        return self.path / "evaluations" / f"{stage}.json"

    def step_evaluation(self, step: int) -> Path:
        """The recovery report of the policy in training, after an optimizer step."""
        return self.evaluation(f"step_{step}")

    def stages(self) -> list[Path]:
        """The recovery reports that there are, without those of single steps."""
        return [report for report in self._evaluations() if not STEP_STAGE.fullmatch(report.stem)]

    def step_evaluations(self) -> dict[int, Path]:
        """Optimizer step to its recovery report, of those that there are, in order."""
        found = {report: STEP_STAGE.fullmatch(report.stem) for report in self._evaluations()}
        return dict(sorted((int(match[1]), report) for report, match in found.items() if match))

    def _evaluations(self) -> Iterator[Path]:
        return (self.path / "evaluations").glob("*.json")

    def episodes(self, stage: str) -> Path:
        """Every attempt of a stage's evaluation."""
        return self.records(stage, "episodes")

    def records(self, stage: str, name: str) -> Path:
        """Records of a stage's evaluation: "episodes", and in live worlds "rollouts" with every answer of the tools."""
        return self.path / "evaluations" / f"{stage}.{name}.jsonl"

    def enter(self, config: RunConfig, resume: bool) -> None:
        """Make the folder, or check that it may be resumed; write the configuration and versions.

        Raises:
            RunError: the folder holds a run and `resume` is off, or it holds a run of another configuration.
        """
        if self.config.exists():
            if not resume:
                raise RunError(
                    f"'{self.path}' already holds a run. Choose another folder with --output, or go on with it with "
                    "`fissile train --resume`."
                )
            self._refuse_other(config)
            self._note_versions()
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"'{self.path}' is not empty and holds no run. Choose another folder with --output.")
        write_json(
            self.config,
            {
                "config": config.model_dump(mode="json"),
                "fingerprint": config.fingerprint,
                "versions": versions(),
                "platform": platform.platform(),
            },
        )

    @contextmanager
    def entered(self, config: RunConfig, resume: bool) -> Iterator[None]:
        """As `enter`; where bad input or the user ends the run before it has left anything, all is as it was before.

        Raises:
            RunError: as `enter` does.
        """
        was_there, is_ours = self.path.exists(), not self.config.exists()
        try:
            self.enter(config, resume)
            is_ours = True
            yield
        except (InputError, Interrupted):
            entry = {self.config, self.meter}
            if is_ours and self.path.exists() and set(self.path.iterdir()) <= entry:
                for file in entry:
                    file.unlink(missing_ok=True)
                if not was_there:
                    self.path.rmdir()
            raise

    def read_config(self, remedy: str) -> RunConfig:
        """The configuration of the run that it holds; RunError with this remedy where it holds none of this version."""
        try:
            return RunConfig.model_validate(json.loads(self.config.read_text(encoding="utf-8"))["config"])
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"'{self.path}' is no run folder of this version ({error}). {remedy}") from None

    def _note_versions(self) -> None:
        """Say and keep under which other versions a run goes on."""
        written = json.loads(self.config.read_text(encoding="utf-8"))
        parts = [written["versions"], *written.get("resumed_under", [])]
        before, now = parts[-1], versions()
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            told = "; ".join(f"{name} {before.get(name)} before, {now[name]} now" for name in changed)
            logger.warning("'%s' goes on under other versions: %s. Its figures are of both.", self.path, told)
            write_json(self.config, {**written, "resumed_under": [*parts[1:], now]})

    def _refuse_other(self, config: RunConfig) -> None:
        before = json.loads(self.config.read_text(encoding="utf-8"))
        if before["fingerprint"] == config.fingerprint:
            return
        old, new = _flat(before["config"]), _flat(config.model_dump(mode="json"))
        changed = [key for key in sorted(old | new) if old.get(key) != new.get(key) and key != "output"]
        told = "; ".join(f"{key}: {old.get(key)!r} there, {new.get(key)!r} now" for key in changed[:5])
        told = told or "the content of its task or tool file"
        raise RunError(
            f"'{self.path}' holds a run of another configuration ({told}). Resume with that one, or choose another "
            "folder with --output."
        )


def told_shown(fields: Mapping[str, Any]) -> str:
    """What a cold start showed, of its `summary.json`.

    `60 examples (518 asked), 25 of them recoveries; 3 left out: longer than 2048 tokens`.
    """
    asked = f" ({fields['asked']:,} asked)" if fields["asked"] != fields["examples"] else ""
    recoveries = f", {fields['recoveries']:,} of them recoveries" if fields["recoveries"] else ""
    left_out = "".join(f"; {count} left out: {reason}" for reason, count in fields["left_out"].items())
    return f"{fields['examples']:,} example{'' if fields['examples'] == 1 else 's'}{asked}{recoveries}{left_out}"


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def versions() -> dict[str, str]:
    """Of Python and of `PACKAGES`; "unknown" for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
