"""What a method decides: which contexts a step samples from, and what it keeps of the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fissile.contexts import Context
from fissile.rewards import Reward
from fissile.rollouts import Rollout


class Phase(StrEnum):
    """What a step samples from."""

    EXPLORE = "explore"
    """The contexts of the tasks."""
    FISSION = "fission"
    """Corrective contexts: a failed attempt and its diagnosis stand before the next attempt."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The groups of one step: `samples` rollouts from each context."""

    phase: Phase
    contexts: tuple[Context, ...]
    samples: int

    def groups(self, scored: Sequence[Scored]) -> list[Sequence[Scored]]:
        """Its outcome, cut into the rollouts of each context."""
        return [scored[start : start + self.samples] for start in range(0, len(scored), self.samples)]


@dataclass(frozen=True, slots=True)
class Scored:
    """A rollout and its reward; None where the rollout must not be learned from (infrastructure)."""

    rollout: Rollout
    reward: Reward | None


class Method(Protocol):
    """A learning method over the common trainer. Torch-free, deterministic, serialisable."""

    name: str

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """The groups to sample at `step`, given the explore contexts that the data loader offers.

        The plan has exactly `len(explore) * samples` rollouts, whatever its phase, so that methods of equal steps
        are matched in rollouts.
        """
        ...

    def observe(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """Take in the outcome of a plan: `plan.samples` consecutive entries for each context, in order."""
        ...

    def counts(self) -> dict[str, int]:
        """Running counts for the logs, JSON-ready."""
        ...

    def feedback(self) -> dict[str, Any]:
        """What became of the diagnoses so far, as `Diagnoser.report` tells it; {} where none are made."""
        ...

    def figures(self) -> dict[str, float]:
        """Log key to value, beside `counts`: of the latest `observe`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, JSON-ready."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        ...
