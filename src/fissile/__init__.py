"""Language models that recover from their tool errors.

The public names load lazily, so that `import fissile` needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fissile.functions import DomainError
    from fissile.methods import FissionGRPO, FissionSettings
    from fissile.rewards import RewardConfig
    from fissile.tasks import Task, load_tasks
    from fissile.training.grpo_config import FissionGRPOConfig
    from fissile.training.trainer import FissionGRPOTrainer

__all__ = [
    "DomainError",
    "FissionGRPO",
    "FissionGRPOConfig",
    "FissionGRPOTrainer",
    "FissionSettings",
    "RewardConfig",
    "Task",
    "load_tasks",
]

_HOMES = {
    "DomainError": "fissile.functions",
    "FissionGRPO": "fissile.methods",
    "FissionGRPOConfig": "fissile.training.grpo_config",
    "FissionGRPOTrainer": "fissile.training.trainer",
    "FissionSettings": "fissile.methods",
    "RewardConfig": "fissile.rewards",
    "Task": "fissile.tasks",
    "load_tasks": "fissile.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fissile' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
