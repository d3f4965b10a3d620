"""`Trigger`: when the next step is a fission step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fissile.errors import ConfigError, RunError


class Trigger:
    """Fires when enough explore steps have passed since the last fission step and the buffer can fill a batch.

    A small interval spends compute on fresh corrections, a large one on exploring. A fission step that is skipped
    because the buffer holds too few is expected, and is tried again after the next explore step.

    Args:
        interval: explore steps between two fission steps, at least.

    Attributes:
        explored: explore steps since the last fission step, or since the start.

    Raises:
        ConfigError: the interval is below 1.
    """

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ConfigError(f"The fission interval is {interval}. Make it 1 explore step or more.")
        self.interval = interval
        self.explored = 0

    def fires(self, available: int, wanted: int) -> bool:
        """True when the next step should be a fission step.

        Args:
            available: corrections that could be popped now.
            wanted: corrections that a fission step needs.
        """
        return self.explored >= self.interval and available >= max(wanted, 1)

    def record(self, *, fission: bool) -> None:
        """Note that a step was made: fission starts the count of explore steps anew."""
        self.explored = 0 if fission else self.explored + 1

    def state_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"explored": self.explored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`.

        Raises:
            RunError: the state is not one of a trigger.
        """
        try:
            self.explored = int(state["explored"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"The checkpoint's trigger cannot be read ({error!r}). Resume from another one.") from error
