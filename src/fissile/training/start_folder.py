"""Where a small policy lies, and where its pretraining keeps what it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StartFolder:
    """The folder of a small policy: a plain transformers model, and what it was made with."""

    path: Path

    @property
    def record(self) -> Path:
        """Settings and outcome of the pretraining; it is written last."""
        return self.path / "start.json"

    @property
    def checkpoints(self) -> Path:
        """Of the pretraining, beside the folder; removed when the policy is finished."""
        return self.path.with_name(f".{self.path.name}.checkpoints")

    @property
    def is_finished(self) -> bool:
        """Whether the policy is there, whole."""
        return self.record.exists()
