"""Checkpoints that are whole or not there, whenever the process is killed."""

from __future__ import annotations

import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fissile.errors import RunError
from fissile.journal import write_json

logger = logging.getLogger(__name__)

STATE = "fissile_state"
"""Stem of the state file of each process; it is written last, so its presence marks a complete checkpoint."""


@contextmanager
def explained_disk_errors(what: str | Path) -> Iterator[None]:
    """Turn whatever a library raises when a file cannot be written into one message.

    Raises:
        RunError: in place of the errors of the system, of safetensors and of torch.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _unwritable(what, reason) from error


def _unwritable(what: str | Path, reason: str) -> RunError:
    return RunError(
        f"'{what}' cannot be written ({reason}). Free some space or choose another output folder, then run the "
        "command again, with --resume where it takes that."
    )


def save_state(checkpoint: str, state: dict[str, Any], process_index: int = 0) -> None:
    """Add the method's state to a checkpoint of the trainer, as its last file."""
    write_json(Path(checkpoint) / f"{STATE}_{process_index}.json", state)


def load_state(checkpoint: str, fingerprint: str, process_index: int = 0) -> dict[str, Any]:
    """The state saved by `save_state`.

    Raises:
        RunError: the checkpoint is incomplete, or was written under another configuration.
    """
    path = Path(checkpoint) / f"{STATE}_{process_index}.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(
            f"'{checkpoint}' is not a complete checkpoint of this trainer (no readable {path.name}). "
            "Resume from an older one."
        ) from None
    if state["fingerprint"] != fingerprint:
        raise RunError(
            f"'{checkpoint}' was written under another configuration. Resume with the configuration of that run, or "
            "start this one in another output folder."
        )
    return state


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The newest complete checkpoint of a folder."""
    return next(filter(_is_complete, _newest_first(folder)), None)


def resume_point(folder: str | Path, say: Callable[[str], object] = logger.warning) -> Path | None:
    """As `latest_checkpoint`; incomplete newer ones are removed.

    Args:
        folder: of the checkpoints.
        say: is told where the training goes on, and what is removed; nothing where it begins.
    """
    checkpoint = latest_checkpoint(folder)
    torn = list(itertools.takewhile(lambda path: path != checkpoint, _newest_first(folder)))
    for path in torn:
        shutil.rmtree(path)
    if checkpoint is not None or torn:
        start = f"going on from step {step_of(checkpoint)}" if checkpoint is not None else "going on from the beginning"
        removed = f" ({', '.join(path.name for path in torn)} was not whole and is removed)" if torn else ""
        say(start + removed)
    return checkpoint


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _newest_first(folder: str | Path) -> list[Path]:
    found = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=step_of, reverse=True)


def _is_complete(checkpoint: Path) -> bool:
    return any(checkpoint.glob(f"{STATE}_*.json"))
