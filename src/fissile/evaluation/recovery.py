"""The recovery evaluation: a first attempt at every task, then feedback and retries for those that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fissile.calls import Attempt
from fissile.corrections.context import Context
from fissile.engines.attempts import Attempter
from fissile.engines.base import Engine, Sampling, watched
from fissile.engines.injection import SingleStepInjector
from fissile.feedback import Diagnoser, FeedbackSource
from fissile.metrics import Episode
from fissile.rollouts import InjectionSettings, Step, StopReason, corrective_context, failure_of
from fissile.tasks import Task


def evaluate_recovery(
    engine: Engine,
    attempter: Attempter,
    tasks: Sequence[Task],
    source: FeedbackSource | Diagnoser | str,
    sampling: Sampling,
    retries: int = 1,
    samples: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    injection: InjectionSettings | None = None,
    lost: list[str] | None = None,
) -> list[Episode]:
    """Run `samples` episodes of each task: a first attempt, and up to `retries` more while the last one failed.

    Args:
        engine: the policy.
        attempter: the chat format and the judge.
        tasks: held-out tasks.
        source: writes the feedback, an object or its name; the leak guard stands over it, as in training. A
            `Diagnoser` counts for the caller what became of it.
        sampling: of every attempt; retries draw from other seeds than first attempts.
        retries: attempts after feedback at most.
        samples: episodes of a task.
        progress: called with (attempts made, attempts made so far plus those still certain) as they come.
        injection: forced failures, the same in every sample of a task. They stand for its first attempt.
        lost: gets the reason of each attempt that the engine could not produce.

    Returns:
        One episode for each task and sample, in task order. An episode whose retry the engine could not produce ends
        before it and is marked as `lost`; one without any attempt of the policy is left out.
    """
    diagnoser = source if isinstance(source, Diagnoser) else Diagnoser(source)
    injector = SingleStepInjector(injection or InjectionSettings(), attempter, diagnoser)
    begun = injector.inject([attempter.context(task) for task in tasks])
    contexts = [context for context in begun for _ in range(samples)]
    attempts = [[turn.attempt for turn in context.history] for context in contexts]
    forced = {index: context for index, context in enumerate(contexts) if context.depth}
    first = [index for index in range(len(contexts)) if index not in forced]
    lost = [] if lost is None else lost
    torn: set[int] = set()
    live: dict[int, Step] = {}
    explore = [context for context in begun if not context.depth]
    progress(0, len(contexts))
    with watched(lambda made, _: progress(made, len(contexts))):
        rollouts = attempter.sample(engine, explore, sampling, samples) if explore else []
    for index, rollout in zip(first, rollouts, strict=True):
        _record(index, rollout.steps[0], attempts, live, lost, torn)
    done = len(rollouts)
    progress(done, done + len(live) + len(forced))
    for retry in range(1, retries + 1):
        failed = dict(zip(live, corrective_contexts(attempter, diagnoser, list(live.values())), strict=True))
        corrective, forced = forced | failed, {}
        if not corrective:
            break
        redrawn = replace(sampling, seed=sampling.seed + retry)
        live = {}
        with watched(partial(_tell_further, progress, done)):
            rollouts = attempter.sample(engine, list(corrective.values()), redrawn)
        for index, rollout in zip(corrective, rollouts, strict=True):
            _record(index, rollout.steps[0], attempts, live, lost, torn)
        done += len(corrective)
        progress(done, done + (len(live) if retry < retries else 0))
    return [
        Episode(
            task_id=context.task.id,
            attempts=tuple(made),
            feedback=diagnoser.source.name,
            injected=tuple(range(context.depth)),
            lost=index in torn,
        )
        for index, (context, made) in enumerate(zip(contexts, attempts, strict=True))
        if len(made) > context.depth
    ]


def _tell_further(progress: Callable[[int, int], None], before: int, made: int, total: int) -> None:
    progress(before + made, before + total)


def _record(
    index: int, step: Step, attempts: list[list[Attempt]], live: dict[int, Step], lost: list[str], torn: set[int]
) -> None:
    """Note the attempt, and keep the episode going if it failed."""
    if step.completion.stop is StopReason.INFRASTRUCTURE:
        lost.append(step.completion.lost)
        torn.add(index)
        return
    attempts[index].append(step.attempt)
    if step.attempt.failed:
        live[index] = step


def corrective_contexts(attempter: Attempter, diagnoser: Diagnoser, steps: Sequence[Step]) -> list[Context]:
    """The corrective contexts of failed steps, all diagnosed at once."""
    said = diagnoser.diagnose([failure_of(step, step.attempt) for step in steps]) if steps else []
    return [
        corrective_context(step, step.attempt, feedback.text, attempter.extend(step, feedback.text))
        for step, feedback in zip(steps, said, strict=True)
    ]
