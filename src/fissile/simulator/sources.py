"""The feedback sources that are models, `learned` and `endpoint`, made from their settings; every other by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fissile.errors import ConfigError, RunError
from fissile.feedback import FeedbackSource, get_source
from fissile.feedback.source_names import ENDPOINT, LEARNED
from fissile.simulator.endpoint import NO_FAULT, EndpointSource
from fissile.simulator.reply import MALFORMED
from fissile.simulator.settings import LearnedSettings, SimulatorSettings

NO_OUTAGE = NO_FAULT | MALFORMED | {"prompt_too_long"}
"""Reasons of `NoDiagnosis` that would be the same another time."""

MAX_OUTAGE = 0.05
"""Share of the diagnoses that may be missing for other reasons before a result is refused."""


def refuse_outage(name: str, missing: Mapping[str, int], asked: int) -> None:
    """Refuse to take an outage for a result.

    Args:
        name: of the source.
        missing: how many diagnoses are missing, by reason.
        asked: how many were asked for.

    Raises:
        RunError: more than `MAX_OUTAGE` of them for reasons that may pass.
    """
    passing = {reason: count for reason, count in missing.items() if reason not in NO_OUTAGE}
    if sum(passing.values()) > MAX_OUTAGE * asked:
        listed = ", ".join(f"{count} {reason}" for reason, count in passing.items())
        raise RunError(
            f"The feedback source '{name}' failed too often to be judged or learned from ({listed}). See to it, and "
            "run the command again: what an endpoint answered is kept."
        )


MakeLearned = Callable[[LearnedSettings], FeedbackSource]
"""Loads the local model. It is injected, since a model needs torch and nothing here does."""


def check_source(name: str, settings: SimulatorSettings) -> None:
    """Whether a source of that name can be made from the settings, as far as settings tell.

    Raises:
        ConfigError: there is no such source (the message lists all), it cannot be used, or its settings are missing.
    """
    if name == ENDPOINT and settings.endpoint is None:
        raise ConfigError(
            "The feedback source 'endpoint' needs a server. Add a table [simulator.endpoint.server] with base_url and "
            "model."
        )
    if name == LEARNED and settings.learned.adapter is None:
        raise ConfigError(
            "The feedback source 'learned' needs an adapter. Set adapter in a table [simulator.learned] to the folder "
            "that `fissile simulate train` leaves, usually runs/simulator/adapter."
        )
    if name not in (LEARNED, ENDPOINT):
        get_source(name)


def make_source(
    name: str, settings: SimulatorSettings, make_learned: MakeLearned, cache: Path | None = None
) -> FeedbackSource:
    """The feedback source of that name, ready to be asked.

    Args:
        name: one of `fissile.feedback.SOURCES`.
        settings: of the simulators.
        make_learned: loads the source "learned"; called only for it.
        cache: where "endpoint" keeps its answers if its settings name no file.

    Raises:
        InputError: what the user must change first: the name, a missing table, adapter, prompt file, ...
    """
    check_source(name, settings)
    if name == LEARNED:
        return make_learned(settings.learned)
    if name == ENDPOINT and settings.endpoint is not None:
        return EndpointSource(settings.endpoint, cache)
    return get_source(name)
