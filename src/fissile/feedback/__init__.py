"""Where a diagnosis comes from, and the leak guard over every source."""

from fissile.errors import ConfigError
from fissile.feedback.base import Failure, Feedback, FeedbackSource
from fissile.feedback.diagnoser import Diagnoser
from fissile.feedback.environment import EnvironmentMessage
from fissile.feedback.fixed import FIXED_MESSAGE, FixedMessage
from fissile.feedback.guard import Leak, LeakGuard
from fissile.feedback.phrasebooks import RULES, SERVICE_RULES, RuleSource

__all__ = [
    "FIXED_MESSAGE",
    "SOURCES",
    "Diagnoser",
    "EnvironmentMessage",
    "Failure",
    "Feedback",
    "FeedbackSource",
    "FixedMessage",
    "Leak",
    "LeakGuard",
    "RuleSource",
    "get_source",
]

SOURCES: dict[str, FeedbackSource] = {
    source.name: source for source in (FixedMessage(), RULES, SERVICE_RULES, EnvironmentMessage())
}
"""Every feedback source by its name."""


def get_source(name: str) -> FeedbackSource:
    """The feedback source of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SOURCES:
        raise ConfigError(f"There is no feedback source '{name}'. Choose one of {', '.join(SOURCES)}.")
    return SOURCES[name]
