"""The recovery evaluation: a first attempt at every task, then feedback and retries for those that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fissile.calls import Attempt
from fissile.corrections.context import Context
from fissile.engines.attempts import Attempter
from fissile.engines.base import Engine, Sampling
from fissile.feedback import Diagnoser, FeedbackSource
from fissile.metrics import Episode
from fissile.rollouts import Step, StopReason, corrective_context, failure_of
from fissile.tasks import Task


def evaluate_recovery(
    engine: Engine,
    attempter: Attempter,
    tasks: Sequence[Task],
    source: FeedbackSource,
    sampling: Sampling,
    retries: int = 1,
    samples: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Episode]:
    """Run `samples` episodes of each task: a first attempt, and up to `retries` more while the last one failed.

    Args:
        engine: the policy.
        attempter: the chat format and the judge.
        tasks: held-out tasks.
        source: writes the feedback; the leak guard stands over it, as in training.
        sampling: of every attempt; retries draw from other seeds than first attempts.
        retries: attempts after feedback at most.
        samples: episodes of a task.
        progress: called with (attempts made, attempts made so far plus those still certain) after each round.

    Returns:
        One episode for each task and sample, in task order. An episode whose attempt the engine could not produce
        ends before that attempt; one without any attempt is left out.
    """
    diagnoser = Diagnoser(source)
    contexts = [attempter.context(task) for task in tasks]
    rollouts = attempter.sample(engine, contexts, sampling, samples)
    attempts: list[list[Attempt]] = [[] for _ in rollouts]
    live: dict[int, Step] = {}
    for index, rollout in enumerate(rollouts):
        _record(index, rollout.steps[0], attempts, live)
    done = len(rollouts)
    progress(done, done + len(live))
    for retry in range(1, retries + 1):
        if not live:
            break
        indices = list(live)
        corrective = [_corrective(attempter, diagnoser, live[index]) for index in indices]
        redrawn = replace(sampling, seed=sampling.seed + retry)
        live = {}
        for index, rollout in zip(indices, attempter.sample(engine, corrective, redrawn), strict=True):
            _record(index, rollout.steps[0], attempts, live)
        done += len(indices)
        progress(done, done + (len(live) if retry < retries else 0))
    repeated = [task for task in tasks for _ in range(samples)]
    return [
        Episode(task_id=task.id, attempts=tuple(made), feedback=source.name)
        for task, made in zip(repeated, attempts, strict=True)
        if made
    ]


def _record(index: int, step: Step, attempts: list[list[Attempt]], live: dict[int, Step]) -> None:
    """Note the attempt, and keep the episode going if it failed."""
    if step.completion.stop is StopReason.INFRASTRUCTURE:
        return
    attempts[index].append(step.attempt)
    if step.attempt.failed:
        live[index] = step


def _corrective(attempter: Attempter, diagnoser: Diagnoser, step: Step) -> Context:
    (feedback,) = diagnoser.diagnose([failure_of(step, step.attempt)])
    return corrective_context(step, step.attempt, feedback.text, attempter.extend(step, feedback.text))
