"""The loggers that a run may report to: their names are checked here, before torch or any of them is imported."""

from __future__ import annotations

from typing import Any

from fissile.config.nearest import nearest

LOGGERS = {
    "azure_ml": "azureml-sdk",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet-ml",
    "dagshub": "dagshub mlflow",
    "dvclive": "dvclive",
    "flyte": "flytekit",
    "kubeflow": "",
    "mlflow": "mlflow",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Name of each integration of transformers to what pip installs for it; "" where a platform brings it."""

ALL, NONE = "all", "none"
"""In the place of names: every logger that is installed; no logger."""


def listed(value: Any) -> Any:
    """A single name as a list, "none" as an empty one."""
    names = [value] if isinstance(value, str) else value
    return [] if names == [NONE] else names


def known(names: list[str]) -> list[str]:
    """The names, each once.

    Raises:
        ValueError: one is unknown, or stands beside "all" or "none".
    """
    for name in names:
        if name in (ALL, NONE) and len(names) > 1:
            raise ValueError(f"'{name}' stands alone, or name the loggers one by one")
        if name not in (*LOGGERS, ALL):
            raise ValueError(f"there is no logger '{name}'{nearest(name, LOGGERS)}; known are {', '.join(LOGGERS)}")
    return list(dict.fromkeys(names))
