"""Trainings whose script leaves nothing to learn: what they sample and count is tested, and that they say so."""

from __future__ import annotations

from typing import Any

import pytest

from fissile.errors import RunError


def train_idly(trainer: Any, **options: Any) -> None:
    """Train to the end; the trainer must refuse to call it a success."""
    with pytest.raises(RunError, match=r"No update was made: no group of [0-9]+ steps had any variance"):
        trainer.train(**options)
