"""Whole live rollouts whose first response is hostile and whose others are right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fissile.contexts import Context
from fissile.dialects import Dialect
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.scripted_policies import OraclePolicy
from fissile.environments.base import ErrorProtocol, ToolEnvironment
from fissile.environments.bfcl.refusals import CUT, MAX_RESULT
from fissile.rollouts import Limits, OpenRollout, Rollout
from fissile.tasks import Task, World
from fissile.tasks.bfcl_multi_turn import DOC_FILES, class_tools
from security.hostile_cases import Case, Probe

PYTHON_TOOLS = '''
import re
from typing import Any

class Shelf:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, value: Any) -> Any:
        """Keep a value."""
        self.kept.append(value)
        return value

    def count(self) -> int:
        """How many values are kept."""
        return len(self.kept)

    def match(self, pattern: str, text: str) -> bool:
        """Whether a regular expression matches."""
        return re.fullmatch(pattern, text) is not None

    def repeat(self, text: str, times: int) -> str:
        """A text many times."""
        return text * times
'''
KEEP = Probe("keep", "value")

LIMITS = Limits(steps_per_turn=3)
"""Room for the truth, and no more: a rollout that a case has led astray ends soon."""


def shortened(task: Task, turns: int = 2) -> Task:
    """A task of BFCL's up to its first turns."""
    truth = task.reference["ground_truth"][:turns]
    return replace(task, later=task.later[: turns - 1], reference={**task.reference, "ground_truth": truth})


def with_all_classes(task: Task) -> Task:
    """A task of BFCL's in a world of all classes, all their functions offered."""
    assert task.world is not None
    classes = list(DOC_FILES)
    return replace(
        task,
        tools=tuple(tool for name in classes for tool in class_tools(name)),
        world=World("bfcl", {**task.world.setup, "classes": classes}),
        reference={**task.reference, "entry": {**task.reference["entry"], "involved_classes": classes}},
    )


@dataclass(frozen=True)
class HostileFirst(OraclePolicy):
    """Says `text` first, and what is right from then on.

    Attributes:
        text: the first response.
    """

    text: str = ""

    def write(self, context: Context, sampling: Sampling) -> str:
        """See the class."""
        return super().write(context, sampling) if context.dialogue else self.text


@dataclass(frozen=True)
class Played:
    """A finished rollout, its world, and the CPU time that it took, the reading of its responses included."""

    rollout: Rollout
    world: ToolEnvironment
    seconds: float


class Arena:
    """Where cases are played: a task, how its worlds are made, a dialect and a protocol.

    Attributes:
        task: of the rollouts.
        protocol: of the rollouts.
        first_state: fingerprint of the world before the first turn.
        longest: characters of a result.
        last: the world of the last rollout.
    """

    def __init__(
        self,
        task: Task,
        make: Callable[[], ToolEnvironment],
        dialect: Dialect,
        protocol: ErrorProtocol = ErrorProtocol.RECOVERY,
        longest: int = MAX_RESULT + len(CUT),
    ) -> None:
        self.task, self._make, self._dialect = task, make, dialect
        self.protocol, self.longest = protocol, longest
        self.last = self.begun()
        self.first_state = self.last.fingerprint()

    def begun(self) -> ToolEnvironment:
        """A world of its own, before the first turn."""
        world = self._make()
        world.reset(self.task)
        return world

    def play(self, case: Case) -> Played:
        """One rollout of the case."""
        self.last = self._make()
        self.last.errors = self.protocol.policy
        policy = HostileFirst(self._dialect, text=case.write(self._dialect))
        began = time.thread_time()
        rollout = OpenRollout(self.last, policy, LIMITS)
        rollout.begin(self.task)
        finished: list[Rollout] = []
        roll_out(policy, [rollout], Sampling(), finished.append)
        return Played(finished[0], self.last, time.thread_time() - began)
