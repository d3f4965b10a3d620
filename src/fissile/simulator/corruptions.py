"""Failures by corruption: the right calls with one fault, judged, and in a live world executed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fissile.calls import JSON, ParsedResponse, ToolCall
from fissile.corrections import failure_of
from fissile.dialects.base import Dialect
from fissile.engines.policy import MessageReader
from fissile.environments import SingleStep
from fissile.environments.worlds import make_environment
from fissile.faults import Fault, corrupt
from fissile.feedback import Failure
from fissile.rollouts import CLOSING, OpenRollout, Response
from fissile.tasks import Task, instances

NO_FAULT = "a fault that does not apply"
NO_FAILURE = "a fault that is no failure"

MAX_POOLED = 12
"""Values of other tasks that are offered to one corruption."""


@dataclass(frozen=True, slots=True)
class FaultyAttempt:
    """A failure made by corruption.

    Attributes:
        fault: what was done to the right calls.
        failure: what came of it.
    """

    fault: Fault
    failure: Failure


@dataclass(frozen=True)
class Corruptor:
    """Corrupts the truth of tasks. Deterministic: the seed, the task and the fault decide.

    Attributes:
        dialect: writes the responses.
        seed: of every draw.
        values: argument name to the values that it has in the truth of some tasks: plausible wrong values.
        left_out: what gave no failure, by reason.
    """

    dialect: Dialect
    seed: int = 0
    values: Mapping[str, Sequence[JSON]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter, compare=False)

    @classmethod
    def over(cls, tasks: Sequence[Task], dialect: Dialect, seed: int = 0) -> Corruptor:
        """A corruptor that takes wrong values from these tasks; keep the sides of a split apart."""
        values: defaultdict[str, dict[str, JSON]] = defaultdict(dict)
        for task in tasks:
            for index in range(len(task.turns)):
                for call in task.oracle_calls(index):
                    for name, value in (call.arguments or {}).items():
                        values[name].setdefault(repr(value), value)
        return cls(dialect, seed, {name: tuple(found.values()) for name, found in values.items()})

    def failures(self, task: Task, faults: Sequence[Fault] = tuple(Fault)) -> Iterator[FaultyAttempt]:
        """One failure for each fault that applies.

        Of a task with a live world every turn that expects calls is corrupted, each fault in the world as it is at
        that turn. What the world has no objection to is a silent failure if the turn ends wrong, and no failure
        otherwise.
        """
        if task.world is None:
            yield from self._judged(task, faults)
        else:
            for instance in instances(task):
                yield from self._executed(instance, faults)

    def _corrupted(self, goal: Task, key: str, fault: Fault) -> str | None:
        rng = random.Random(f"{self.seed}/{key}/{fault}")
        pool = [value for call in goal.oracle_calls() for value in self._others(call)]
        faulty = corrupt(goal, self.dialect, rng, fault, rng.sample(pool, min(len(pool), MAX_POOLED)))
        return None if faulty is None else faulty.text

    def _others(self, call: ToolCall) -> Iterator[JSON]:
        for name in call.arguments or {}:
            yield from self.values.get(name, ())

    def _judged(self, task: Task, faults: Sequence[Fault]) -> Iterator[FaultyAttempt]:
        environment = SingleStep()
        for fault in faults:
            text = self._corrupted(task, task.id, fault)
            if text is None:
                self.left_out[NO_FAULT] += 1
                continue
            attempt = environment.attempt(task, text, self.dialect)
            if attempt.failed:
                yield FaultyAttempt(fault, Failure(task, attempt))
            else:
                self.left_out[NO_FAILURE] += 1

    def _executed(self, instance: Task, faults: Sequence[Fault]) -> Iterator[FaultyAttempt]:
        start = _rollout(instance)
        start.begin(instance, self._demonstrate)
        if start.context is None:
            self.left_out["a turn whose world was lost"] += 1
            return
        goal = instance.at_turn(instance.start)
        for fault in faults:
            text = self._corrupted(goal, instance.id, fault)
            if text is None:
                self.left_out[NO_FAULT] += 1
                continue
            rollout = _rollout(instance)
            rollout.resume(start.context)
            rollout.answer(self._response(text))
            if rollout.context is not None and not rollout.record().steps[0].attempt.failed:
                rollout.answer(Response(CLOSING, ParsedResponse(())))
            step, attempt = next(rollout.record().failures, (None, None))
            if step is not None and attempt is not None and attempt.calls:
                yield FaultyAttempt(fault, failure_of(step, attempt))
            else:
                self.left_out[NO_FAILURE] += 1

    def _response(self, text: str) -> Response:
        return Response(text, self.dialect.parse(text))

    def _demonstrate(self, calls: Sequence[ToolCall]) -> Response:
        return self._response(self.dialect.render_calls(calls) if calls else CLOSING)


def _rollout(task: Task) -> OpenRollout:
    return OpenRollout(make_environment(task), MessageReader())
