"""Which method a name means."""

from __future__ import annotations

from collections.abc import Mapping

from fissile.errors import ConfigError
from fissile.feedback import FeedbackSource, get_source
from fissile.methods.base import Method
from fissile.methods.fission_grpo import FissionGRPO, FissionSettings, Journal
from fissile.methods.grpo import GRPO
from fissile.methods.offline_grpo import OfflineGRPO, OfflineSettings
from fissile.rollouts import Writer
from fissile.tasks import Task

CORRECTIVE = frozenset({FissionGRPO.name, OfflineGRPO.name})
"""Methods that diagnose failures and train on the corrections."""


def make_method(
    name: str,
    settings: FissionSettings,
    offline: OfflineSettings,
    source: FeedbackSource | None,
    writer: Writer,
    tasks: Mapping[str, Task],
    journal: Journal,
    room: int | None = None,
) -> Method:
    """The method of a name, ready for the first step.

    Args:
        name: "grpo", "fission_grpo" or "offline_grpo".
        settings: of fission, for the methods that correct.
        offline: of the collection of "offline_grpo".
        source: writes the diagnoses; by default the one that `settings` names.
        writer: writes corrective contexts as tokens.
        tasks: every training task by its id.
        journal: receives one record for each intercepted failure and each fission.
        room: tokens of the longest context that can be answered; None for no limit.

    Raises:
        ConfigError: an unknown method or feedback.
    """
    if name == GRPO.name:
        return GRPO()
    if name not in CORRECTIVE:
        known = ", ".join([GRPO.name, *sorted(CORRECTIVE)])
        raise ConfigError(f"Unknown method '{name}'. Known: {known}.")
    source = source or get_source(settings.feedback)
    if name == OfflineGRPO.name:
        return OfflineGRPO(settings, offline, source, writer, tasks, journal, room)
    return FissionGRPO(settings, source, writer, tasks, journal, room=room)
