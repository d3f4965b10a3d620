"""What the making of an error simulator leaves on disk, and when it may be gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fissile.calls import JSON, canonical_json
from fissile.config.simulator_recipe import ENDPOINT, SimulatorRecipe
from fissile.errors import RunError
from fissile.feedback.source_names import LEARNED
from fissile.journal import JsonLines, write_json
from fissile.simulator.dataset import read_rows
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.simulator.prompt import SimulatorPrompt
from fissile.simulator.settings import SimulatorSettings

CARD = "README.md"
"""Model card of an adapter; it shapes nothing."""

ADAPTER = "adapter"
"""Folder of the trained adapter inside a simulator's folder."""


def data_settings(recipe: SimulatorRecipe) -> dict[str, JSON]:
    """All that shapes the data, the contents of files included."""
    fields: dict[str, JSON] = {"data": recipe.data.shaping, "seed": recipe.seed}
    if recipe.data.split_like is not None:
        fields["split_like"] = digest(recipe.data.split_like)
    if ENDPOINT in recipe.data.teachers:
        fields |= asked_settings(ENDPOINT, SimulatorSettings(endpoint=recipe.endpoint))
    return fields


def training_settings(recipe: SimulatorRecipe) -> dict[str, JSON]:
    """All that shapes the adapter."""
    return {**data_settings(recipe), **recipe.model_dump(mode="json", include={"model", "training"})}


def asked_settings(name: str, settings: SimulatorSettings) -> dict[str, JSON]:
    """All that shapes what a source says: nothing for one that is no model."""
    fields: dict[str, JSON] = {**settings.shaping({name})}
    if name == ENDPOINT and settings.endpoint is not None and settings.endpoint.prompt_file is not None:
        fields["prompt"] = digest(settings.endpoint.prompt_file)
    if name == LEARNED and settings.learned.adapter is not None:
        fields["adapter"] = digest(settings.learned.adapter)
    return fields


def digest(path: str | Path) -> str:
    """A hash of what a file holds, or of all files directly in a folder but its card; "" where there is nothing."""
    place = Path(path).expanduser()
    files = sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]
    shaping = [file for file in files if file.is_file() and not (place.is_dir() and file.name == CARD)]
    held = [hashlib.sha256(file.read_bytes()).hexdigest() for file in shaping]
    return fingerprint(held) if held else ""


def fingerprint(settings: JSON) -> str:
    """A hash of settings: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(settings).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class SimulatorFolder:
    """The layout of a simulator's folder."""

    path: Path

    @property
    def rows(self) -> Path:
        """The data, one row a line; `prompt` and `completion` are the columns that TRL's trainers read."""
        return self.path / "rows.jsonl"

    @property
    def adapter(self) -> Path:
        """The trained adapter; it exists exactly when it is whole."""
        return self.path / ADAPTER

    @property
    def meter(self) -> Path:
        """Seconds and memory of the training."""
        return self.path / "meter.json"

    @property
    def evaluation(self) -> Path:
        """The figures of every evaluated source."""
        return self.path / "evaluation.json"

    def record(self, stage: str) -> Path:
        """Settings and outcome of a stage ("data", "training"); it exists exactly when the stage is done."""
        return self.path / f"{stage}.json"

    def is_done(self, stage: str, settings: Mapping[str, JSON]) -> bool:
        """Whether a stage was done with these settings."""
        return self.settings(stage) == settings

    def refuse_other(self, stage: str, settings: Mapping[str, JSON]) -> None:
        """Refuse to lose what a stage made with other settings.

        Raises:
            RunError: it was done with others.
        """
        before = self.settings(stage)
        if before is not None and before != settings:
            changed = [key for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)]
            raise RunError(
                f"'{self.path}' holds {stage} of another recipe ({', '.join(changed)}). Choose another folder with "
                "--output, or delete it."
            )

    def settings(self, stage: str) -> dict[str, JSON] | None:
        """Those that a stage was done with; None if it was not done.

        Raises:
            RunError: its record cannot be read.
        """
        record = self.record(stage)
        if not record.exists():
            return None
        try:
            settings: dict[str, JSON] = json.loads(record.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{record} cannot be read. Delete it, and run the command again.") from None
        return settings

    def finish(self, stage: str, settings: Mapping[str, JSON], outcome: Mapping[str, JSON]) -> None:
        """Note that a stage is done."""
        write_json(self.record(stage), {"settings": dict(settings), **outcome})

    def write_rows(self, rows: Sequence[DiagnosedFailure]) -> None:
        """Write the data so that the file is whole or absent."""
        prompt = SimulatorPrompt.named("learned")
        partial = self.path / ".rows.partial.jsonl"
        partial.unlink(missing_ok=True)
        with JsonLines(partial) as lines:
            for row in rows:
                asked = list(prompt.messages(row.failure))
                said = [{"role": "assistant", "content": row.written}]
                lines.append({**row.to_row(), "prompt": asked, "completion": said})
        partial.replace(self.rows)

    def read_rows(self) -> list[DiagnosedFailure]:
        """The data.

        Raises:
            DataError: a line is no row.
            RunError: there is none.
        """
        if not self.rows.exists():
            raise RunError(f"'{self.path}' holds no data. Make it with `fissile simulate data`.")
        return read_rows(self._lines(), str(self.rows))

    def _lines(self) -> Iterator[Mapping[str, JSON]]:
        with self.rows.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise RunError(f"{self.rows}:{number} is no JSON. Make the data anew.") from None
