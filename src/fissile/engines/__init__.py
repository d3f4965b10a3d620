"""Who produces tokens: `TransformersEngine` in this process, `ScriptedEngine` for tests and dry runs.

Torch is imported when `TransformersEngine` is first asked for, not before.
"""

from typing import TYPE_CHECKING, Any

from fissile.engines.base import Engine, Sampling
from fissile.engines.scripted import ScriptedEngine

if TYPE_CHECKING:
    from fissile.engines.transformers import TransformersEngine

__all__ = ["Engine", "Sampling", "ScriptedEngine", "TransformersEngine"]


def __getattr__(name: str) -> Any:
    if name != "TransformersEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fissile.engines.transformers import TransformersEngine  # noqa: PLC0415

    return TransformersEngine
