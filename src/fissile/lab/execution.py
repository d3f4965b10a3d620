"""What the worker of a laboratory does: policy, error simulator, and one run after another. Torch is loaded here."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fissile.config import RunConfig, SimulatorRecipe
from fissile.config.start_recipe import StartConfig
from fissile.console import PlainConsole
from fissile.training.progress import Progress
from fissile.training.run_folder import RunFolder

LOG_WIDTH = 160
"""Columns of a log."""


def limit_threads(cores: int) -> None:
    """Let torch use so many threads, unless the user has said how many by OMP_NUM_THREADS."""
    import torch  # noqa: PLC0415

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores)


def execute_run(config: RunConfig) -> Mapping[str, Any]:
    """Do what is left of a run in its folder, as `fissile train --resume` does.

    Returns:
        The summary, as in `summary.json`.
    """
    from fissile.training.run import Run, quieten_libraries  # noqa: PLC0415

    quieten_libraries()
    folder = RunFolder(Path(config.output))
    folder.enter(config, resume=True)
    try:
        return Run(config, folder, Progress(log_console())).execute()
    finally:
        gc.collect()  # the next run gets the memory


def pretrain(config: StartConfig, folder: Path) -> None:
    """Make the small policy, or what is left to do of it."""
    from fissile.training.callbacks import StepProgress  # noqa: PLC0415
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.start import make_start  # noqa: PLC0415

    quieten_libraries()
    make_start(config, folder, [StepProgress(Progress(log_console()).step("start"))])


def teach_simulator(recipe: SimulatorRecipe) -> None:
    """Make the data and the adapter of the error simulator, or what is left to do of them."""
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.simulator_stages import make_simulator  # noqa: PLC0415

    quieten_libraries()
    try:
        make_simulator(recipe, Progress(log_console()))
    finally:
        gc.collect()  # the runs get the memory


def log_console() -> PlainConsole:
    """A console for a file: wide, and without colours."""
    return PlainConsole(width=LOG_WIDTH, no_color=True, force_terminal=False)
