"""Every feedback source by its name: those that need no model, the two that are models, and those of other packages."""

from __future__ import annotations

from fissile.errors import ConfigError
from fissile.feedback.base import FeedbackSource
from fissile.feedback.environment import EnvironmentMessage
from fissile.feedback.fixed import FixedMessage
from fissile.feedback.phrasebooks import RULES, SERVICE_RULES
from fissile.registry import Registry

LEARNED, ENDPOINT = "learned", "endpoint"
"""The sources that are models: one in this process, one behind a server."""

UNFAILING: dict[str, FeedbackSource] = {
    source.name: source for source in (FixedMessage(), RULES, SERVICE_RULES, EnvironmentMessage())
}
"""The sources that need no model and always have a text."""

SOURCES: Registry[FeedbackSource] = Registry(
    "feedback source",
    "fissile.feedback",
    {
        **UNFAILING,
        LEARNED: "fissile.simulator.learned:LearnedSource",
        ENDPOINT: "fissile.simulator.endpoint:EndpointSource",
    },
    FeedbackSource,
)


def get_source(source: FeedbackSource | str) -> FeedbackSource:
    """The feedback source of a name; a source that is an object is handed through.

    Raises:
        ConfigError: there is none of that name (the message lists all), it cannot be used, or it is a model.
    """
    if not isinstance(source, str):
        return source
    if source in (LEARNED, ENDPOINT):
        raise ConfigError(
            f"The feedback source '{source}' is a model and needs settings. Name it in the recipe of a run; in Python "
            "hand over a source of fissile.simulator.sources.make_source. The others, which need no model: "
            f"{', '.join(name for name in SOURCES if name not in (LEARNED, ENDPOINT))}."
        )
    return SOURCES.made(source)
