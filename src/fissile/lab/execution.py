"""What a process of a laboratory does: the small policy, the error simulator, or one run. Torch is loaded here."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fissile.config import RunConfig, SimulatorRecipe
from fissile.config.start_recipe import StartConfig
from fissile.console import PlainConsole
from fissile.errors import InputError
from fissile.journal import write_json
from fissile.training.progress import Progress
from fissile.training.run_folder import RunFolder

LOG_WIDTH = 160
"""Columns of a log."""


def work(kind: str, settings: Mapping[str, Any], failure: Path) -> None:
    """Do a job; where it fails, say why in the file `failure` and in the log, and end with exit code 1."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: what it does goes on from its last checkpoint
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        JOBS[kind](settings, Progress(PlainConsole(width=LOG_WIDTH, no_color=True, force_terminal=False)))
    except Exception as error:
        traceback.print_exc()
        message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        write_json(failure, {"error": message.strip(), "traceback": traceback.format_exc()})
        sys.exit(1)


def _end_with_parent() -> None:
    """End this process at once when its parent ends, however it does: then stdin closes."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _run(settings: Mapping[str, Any], progress: Progress) -> None:
    """What is left of a run in its folder, as `fissile train --resume` does it."""
    from fissile.training.run import Run, quieten_libraries  # noqa: PLC0415

    quieten_libraries()
    config = RunConfig.model_validate(settings)
    folder = RunFolder(Path(config.output))
    folder.enter(config, resume=True)
    Run(config, folder, progress).execute()


def _start(settings: Mapping[str, Any], progress: Progress) -> None:
    """The small policy, or what is left to do of it."""
    from fissile.training.callbacks import StepProgress  # noqa: PLC0415
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.start import make_start  # noqa: PLC0415

    quieten_libraries()
    config = StartConfig.model_validate(settings["start"])
    make_start(config, Path(settings["folder"]), [StepProgress(progress.step("start"))])


def _simulator(settings: Mapping[str, Any], progress: Progress) -> None:
    """The data and the adapter of the error simulator, or what is left to do of them."""
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.simulator_stages import make_simulator  # noqa: PLC0415

    quieten_libraries()
    make_simulator(SimulatorRecipe.model_validate(settings), progress)


JOBS = {"run": _run, "start": _start, "simulator": _simulator}
