"""What the ground truth of a task leaves behind after each turn: computed once a task, and kept with it."""

from __future__ import annotations

import copy
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fissile.calls import JSON
from fissile.environments.bfcl.instances import State, public_state
from fissile.tasks import ExpectedCall, Task

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class TurnTruth:
    """What a turn's truth leaves behind.

    Attributes:
        state: public attributes after the turn.
        results: the texts that the turn's calls answered, with their counts; empty where no call is expected.
    """

    state: State
    results: Counter[str]

    def state_differs(self, instances: dict[str, Any]) -> bool:
        """True where a public attribute of the truth differs (official: `multi_turn_checker.state_checker`)."""
        for name, attributes in self.state.items():
            present = vars(instances[name])
            for key, value in attributes.items():
                if present[key] != value:
                    return True
        return False

    def results_missing(self, given: Counter[str]) -> bool:
        """True where the turn's results are not all among the given ones (official: `response_checker`)."""
        return any(given[text] < count for text, count in self.results.items())


def turn_truth(instances: dict[str, Any], texts: Sequence[str]) -> TurnTruth:
    """A copy of the state of the instances, and the texts."""
    return TurnTruth(copy.deepcopy(public_state(instances)), Counter(texts))


def first_values(call: ExpectedCall) -> dict[str, JSON]:
    """The arguments of a call of the truth: the first accepted value of each."""
    return {name: values[0] for name, values in call.arguments.items()}


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
