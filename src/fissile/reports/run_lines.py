"""The records of a run folder as types. What reads one raises on a record that is not whole; the reader counts it.

Those without a `from_dict` of their own are read by `fissile.serial.from_json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fissile.calls import Attempt, FailedTurn
from fissile.engines.injection import told_injection
from fissile.metrics import Episode
from fissile.reports.definitions import METRICS
from fissile.serial import from_json
from fissile.statistics import Ratio

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One optimizer step: its logged figures, the finite ones apart from the others.

    Attributes:
        step: from 1.
        figures: key to a finite number.
        not_finite: keys that were logged as NaN or infinite.
    """

    step: int
    figures: Mapping[str, float]
    not_finite: tuple[str, ...] = ()

    @property
    def phase(self) -> str | None:
        """What the step sampled: "explore" or "fission"; None where it learned from the rollouts of the one before."""
        fission = self.figures.get("fission/is_fission")
        return None if fission is None else "fission" if fission >= 0.5 else "explore"

    @classmethod
    def from_dict(cls, fields: Fields) -> LoggedStep:
        """From a line of `metrics.jsonl`; what is no number is left out."""
        numbers = {key: float(value) for key, value in fields.items() if isinstance(value, int | float)}
        return cls(
            step=int(fields["step"]),
            figures={key: value for key, value in numbers.items() if math.isfinite(value)},
            not_finite=tuple(key for key, value in numbers.items() if not math.isfinite(value)),
        )


@dataclass(frozen=True, slots=True)
class Interception:
    """An "intercepted" line of `corrections.jsonl`. `leaked` is why the leak guard blocked the diagnosis, or ""."""

    source: str
    leaked: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One response of a recovery, and what the world answered: nothing in a single-step task."""

    attempt: Attempt
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """One attempt at a correction.

    Attributes:
        attempt: all that was called, with what is wrong with it.
        reward: None where the engine failed.
        repeat: it begins with the failed call again.
        steps: its responses in a live world, in order; empty in a single-step task.
    """

    attempt: Attempt
    reward: float | None
    repeat: bool
    steps: tuple[RecoveryStep, ...] = ()

    @property
    def responses(self) -> tuple[RecoveryStep, ...]:
        """Its responses; all of it as one where they are not told apart."""
        return self.steps or (RecoveryStep(self.attempt),)

    @property
    def is_right(self) -> bool:
        """True for an attempt that was judged and has no error."""
        return self.reward is not None and not self.attempt.failed


@dataclass(frozen=True, slots=True)
class Fission:
    """A correction and the recoveries that were sampled from it.

    Attributes:
        step: the optimizer step that it was part of, from 1; the file counts the steps before it.
        task_id: the task.
        request: the user's last message.
        staleness: steps since the interception.
        source: who wrote the diagnosis.
        history: failed turns, oldest first; at least one.
        recoveries: the group, at least one.
    """

    step: int
    task_id: str
    request: str
    staleness: int
    source: str
    history: tuple[FailedTurn, ...]
    recoveries: tuple[Recovery, ...]

    @classmethod
    def from_dict(cls, fields: Fields) -> Fission:
        """From a "fission" line of `corrections.jsonl`."""
        return from_json(cls, {**fields, "step": fields["step"] + 1})

    def __post_init__(self) -> None:
        if not self.history or not self.recoveries:
            raise ValueError("a fission has at least one failed turn and one recovery")

    @property
    def right(self) -> int:
        """Recoveries that succeeded."""
        return sum(recovery.is_right for recovery in self.recoveries)

    @property
    def repeats(self) -> int:
        """Recoveries that are the failed call again."""
        return sum(recovery.repeat for recovery in self.recoveries)

    @property
    def spread(self) -> float:
        """Standard deviation of the rewards in the group."""
        rewards = [recovery.reward for recovery in self.recoveries if recovery.reward is not None]
        if not rewards:
            return 0.0
        mean = sum(rewards) / len(rewards)
        return math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / len(rewards))


@dataclass(frozen=True, slots=True)
class EpisodeOutcome:
    """What came of one held-out episode."""

    task_id: str
    first_right: bool
    final_right: bool

    @classmethod
    def from_dict(cls, fields: Fields) -> EpisodeOutcome:
        """From a line of `evaluations/<stage>.episodes.jsonl`."""
        episode = from_json(Episode, fields)
        return cls(episode.task_id, episode.first_correct, episode.final_correct)


@dataclass(frozen=True, slots=True)
class KindCount:
    """How often one kind of error occurred in an evaluation, and what became of it."""

    first_attempts: int
    attempts: int
    next_attempt_recovery_rate: Ratio
    repeat_rate: Ratio


@dataclass(frozen=True, slots=True)
class StageReport:
    """The evaluation after one stage. Ratios that the file lacks are absent; `injection` names forced failures."""

    stage: str
    n_tasks: int
    ratios: Mapping[str, Ratio]
    kinds: Mapping[str, KindCount]
    feedback: str
    settings: Mapping[str, Any]
    injection: str = ""

    @classmethod
    def from_dict(cls, stage: str, fields: Fields) -> StageReport:
        """From `evaluations/<stage>.json`."""
        kinds = {str(kind): from_json(KindCount, counts) for kind, counts in fields.get("error_kinds", {}).items()}
        return cls(
            stage=stage,
            n_tasks=int(fields["n_tasks"]),
            ratios={metric.key: from_json(Ratio, fields[metric.key]) for metric in METRICS if metric.key in fields},
            kinds=kinds,
            feedback=str(fields.get("feedback", "")),
            settings=dict(fields.get("settings", {})),
            injection=told_injection(fields),
        )
