"""The supervised cold start: right calls, and optionally demonstrated recoveries from corrupted ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fissile.config import ColdStartConfig
from fissile.contexts import Context
from fissile.dialects import Dialect
from fissile.engines.driver import explain
from fissile.engines.injection import refuses
from fissile.engines.sampler import Sampler
from fissile.faults import corrupt
from fissile.feedback import Diagnoser, get_source
from fissile.rollouts import CLOSING, End, Limits, OpenRollout, Rollout
from fissile.tasks import Task
from fissile.training.supervised import Example

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


def demonstrations(
    tasks: Sequence[Task],
    sampler: Sampler,
    config: ColdStartConfig,
    seed: int,
    diagnoser: Diagnoser | None = None,
    mistake: Mistake = corrupted,
    limit: int | None = None,
    shown: Shown | None = None,
) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle: the whole right episode.

    The world answers the demonstrated calls, and every response but a corrupted one carries loss. In a share
    `config.recovery_share` of the turns a corrupted response goes before the right one. A world that runs calls answers
    it with its error; where it has no objection, or where the calls cannot be corrupted, the turn stays plain. Where a
    world judges at once, `diagnoser` answers all of them together.

    Args:
        tasks: to draw from.
        sampler: the chat format and the worlds.
        config: how many examples, and in which share of the turns.
        seed: of every draw.
        diagnoser: by default the source that the configuration names.
        mistake: draws what is recovered from.
        limit: tokens of an episode at most; longer ones are left out. So are those whose world is lost.
        shown: counts what is made.
    """
    draw = random.Random(seed)
    shown = shown or Shown()
    shuffled = list(tasks)
    draw.shuffle(shuffled)
    begun = []
    for task in shuffled[: config.examples]:
        begun.append(_Demonstration(task, sampler, config.recovery_share, mistake, draw))
        begun[-1].go_on()
    if waiting := [one.rollout for one in begun if one.recovers and one.rollout.awaiting is not None]:
        explain(waiting, diagnoser or Diagnoser(get_source(config.feedback)))
    examples = []
    for one in begun:
        one.go_on()
        record = one.rollout.record()
        if record.end is End.INFRASTRUCTURE:
            shown.left_out["their world was lost"] += 1
            continue
        made = _episode_example(record)
        if limit is not None and len(made["input_ids"]) > limit:
            shown.left_out[f"longer than {limit} tokens"] += 1
        else:
            examples.append(made)
            shown.examples += 1
            shown.recoveries += one.recovers
    return examples


class _Demonstration:
    """The right episode of a task in the making.

    Attributes:
        rollout: with what was demonstrated so far.
        recovers: it holds a recovery.
    """

    def __init__(self, task: Task, sampler: Sampler, share: float, mistake: Mistake, draw: random.Random) -> None:
        self.rollout = OpenRollout(sampler.make_environment(task), sampler.writer, Limits(retries=1))
        self.recovers = False
        self._task, self._sampler, self._share, self._mistake, self._draw = task, sampler, share, mistake, draw
        self.rollout.begin(task)

    def go_on(self) -> None:
        """Demonstrate turn after turn, to the end or until a mistake waits for its diagnosis."""
        while (context := self.rollout.context) is not None:
            goal = self._task.at_turn(context.turn)
            at_once = self.rollout.environment.judges_at_once
            if goal.ground_truth or at_once:
                if not context.current and self._draw.random() < self._share:
                    self.recovers |= self._err(context, goal)
                if self.rollout.context is None:
                    return
                self.rollout.answer(self._sampler.demonstrate(goal.oracle_calls(), "" if at_once else CLOSING))
            if self.rollout.context is not None:
                self.rollout.answer(self._sampler.demonstrate(()))

    def _err(self, context: Context, goal: Task) -> bool:
        """Answer with a mistake, if the world objects to it and nothing else changes. Returns whether it did."""
        text = self._mistake(goal, self._sampler.chat.dialect, self._draw)
        if text is None:
            return False
        response = self._sampler.says(text, context)
        trial = OpenRollout(self._sampler.make_environment(goal), self._sampler.writer)
        trial.resume(context)
        if not refuses(trial, response):
            return False
        self.rollout.answer(response)
        return True


def _episode_example(record: Rollout) -> Example:
    """A demonstrated episode, with the loss on its right responses: of a single-step task on the last, whose truth it
    is, whatever the judge says of that.
    """
    prompt = record.context.prompt_ids
    learned = {id(step) for step in record.steps if not step.attempt.failed}
    if record.judged_at_once:
        learned.add(id(record.steps[-1]))
    labels = [
        label
        for step, read in record.pieces
        for label in (*(-100 for _ in read), *(token if id(step) in learned else -100 for token in step.completion.ids))
    ]
    return {"input_ids": [*prompt, *record.completion_ids], "labels": [-100] * len(prompt) + labels}
