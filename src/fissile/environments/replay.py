"""What the worlds do alike with the truth of a task: it is replayed once, turn by turn, and compared in one order.

A turn that needs calls wants a call, then the state that the truth leaves, then the truth's results among all that were
given so far: the order and the reasons of BFCL's multi-turn checker. The words are each world's own.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fissile.environments.base import MISSING_RESULT, NO_CALL, WRONG_STATE, Verdict
from fissile.errors import ErrorKind
from fissile.tasks import Task

Call = TypeVar("Call")
Made = TypeVar("Made")
State = TypeVar("State")

RIGHT = Verdict()


@dataclass(frozen=True, slots=True)
class AfterTurn(Generic[State]):
    """What the truth of a turn leaves behind.

    Attributes:
        results: what a right turn has been told, with counts.
        state: after the turn.
    """

    results: Counter[str]
    state: State


def replayed(
    turns: Iterable[Iterable[Call]], run: Callable[[Call], str], state: Callable[[], State]
) -> tuple[AfterTurn[State], ...]:
    """What a truth leaves after each turn: `run` makes a call and gives its result, `state` a copy of the state."""
    return tuple(AfterTurn(Counter(map(run, turn)), state()) for turn in turns)


@dataclass(frozen=True, slots=True)
class Words:
    """What a world says of a turn that needs calls, one sentence for each way of being wrong."""

    no_call: str
    wrong_state: str
    missing_result: str

    def judge(
        self, truth: AfterTurn[State], called: bool, given: Counter[str], is_state: Callable[[State], bool]
    ) -> Verdict:
        """The verdict on a turn.

        Args:
            truth: what a right turn leaves.
            called: whether the turn made a call.
            given: the results so far, those of earlier turns included.
            is_state: whether the world's state is equal to the one given.
        """
        if not called:
            return Verdict.against(NO_CALL, ErrorKind.MISSING_CALL, self.no_call)
        if not is_state(truth.state):
            return Verdict.against(WRONG_STATE, ErrorKind.WRONG_STATE, self.wrong_state)
        if any(given[result] < count for result, count in truth.results.items()):
            return Verdict.against(MISSING_RESULT, ErrorKind.MISSING_CALL, self.missing_result)
        return RIGHT


class PerTask(Generic[Made]):
    """What was made of a task, for as long as the task lives. Tasks hold dicts, so identity is the key."""

    def __init__(self, make: Callable[[Task], Made]) -> None:
        self._make = make
        self._made: dict[int, tuple[weakref.ref[Task], Made]] = {}
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> Made:
        """What `make` makes of the task, made once."""
        key = id(task)
        held = self._made.get(key)
        if held is not None and held[0]() is task:
            return held[1]
        made = self._make(task)
        with self._lock:
            self._made[key] = (weakref.ref(task, lambda _: self._made.pop(key, None)), made)
        return made
