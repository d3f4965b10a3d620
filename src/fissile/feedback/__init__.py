"""Where a diagnosis comes from, and the leak guard over every source."""

from fissile.feedback.base import Failure, Feedback, FeedbackSource, NoDiagnosis
from fissile.feedback.diagnoser import Diagnoser
from fissile.feedback.environment import EnvironmentMessage
from fissile.feedback.fixed import FIXED_MESSAGE, FixedMessage
from fissile.feedback.leaks.guard import Leak, LeakGuard
from fissile.feedback.phrasebooks import RuleSource
from fissile.feedback.source_names import SOURCES, get_source

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
