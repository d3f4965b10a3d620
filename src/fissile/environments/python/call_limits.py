"""What one call of a user's tool may take."""

from __future__ import annotations

from dataclasses import dataclass

from fissile.errors import ConfigError


@dataclass(frozen=True)
class CallLimits:
    """Limits of a call; a call that exceeds one is answered with a typed error, and the episode goes on.

    Attributes:
        seconds: wall-clock time of one call, the reading and storing of the state included.
        result_characters: characters of a result that are kept; the rest is cut.
        memory_mb: address space in MiB that a worker may use beyond what importing the tools took; None for no limit.
            Held only where the platform can (Linux).
        calls: calls of one attempt that are run; further ones are refused.
    """

    seconds: float = 5.0
    result_characters: int = 8000
    memory_mb: int | None = 1024
    calls: int = 32

    def __post_init__(self) -> None:
        for name in ("seconds", "result_characters", "memory_mb", "calls"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"The limit '{name}' of a call must be above 0, not {value}.")
