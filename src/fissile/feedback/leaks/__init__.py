"""The leak guard: whether a diagnosis hands over what the policy should find itself."""

from fissile.feedback.leaks.guard import MAX_CHARACTERS, Leak, LeakGuard

__all__ = ["MAX_CHARACTERS", "Leak", "LeakGuard"]
