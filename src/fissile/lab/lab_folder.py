"""The folder of a laboratory: where everything lies, and what stands in `lab.json`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from fissile.config import SimulatorRecipe
from fissile.config.start_recipe import StartConfig
from fissile.errors import RunError
from fissile.journal import read_object, write_json
from fissile.lab.spec import SIMULATOR, START, LabSpec
from fissile.training.run_folder import RunFolder
from fissile.training.simulator_folder import SimulatorFolder, data_settings, training_settings
from fissile.training.start_folder import StartFolder


class RunKey(NamedTuple):
    """Which run of a laboratory."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} seed {self.seed}"


@dataclass(frozen=True)
class LabFolder:
    """The layout of a laboratory; every path in one place."""

    path: Path

    @property
    def lab(self) -> Path:
        """The resolved specification, and what made the figures: versions, commit, hardware."""
        return self.path / "lab.json"

    @property
    def start(self) -> StartFolder:
        """The small policy that every run starts from."""
        return StartFolder(self.path / START)

    @property
    def start_log(self) -> Path:
        """What its pretraining printed."""
        return self.path / f"{START}.log"

    @property
    def simulator(self) -> SimulatorFolder:
        """The error simulator of the runs that ask the source 'learned'."""
        return SimulatorFolder(self.path / SIMULATOR)

    @property
    def simulator_log(self) -> Path:
        """What its making printed."""
        return self.path / f"{SIMULATOR}.log"

    @property
    def results(self) -> Path:
        """Every aggregated figure."""
        return self.path / "results.json"

    def run(self, key: RunKey) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "arms" / key.arm / f"seed-{key.seed}")

    def failure(self, key: RunKey) -> Path:
        """Why the last try of a run failed; it exists exactly when it did."""
        return self.path / "arms" / key.arm / f"seed-{key.seed}.failure.json"

    def log(self, key: RunKey) -> Path:
        """What a run printed."""
        return self.path / "arms" / key.arm / f"seed-{key.seed}.log"

    def is_finished(self, key: RunKey) -> bool:
        """Whether a run is done."""
        return self.run(key).summary.exists()

    def is_begun(self, key: RunKey) -> bool:
        """Whether a run has left anything but its configuration."""
        run = self.run(key)
        return any(run.config.name not in path.name for path in run.path.glob("*"))

    def begun(self) -> list[RunKey]:
        """The runs that have begun, finished or not; those of arms that are not asked any more, too."""
        found = [path for path in self.path.glob("arms/*/seed-*") if path.name.removeprefix("seed-").isdecimal()]
        keys = [RunKey(path.parent.name, int(path.name.removeprefix("seed-"))) for path in found]
        return sorted(key for key in keys if self.is_begun(key))

    def clear_unbegun(self, key: RunKey) -> None:
        """Remove the configuration, whole or torn, of a run that failed or was killed before it did anything."""
        if not self.is_begun(key):
            for path in self.run(key).path.glob("*"):
                path.unlink()

    def write_failure(self, key: RunKey, error: str, traceback: str) -> None:
        """Keep why a run failed."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.failure(key), {"error": error, "traceback": traceback, "date": date})

    def read_lab(self) -> dict[str, Any]:
        """What `lab.json` holds; empty where there is none.

        Raises:
            RunError: it cannot be read.
        """
        try:
            return read_object(self.lab)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"'{self.lab}' cannot be read ({error}). Remove it; the runs beside it are kept.") from None

    def read_summary(self, key: RunKey) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            RunError: it cannot be read.
        """
        summary = self.run(key).summary
        try:
            return read_object(summary)
        except (OSError, ValueError) as error:
            raise RunError(
                f"'{summary}' cannot be read ({error}). Remove the folder of that run to repeat it."
            ) from None

    def spent_tokens(self, key: RunKey) -> int:
        """Context and sampled tokens that a finished run has spent on reinforcement learning.

        Raises:
            RunError: its summary does not tell.
        """
        summary = self.read_summary(key)
        try:
            return int(summary["spent"]["context_tokens"]) + int(summary["spent"]["sampled_tokens"])
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"'{self.run(key).summary}' does not tell the tokens that {key} has spent. Remove the folder of that "
                "run to repeat it."
            ) from None

    def refuse_other_start(self, start: StartConfig | None) -> None:
        """Whether the small policy that is there, half there, or gone and was begun from is the one that is asked for.

        Raises:
            RunError: it was made with other settings.
        """
        if start is None:
            return
        try:
            fields = self._start_settings()
            before = start if fields is None else StartConfig.model_validate(fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"What '{self.start.path}' was made with cannot be told ({error}). {_ELSEWHERE}") from None
        changed = [name for name in StartConfig.model_fields if getattr(before, name) != getattr(start, name)]
        if changed:
            told = "; ".join(
                f"start.{name}: {getattr(before, name)} there, {getattr(start, name)} now" for name in changed
            )
            raise RunError(f"'{self.start.path}' was made with other settings ({told}). {_ELSEWHERE}")

    def _start_settings(self) -> Any:
        """Those of the small policy that the runs began from, or will; None where there was none."""
        if self.start.record.exists():
            return read_object(self.start.record)["config"]
        if self.start.checkpoints.exists() or self.begun():
            return self.read_lab()["spec"]["start"]
        return None

    def refuse_other_simulator(self, recipe: SimulatorRecipe | None) -> None:
        """Whether the error simulator that is there, or gone and was asked by a run, is the one that is asked for.

        Raises:
            RunError: its data or its adapter was made with other settings.
        """
        if recipe is None:
            return
        try:
            self.simulator.refuse_other("data", data_settings(recipe))
            self.simulator.refuse_other("training", training_settings(recipe))
        except RunError as error:
            raise RunError(f"{error}\nOf a laboratory: take [simulator] back to that. {_ELSEWHERE}") from None
        before = self._asked_simulator()
        if before is not None and training_settings(before) != training_settings(recipe):
            raise RunError(
                f"Runs of '{self.path}' have asked a simulator of other settings. Take [simulator] back to what "
                f"{self.lab.name} holds. {_ELSEWHERE}"
            )

    def _asked_simulator(self) -> SimulatorRecipe | None:
        """How the error simulator was made that runs have asked; None where none has."""
        begun = self.begun()
        if not begun:
            return None
        try:
            spec = LabSpec.model_validate(self.read_lab()["spec"])
        except (ValueError, KeyError) as error:
            raise RunError(
                f"What '{self.simulator.path}' was made with cannot be told ({error}). {_ELSEWHERE}"
            ) from None
        asked = any(spec.asks_simulator(key.arm) for key in begun if key.arm in spec.arms)
        return spec.simulator_recipe() if asked else None

    def has_simulator(self, recipe: SimulatorRecipe) -> bool:
        """Whether the error simulator is there."""
        return self.simulator.is_done("training", training_settings(recipe))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else runs this laboratory meanwhile; the lock ends with the process, however it ends.

        Raises:
            RunError: somebody does, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"'{self.path}' cannot be the folder of a laboratory ({error.strerror}). Choose another one with "
                "--set output=FOLDER."
            ) from None
        lock, holder = FileLock(self.path / ".lock", timeout=0), self.path / ".process"
        try:
            with lock:
                holder.write_text(str(os.getpid()), encoding="utf-8")
                yield
        except Timeout:
            process = holder.read_text(encoding="utf-8") if holder.exists() else "unknown"
            raise RunError(
                f"Process {process} runs the laboratory in '{self.path}'. Wait for it, or end it; everything is kept."
            ) from None


_ELSEWHERE = "Choose another folder for this laboratory, with --set output=FOLDER, or remove the whole laboratory."
