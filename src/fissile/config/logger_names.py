"""The loggers that a run may report to: their names are checked here, before torch or any of them is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from fissile.nearest import nearest

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

INTEGRATIONS = "transformers.integrations.integration_utils"
"""The module whose `INTEGRATION_TO_CALLBACK` has the callback of each name."""

ALL, NONE = "all", "none"
"""In the place of names: every logger that is installed; no logger."""


def listed(value: Any) -> Any:
    """Names in one text, with commas between, as a list; "none" as an empty one."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    return [] if names == [NONE] else names


def known(names: list[str]) -> list[str]:
    """The names, each once. Raises ValueError: one is unknown, or stands beside "all" or "none"."""
    for name in names:
        if name in (ALL, NONE) and len(names) > 1:
            raise ValueError(f"'{name}' stands alone, or name the loggers one by one")
        if name not in (*LOGGERS, *_registered(), ALL):
            raise ValueError(f"there is no logger '{name}'{nearest(name, LOGGERS)}; known are {', '.join(LOGGERS)}")
    return list(dict.fromkeys(names))


def _registered() -> Iterable[str]:
    """Names that this process has added to transformers' integrations, if that is imported at all."""
    return getattr(sys.modules.get(INTEGRATIONS), "INTEGRATION_TO_CALLBACK", ())
