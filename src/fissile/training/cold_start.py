"""The supervised cold start: right calls, and optionally demonstrated recoveries from corrupted ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from fissile.config import ColdStartConfig
from fissile.corrections.context import Context
from fissile.dialects import Dialect
from fissile.engines.attempts import Attempter
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenWriter
from fissile.evaluation.recovery import corrective_contexts
from fissile.faults import corrupt
from fissile.feedback import Diagnoser, get_source
from fissile.rollouts import Completion, LiveRollout, Response, Rollout, Step
from fissile.tasks import Task
from fissile.training.supervised import Example, example

Mistake = Callable[[Task, Dialect, random.Random], str | None]
"""Draws a wrong response to a task; None where it knows none."""


def corrupted(task: Task, dialect: Dialect, draw: random.Random) -> str | None:
    """The right calls with any fault in them."""
    faulty = corrupt(task, dialect, draw)
    return None if faulty is None else faulty.text


def supervised_examples(
    tasks: Sequence[Task],
    attempter: Attempter,
    config: ColdStartConfig,
    seed: int,
    diagnoser: Diagnoser | None = None,
    mistake: Mistake = corrupted,
) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle.

    A share `config.recovery_share` of them are demonstrated recoveries; a task whose calls cannot be corrupted stays
    a plain example. The loss is on the right call only, never on the corrupted one.

    Args:
        tasks: to draw from.
        attempter: the chat format and the judge.
        config: how many examples of which kind.
        seed: of every draw.
        diagnoser: answers the corrupted calls, all at once; by default the source that the configuration names.
        mistake: draws what is recovered from.
    """
    draw = random.Random(seed)
    chosen = _chosen(tasks, config, draw)
    contexts = [attempter.context(task) for task in chosen]
    failed: dict[int, Step] = {}
    for index, context in enumerate(contexts):
        if draw.random() < config.recovery_share and (step := _failed(context, attempter, mistake, draw)):
            failed[index] = step
    if failed:
        diagnoser = diagnoser or Diagnoser(get_source(config.feedback))
        corrective = corrective_contexts(attempter, diagnoser, list(failed.values()))
        for index, context in zip(failed, corrective, strict=True):
            contexts[index] = context
    return [_example(context, attempter) for context in contexts]


def _failed(context: Context, attempter: Attempter, mistake: Mistake, draw: random.Random) -> Step | None:
    """A failed step; None where no mistake is known."""
    text = mistake(context.task, attempter.chat.dialect, draw)
    if text is None:
        return None
    step = attempter.judge(context, Completion(attempter.chat.completion_ids(text)))
    return step if step.attempt.failed else None


def _example(context: Context, attempter: Attempter) -> Example:
    """The right calls behind a context."""
    answer = attempter.chat.completion_ids(attempter.chat.dialect.render_calls(context.task.oracle_calls()))
    return example(context.prompt_ids, answer)


def live_examples(
    tasks: Sequence[Task], sampler: LiveSampler, config: ColdStartConfig, seed: int, mistake: Mistake = corrupted
) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle: the whole episode.

    The world answers the demonstrated calls, and every response but a corrupted one carries loss. In a share
    `config.recovery_share` of the turns a corrupted call goes before the right ones, answered by the world with its
    error; where the world has no objection to it, or the calls cannot be corrupted, the turn stays plain.
    """
    draw = random.Random(seed)
    return [
        _episode_example(task, sampler, config.recovery_share, mistake, draw) for task in _chosen(tasks, config, draw)
    ]


def _chosen(tasks: Sequence[Task], config: ColdStartConfig, draw: random.Random) -> list[Task]:
    """The first `config.examples` tasks of a shuffle."""
    shuffled = list(tasks)
    draw.shuffle(shuffled)
    return shuffled[: config.examples]


def _episode_example(
    task: Task, sampler: LiveSampler, recovery_share: float, mistake: Mistake, draw: random.Random
) -> Example:
    rollout = LiveRollout(sampler.make_environment(task), TokenWriter(sampler.chat), sampler.protocol)
    rollout.begin(task)
    while (context := rollout.context) is not None:
        goal = task.at_turn(context.turn)
        if goal.ground_truth:
            if draw.random() < recovery_share:
                _demonstrate_error(rollout, goal, sampler, mistake, draw)
            rollout.answer(sampler.demonstrate(goal.oracle_calls()))
        if rollout.context is not None:
            rollout.answer(sampler.demonstrate(()))
    record = rollout.record()
    prompt = record.context.prompt_ids
    labels = [
        token if learned else -100 for token, learned in zip(record.completion_ids, _learned(record), strict=True)
    ]
    return {"input_ids": [*prompt, *record.completion_ids], "labels": [-100] * len(prompt) + labels}


def _demonstrate_error(
    rollout: LiveRollout, goal: Task, sampler: LiveSampler, mistake: Mistake, draw: random.Random
) -> None:
    """Answer with a mistake, if the world answers it with an error and nothing else changes."""
    text = mistake(goal, sampler.chat.dialect, draw)
    if text is None or rollout.context is None:
        return
    response = Response(text, sampler.chat.dialect.parse(text), Completion(sampler.chat.completion_ids(text)))
    trial = LiveRollout(sampler.make_environment(goal), TokenWriter(sampler.chat), sampler.protocol)
    trial.resume(rollout.context)
    trial.answer(response)
    step = trial.record().steps[0]
    if step.attempt.failed and not step.changed:
        rollout.answer(response)


def _learned(record: Rollout) -> Iterator[bool]:
    """For each token behind the prompt: whether a right response wrote it."""
    position = len(record.context.prompt_ids)
    for step in record.steps:
        yield from (False for _ in range(len(step.context.prompt_ids) - position))
        yield from (not step.attempt.failed for _ in step.completion.ids)
        position = len(step.context.prompt_ids) + len(step.completion.ids)
