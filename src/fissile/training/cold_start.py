"""The supervised cold start: right calls, and optionally demonstrated recoveries from corrupted ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fissile.config import ColdStartConfig
from fissile.corrections.context import Context
from fissile.dialects import Dialect
from fissile.engines.attempts import Attempter
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenWriter
from fissile.evaluation.recovery import corrective_contexts
from fissile.faults import corrupt
from fissile.feedback import Diagnoser, get_source
from fissile.rollouts import Completion, End, LiveRollout, Response, Rollout, Step
from fissile.tasks import Task
from fissile.training.supervised import Example, example

Mistake = Callable[[Task, Dialect, random.Random], str | None]
"""Draws a wrong response to a task; None where it knows none."""


@dataclass
class Shown:
    """What a cold start really shows, counted while its examples are made.

    Attributes:
        examples: that are shown.
        recoveries: of these, the ones that hold a demonstrated recovery.
        left_out: reason to how many examples were not shown for it.
    """

    examples: int = 0
    recoveries: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_dict(self, asked: int, loss: float) -> dict[str, Any]:
        """As in `cold_start/summary.json`."""
        counts = {"examples": self.examples, "asked": asked, "recoveries": self.recoveries}
        return {**counts, "left_out": dict(self.left_out), "loss": loss}


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
    shown: Shown | None = None,
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
        shown: counts what is made.
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
    if shown is not None:
        shown.examples += len(contexts)
        shown.recoveries += len(failed)
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
    tasks: Sequence[Task],
    sampler: LiveSampler,
    config: ColdStartConfig,
    seed: int,
    mistake: Mistake = corrupted,
    limit: int | None = None,
    shown: Shown | None = None,
) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle: the whole episode.

    The world answers the demonstrated calls, and every response but a corrupted one carries loss. In a share
    `config.recovery_share` of the turns a corrupted call goes before the right ones, answered by the world with its
    error; where the world has no objection to it, or the calls cannot be corrupted, the turn stays plain.

    Args:
        tasks: to draw from.
        sampler: the chat format and the worlds.
        config: how many examples, and in which share of the turns.
        seed: of every draw.
        mistake: draws what is recovered from.
        limit: tokens of an episode at most; longer ones are left out. So are those whose world is lost.
        shown: counts what is made.
    """
    draw = random.Random(seed)
    shown = shown or Shown()
    examples = []
    for task in _chosen(tasks, config, draw):
        record, recovers = _demonstrated(task, sampler, config.recovery_share, mistake, draw)
        if record.end is End.INFRASTRUCTURE:
            shown.left_out["their world was lost"] += 1
            continue
        made = _episode_example(record)
        if limit is not None and len(made["input_ids"]) > limit:
            shown.left_out[f"longer than {limit} tokens"] += 1
        else:
            examples.append(made)
            shown.examples += 1
            shown.recoveries += recovers
    return examples


def _chosen(tasks: Sequence[Task], config: ColdStartConfig, draw: random.Random) -> list[Task]:
    """The first `config.examples` tasks of a shuffle."""
    shuffled = list(tasks)
    draw.shuffle(shuffled)
    return shuffled[: config.examples]


def _demonstrated(
    task: Task, sampler: LiveSampler, recovery_share: float, mistake: Mistake, draw: random.Random
) -> tuple[Rollout, bool]:
    """The right episode of a task, and whether it holds a recovery."""
    rollout = LiveRollout(sampler.make_environment(task), TokenWriter(sampler.chat), sampler.protocol)
    rollout.begin(task)
    recovers = False
    while (context := rollout.context) is not None:
        goal = task.at_turn(context.turn)
        if goal.ground_truth:
            if draw.random() < recovery_share:
                recovers |= _demonstrate_error(rollout, goal, sampler, mistake, draw)
            rollout.answer(sampler.demonstrate(goal.oracle_calls()))
        if rollout.context is not None:
            rollout.answer(sampler.demonstrate(()))
    return rollout.record(), recovers


def _episode_example(record: Rollout) -> Example:
    """A demonstrated episode, with the loss on its right responses."""
    prompt = record.context.prompt_ids
    labels = [
        token if learned else -100 for token, learned in zip(record.completion_ids, _learned(record), strict=True)
    ]
    return {"input_ids": [*prompt, *record.completion_ids], "labels": [-100] * len(prompt) + labels}


def _demonstrate_error(
    rollout: LiveRollout, goal: Task, sampler: LiveSampler, mistake: Mistake, draw: random.Random
) -> bool:
    """Answer with a mistake, if the world answers it with an error and nothing else changes. Returns whether it did."""
    text = mistake(goal, sampler.chat.dialect, draw)
    if text is None or rollout.context is None:
        return False
    response = Response(text, sampler.chat.dialect.parse(text), Completion(sampler.chat.completion_ids(text)))
    trial = LiveRollout(sampler.make_environment(goal), TokenWriter(sampler.chat), sampler.protocol)
    trial.resume(rollout.context)
    trial.answer(response)
    step = trial.record().steps[0]
    if not step.attempt.failed or step.changed:
        return False
    rollout.answer(response)
    return True


def _learned(record: Rollout) -> Iterator[bool]:
    """For each token behind the prompt: whether a right response wrote it."""
    position = len(record.context.prompt_ids)
    for step in record.steps:
        yield from (False for _ in range(len(step.context.prompt_ids) - position))
        yield from (not step.attempt.failed for _ in step.completion.ids)
        position = len(step.context.prompt_ids) + len(step.completion.ids)
