"""How useful a feedback source is: one policy, the same failures, and what it does after each source's diagnosis.

The failures are the policy's own, and those that the fault injector forces on the same tasks.

Every next attempt is drawn with the same numbers, so that sources differ in their words alone.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fissile.engines.attempts import Attempter
from fissile.engines.base import Engine, Sampling
from fissile.evaluation.losses import by_reason, counted, refuse_total_loss
from fissile.feedback import Diagnoser
from fissile.metrics import Episode, RecoveryReport, evaluate_episodes
from fissile.rollouts import Step, corrective_context, failure_of
from fissile.serial import to_json
from fissile.tasks import Task

logger = logging.getLogger(__name__)

DRAWS = 2000
"""Of the bootstrap."""


def failed_first_attempts(
    engine: Engine, attempter: Attempter, tasks: Sequence[Task], sampling: Sampling, samples: int
) -> list[Step]:
    """The distinct failures among `samples` first attempts at each task, in task order.

    Raises:
        RunError: the engine produced no attempt at all.
    """
    contexts = [attempter.context(task) for task in tasks]
    failed: dict[tuple[str, str], Step] = {}
    rollouts = attempter.sample(engine, contexts, sampling, samples)
    lost = [rollout.lost for rollout in rollouts if rollout.lost]
    refuse_total_loss(lost, len(rollouts) - len(lost), "first attempts")
    if lost:
        logger.warning("Lost and left out of the first attempts: %s", counted(by_reason(lost)))
    for step in (rollout.steps[0] for rollout in rollouts if not rollout.lost):
        if step.attempt.failed:
            failed.setdefault((step.context.task.id, step.attempt.signature), step)
    return list(failed.values())


def next_attempts(
    engine: Engine,
    attempter: Attempter,
    failed: Sequence[Step],
    diagnoser: Diagnoser,
    sampling: Sampling,
    samples: int,
    injected: bool = False,
    batch: int = 32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Episode]:
    """`samples` next attempts after the diagnosis of each failure, as episodes of two attempts, in order.

    An attempt that the engine could not produce is left out, and told.

    Args:
        engine: samples from the policy.
        attempter: writes and judges its attempts.
        failed: failures.
        diagnoser: answers them.
        sampling: of the first attempts; the next ones are drawn with another seed.
        samples: next attempts after each failure.
        injected: the failures were forced.
        batch: failures at a time.
        progress: called with (made, all) at first and after each batch.

    Raises:
        RunError: the engine produced no attempt at all.
    """
    feedback = diagnoser.diagnose([failure_of(step, step.attempt) for step in failed])
    contexts = [
        corrective_context(step, step.attempt, said.text, attempter.extend(step, said.text))
        for step, said in zip(failed, feedback, strict=True)
    ]
    redrawn = replace(sampling, seed=sampling.seed + 1)
    episodes: list[Episode] = []
    lost: list[str] = []
    progress(0, len(contexts) * samples)
    for start in range(0, len(contexts), batch):
        rollouts = attempter.sample(engine, contexts[start : start + batch], redrawn, samples)
        lost += [rollout.lost for rollout in rollouts if rollout.lost]
        repeated = [step for step in failed[start : start + batch] for _ in range(samples)]
        episodes += [
            Episode(
                step.context.task.id,
                (step.attempt, rollout.attempt),
                diagnoser.source.name,
                injected=(0,) if injected else (),
            )
            for step, rollout in zip(repeated, rollouts, strict=True)
            if not rollout.lost
        ]
        progress(len(episodes), len(contexts) * samples)
    refuse_total_loss(lost, len(episodes), "next attempts")
    if lost:
        logger.warning("Lost and left out of the next attempts: %s", counted(by_reason(lost)))
    return episodes


@dataclass(frozen=True, slots=True)
class Advantage:
    """A source's next-attempt recovery against a baseline's on the same failures.

    Attributes:
        difference: of the rates.
        low: lower end of its 95 % interval, by bootstrap over tasks.
        high: upper end.
        ratio: of the rates; None where the baseline never recovered.
    """

    difference: float
    low: float
    high: float
    ratio: float | None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"difference": self.difference, "low": self.low, "high": self.high, "ratio": self.ratio}


def advantage(ours: Sequence[Episode], baseline: Sequence[Episode], seed: int = 0) -> Advantage:
    """The difference in next-attempt recovery, paired by task.

    Args:
        ours: episodes of two attempts with the source.
        baseline: those with the baseline.
        seed: of the bootstrap.
    """
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for at, episodes in ((0, ours), (2, baseline)):
        for episode in episodes:
            counts[episode.task_id][at] += episode.is_right(len(episode.attempts) - 1)
            counts[episode.task_id][at + 1] += 1
    clusters = [counts[task] for task in sorted(counts)]
    drawn = random.Random(seed)
    differences = sorted(_difference(drawn.choices(clusters, k=len(clusters))) for _ in range(DRAWS if clusters else 0))
    if not differences:
        return Advantage(0.0, 0.0, 0.0, None)
    own, base = _rates(clusters)
    low, high = (differences[round(share * (len(differences) - 1))] for share in (0.025, 0.975))
    return Advantage(own - base, low, high, own / base if base else None)


Counts = Sequence[int]
"""Of one task: right and made next attempts with the source, then with the baseline."""


def _rates(clusters: Sequence[Counts]) -> tuple[float, float]:
    right, made, baseline_right, baseline_made = (sum(column) for column in zip(*clusters, strict=True))
    return right / max(made, 1), baseline_right / max(baseline_made, 1)


def _difference(clusters: Sequence[Counts]) -> float:
    own, base = _rates(clusters)
    return own - base


def usefulness_report(
    episodes: Mapping[str, Sequence[Episode]], baseline: str = "fixed"
) -> dict[str, dict[str, dict[str, Any]]]:
    """For each source, on the policy's own failures and on injected ones: next-attempt recovery, repeats, advantage."""
    reports: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in episodes}
    for origin in ("own", "injected"):
        made = {name: _of(origin, members) for name, members in episodes.items()}
        for name, members in made.items():
            report: RecoveryReport = evaluate_episodes(members)
            reports[name][origin] = {
                "next_attempt_recovery_rate": to_json(report.next_attempt_recovery_rate),
                "repeat_rate": to_json(report.repeat_rate),
            }
            if baseline in made and name != baseline:
                reports[name][origin]["over_" + baseline] = advantage(members, made[baseline]).to_dict()
    return reports


def _of(origin: str, episodes: Sequence[Episode]) -> list[Episode]:
    return [episode for episode in episodes if bool(episode.injected) == (origin == "injected")]
