"""The command `fissile`: one file a sub-command. Importing it loads neither torch nor transformers, nor the commands.

So Ctrl-C has its answer from the first moment on, while the commands are still being loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fissile.cli.interruption import interruptible

_HOME = "fissile.cli.application"


def main() -> None:
    """Run the command; see `fissile.cli.application.run`."""
    with interruptible():
        import_module(_HOME).run()


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'fissile.cli' has no attribute '{name}'")
    return import_module(_HOME).app
