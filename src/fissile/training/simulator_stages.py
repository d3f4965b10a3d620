"""The stages of an error simulator over its folder: its data, then its adapter; what is done is not done again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from fissile.calls import JSON
from fissile.config.simulator_recipe import ENDPOINT, SimulatorRecipe
from fissile.feedback import FeedbackSource
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.settings import CACHE
from fissile.training.callbacks import AfterCheckpoint, StepProgress
from fissile.training.meter import Meter
from fissile.training.progress import Progress
from fissile.training.simulator_data import make_rows
from fissile.training.simulator_folder import SimulatorFolder, data_settings, fingerprint, training_settings
from fissile.training.simulator_making import train_simulator


def make_simulator(recipe: SimulatorRecipe, progress: Progress) -> SimulatorFolder:
    """Data and adapter of a recipe, or what is left to do of them.

    Raises:
        InputError: as `make_data` and `teach`.
    """
    folder = SimulatorFolder(Path(recipe.output))
    folder.path.mkdir(parents=True, exist_ok=True)
    teach(recipe, folder, make_data(recipe, folder, progress), progress)
    return folder


def make_data(recipe: SimulatorRecipe, folder: SimulatorFolder, progress: Progress) -> list[DiagnosedFailure]:
    """The rows of the folder, made unless they are there.

    Raises:
        InputError: the folder holds data of another recipe, or no data can be made.
    """
    settings = data_settings(recipe)
    folder.refuse_other("data", settings)
    if not folder.is_done("data", settings):
        with progress.phase("data"):
            rows, held = make_rows(recipe, _teacher(recipe, folder), progress.count("data", "a diagnosis", "diagnoses"))
            folder.write_rows(rows)
            folder.finish("data", settings, {"statistics": held})
    return folder.read_rows()


def teach(recipe: SimulatorRecipe, folder: SimulatorFolder, rows: list[DiagnosedFailure], progress: Progress) -> bool:
    """Train the adapter of the folder, or what is left of it, unless it is there.

    Returns:
        Whether anything was left to do.

    Raises:
        InputError: the folder holds an adapter, or a checkpoint, of another recipe.
    """
    settings = training_settings(recipe)
    folder.refuse_other("training", settings)
    if folder.is_done("training", settings):
        return False
    folder.finish("training", settings, _taught(recipe, folder, rows, settings, progress))
    return True


def _taught(
    recipe: SimulatorRecipe,
    folder: SimulatorFolder,
    rows: list[DiagnosedFailure],
    settings: Mapping[str, JSON],
    progress: Progress,
) -> dict[str, JSON]:
    """What the training says of itself, its seconds and memory among it; those of an earlier part are added."""
    meter = Meter.read(folder.meter)
    callbacks = [StepProgress(progress.step("simulator")), AfterCheckpoint(lambda: meter.write(folder.meter))]
    try:
        with meter.phase("training"), progress.phase("training"):
            taught = train_simulator(recipe, rows, folder.path, fingerprint(dict(settings)), callbacks)
    finally:
        meter.write(folder.meter)
    cost: dict[str, JSON] = {
        "seconds": meter.seconds["training"],
        "peak_memory_bytes": meter.peak_memory_bytes["training"],
    }
    return {**asdict(taught), **cost}


def _teacher(recipe: SimulatorRecipe, folder: SimulatorFolder) -> FeedbackSource | None:
    """The teacher 'endpoint', where the data has it."""
    if recipe.endpoint is None or ENDPOINT not in recipe.data.teachers:
        return None
    return EndpointSource(recipe.endpoint, folder.path / CACHE)
