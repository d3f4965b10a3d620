"""Where each logger puts its files and under which project: in the run folder, unless the user's environment says."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDERS = {
    "wandb": {"WANDB_DIR": "{folder}"},  # it makes a folder "wandb" there
    "tensorboard": {"TENSORBOARD_LOGGING_DIR": "{folder}/tensorboard"},
    "trackio": {"TRACKIO_DIR": "{folder}/trackio"},
    "mlflow": {"MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db"},
    "comet_ml": {"COMET_OFFLINE_DIRECTORY": "{folder}/comet"},
    "swanlab": {"SWANLAB_LOG_DIR": "{folder}/swanlog"},
}
"""Environment variables that place files, by logger. codecarbon and dvclive are told without."""

PROJECTS = {
    "wandb": "WANDB_PROJECT",
    "mlflow": "MLFLOW_EXPERIMENT_NAME",
    "comet_ml": "COMET_PROJECT_NAME",
    "clearml": "CLEARML_PROJECT",
    "swanlab": "SWANLAB_PROJECT",
}
"""Environment variable of the project, by logger. trackio reads it from the trainer's arguments."""

RUN_NAMES = {"clearml": "CLEARML_TASK"}
"""Environment variable of the run's name, where the trainer's arguments are not read."""


def environment(name: str, folder: Path, project: str, run_name: str, is_own_project: bool) -> dict[str, str]:
    """The variables to set for a logger; those that the user has set stay, but for a project that the recipe names.

    `folder` is absolute; `is_own_project` where the recipe names the project.
    """
    places = {variable: text.format(folder=folder) for variable, text in FOLDERS.get(name, {}).items()}
    if name in RUN_NAMES:
        places[RUN_NAMES[name]] = run_name
    wanted = {variable: value for variable, value in places.items() if not os.environ.get(variable)}
    variable = PROJECTS.get(name)
    if variable and (is_own_project or not os.environ.get(variable)):
        wanted[variable] = project
    return wanted


@contextmanager
def in_folder(name: str) -> Iterator[None]:
    """Let trackio write where TRACKIO_DIR says now: it reads that when it is imported, and TRL imports it."""
    if name != "trackio" or importlib.util.find_spec(name) is None:
        yield
        return
    import trackio.utils  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    before, wanted = trackio.utils.TRACKIO_DIR, Path(os.environ["TRACKIO_DIR"])
    _move(before, wanted)
    try:
        yield
    finally:
        _move(wanted, before)


def _move(before: Path, after: Path) -> None:
    """Every path of trackio's modules that lies in one folder, in another."""
    for key, module in list(sys.modules.items()):
        if key.partition(".")[0] == "trackio":
            for name, value in list(vars(module).items()):
                if isinstance(value, Path) and value.is_relative_to(before):
                    setattr(module, name, after / value.relative_to(before))


def offline(name: str) -> Iterator[tuple[str, str, str]]:
    """(variable, value, what to say) where a logger would ask for a login in the middle of the run."""
    if name == "wandb" and not os.environ.get("WANDB_MODE") and not _is_logged_in():
        yield (
            "WANDB_MODE",
            "offline",
            f"wandb: nobody is logged in, so it logs offline in {os.environ['WANDB_DIR']}/wandb; send that later with "
            "`wandb sync`, or log in first with `wandb login` or WANDB_API_KEY",
        )


def _is_logged_in() -> bool:
    import wandb  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    try:
        return bool(wandb.login(prompt=False))
    except TypeError:  # an older one
        return wandb.api.api_key is not None
    except Exception:  # a key that cannot be used
        return False
    finally:
        wandb.teardown()  # it reads its environment once, and that is about to change


def close_wandb(exit_code: int) -> None:
    """End wandb's run, which it would go on with in the next run of this process."""
    import wandb  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    with suppress(Exception):  # the figures are on disk; what could not be sent, its own log tells
        wandb.finish(exit_code=exit_code)
        wandb.teardown()
