"""Where a diagnosis comes from, and the leak guard over every source."""

from fissile.errors import ConfigError
from fissile.feedback.base import Failure, Feedback, FeedbackSource, NoDiagnosis
from fissile.feedback.diagnoser import Diagnoser
from fissile.feedback.environment import EnvironmentMessage
from fissile.feedback.fixed import FIXED_MESSAGE, FixedMessage
from fissile.feedback.leaks.guard import Leak, LeakGuard
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
    "NoDiagnosis",
    "RuleSource",
    "get_source",
]

SOURCES: dict[str, FeedbackSource] = {
    source.name: source for source in (FixedMessage(), RULES, SERVICE_RULES, EnvironmentMessage())
}
"""Every feedback source that needs no model, by its name; the others: `fissile.simulator.sources`."""


def get_source(name: str) -> FeedbackSource:
    """The feedback source of that name, out of those that need no model. Raises ConfigError: there is none."""
    if name not in SOURCES:
        raise ConfigError(
            f"There is no feedback source '{name}'. Choose one of {', '.join(SOURCES)}; or, for a model, hand over a "
            "source of fissile.simulator.sources.make_source."
        )
    return SOURCES[name]
