"""The learning methods: one class each, with its settings. A new one is a file and a line in `METHODS`."""

from typing import Any

from fissile.errors import ConfigError
from fissile.methods.base import Batch, Credit, Host, Method, MethodSettings, Phase, Plan, Scored
from fissile.methods.dapo import DAPO, DAPOSettings
from fissile.methods.fission_grpo import FissionGRPO, FissionSettings
from fissile.methods.grpo import GRPO
from fissile.methods.offline_grpo import OfflineGRPO, OfflineSettings
from fissile.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    "fissile.methods",
    {
        "grpo": "fissile.methods.grpo:GRPO",
        "dapo": "fissile.methods.dapo:DAPO",
        "fission_grpo": "fissile.methods.fission_grpo:FissionGRPO",
        "offline_grpo": "fissile.methods.offline_grpo:OfflineGRPO",
    },
    Method,
)
"""Every method by its name."""

DEFAULT = FissionGRPO.name
"""The method of a run that names none."""


def get_method(name: str) -> type[Method]:
    """The class of that name.

    Raises:
        ConfigError: nobody offers it (the message lists the names), it cannot be imported, or is called otherwise.
    """
    kind = METHODS.get(name)
    if not isinstance(kind, type) or kind.name != name:
        called = getattr(kind, "name", kind)
        raise ConfigError(f"The method '{name}' is offered as a class, and this one is called '{called}'. Name it so.")
    return kind


def make_method(method: Method | str | None, **fields: Any) -> Method:
    """The method itself, or the one of that name with its default settings; None for `DEFAULT`.

    Raises:
        ConfigError: as `get_method`.
    """
    return method if isinstance(method, Method) else get_method(method or DEFAULT)(**fields)


__all__ = [
    "DAPO",
    "DEFAULT",
    "GRPO",
    "METHODS",
    "Batch",
    "Credit",
    "DAPOSettings",
    "FissionGRPO",
    "FissionSettings",
    "Host",
    "Method",
    "MethodSettings",
    "OfflineGRPO",
    "OfflineSettings",
    "Phase",
    "Plan",
    "Scored",
    "get_method",
    "make_method",
]
