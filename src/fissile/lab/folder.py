"""The folder of a laboratory: where everything lies, and what stands in `lab.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fissile.config import SimulatorRecipe
from fissile.config.start import StartConfig
from fissile.errors import RunError
from fissile.journal import write_json
from fissile.lab.spec import SIMULATOR, START
from fissile.training.folder import RunFolder
from fissile.training.simulator_folder import SimulatorFolder, data_settings, training_settings
from fissile.training.start_folder import StartFolder

try:
    import fcntl
except ImportError:  # Windows: there the folder is not locked
    fcntl = None  # type: ignore[assignment]


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
            fields: dict[str, Any] = json.loads(self.lab.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"'{self.lab}' cannot be read ({error}). Remove it; the runs beside it are kept.") from None
        return fields

    def spent_tokens(self, key: RunKey) -> int:
        """Context and sampled tokens that a finished run has spent on reinforcement learning.

        Raises:
            RunError: its summary does not tell.
        """
        summary = self.run(key).summary
        try:
            spent = json.loads(summary.read_text(encoding="utf-8"))["spent"]
            return int(spent["context_tokens"]) + int(spent["sampled_tokens"])
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"'{summary}' does not tell the tokens that {key} has spent. Repeat that run.") from None

    def refuse_other_start(self, start: StartConfig | None) -> None:
        """Whether the small policy that is there, or half there, is the one that is asked for.

        Raises:
            RunError: it was made with other settings.
        """
        made = self.start.record
        if start is None or not (made.exists() or self.start.checkpoints.exists()):
            return
        try:
            fields = json.loads(made.read_text(encoding="utf-8"))["config"] if made.exists() else None
            before = StartConfig.model_validate(fields or self.read_lab()["spec"]["start"])
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"'{self.start.path}' was not made by this version ({error}). {_ELSEWHERE}") from None
        changed = [name for name in StartConfig.model_fields if getattr(before, name) != getattr(start, name)]
        if changed:
            told = "; ".join(
                f"start.{name}: {getattr(before, name)} there, {getattr(start, name)} now" for name in changed
            )
            raise RunError(f"'{self.start.path}' was made with other settings ({told}). {_ELSEWHERE}")

    def refuse_other_simulator(self, recipe: SimulatorRecipe | None) -> None:
        """Whether the error simulator that is there is the one that is asked for.

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

    def has_simulator(self, recipe: SimulatorRecipe) -> bool:
        """Whether the error simulator is there."""
        return self.simulator.is_done("training", training_settings(recipe))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else runs this laboratory meanwhile; the lock ends with the process, however it ends.

        Raises:
            RunError: somebody does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as lock:
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.seek(0)
                    raise RunError(
                        f"Process {lock.read() or 'unknown'} runs the laboratory in '{self.path}'. Wait for it, or end "
                        "it; everything is kept."
                    ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield


_ELSEWHERE = "Choose another folder for this laboratory, with --set output=FOLDER, or remove that one."
