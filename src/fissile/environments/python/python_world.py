"""`PythonWorld`: one episode with a user's own tools."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Sequence

from fissile.calls import JSON, ToolCall, ToolResult
from fissile.environments.base import WRONG_STATE, ToolEnvironment, Verdict
from fissile.environments.python.call_limits import CallLimits
from fissile.environments.python.calling import PickledState, not_run, run_call
from fissile.environments.python.toolbox import PythonTools
from fissile.environments.python.truth import Truth, same_states, truth_of
from fissile.environments.python.worker_pool import WorkerPool, shared_pool
from fissile.environments.replay import RIGHT, Words
from fissile.errors import ConfigError, DataError, ErrorKind, ToolError
from fissile.tasks import Task

WORLD = "python"
"""`World.name` of the tasks for this environment."""


class PythonWorld(ToolEnvironment):
    """Runs the calls in worker processes that all episodes of the same tools share.

    A tool that hangs, crashes, exits or takes too much memory costs its call and its worker, and the episode goes on
    from the state before that call. Whatever a tool raises keeps the state that it left, as in any Python program.

    A task's `World.setup` is {"arguments": {...}}, the arguments of the class's constructor by name; it stays empty
    for plain functions.

    Args:
        tools: the user's.
        limits: of each call.
        workers: processes for all episodes with these tools and limits together.

    Raises:
        ConfigError: fewer than one worker.
    """

    def __init__(self, tools: PythonTools, limits: CallLimits | None = None, workers: int = 2) -> None:
        if workers < 1:
            raise ConfigError(f"A Python world needs at least 1 worker, not {workers}.")
        self._tools = tools
        self._limits = limits if limits is not None else CallLimits()
        self._workers = workers
        self._truth = Truth(PickledState(), ())
        self._state = PickledState()
        self._results: list[str] = []
        self._turn_ends: dict[int, tuple[int, str]] = {}  # results so far, and the fingerprint

    def reset(self, task: Task) -> None:
        """Begin `task`; its truth is replayed once for all episodes.

        Raises:
            DataError: the task is for another world or offers other tools, its world cannot be built, or its truth
                cannot be replayed.
            InfrastructureError: no worker can be started.
        """
        if task.world is None or task.world.name != WORLD:
            named = "none" if task.world is None else f"'{task.world.name}'"
            raise DataError(
                f"Task '{task.id}' is for another world ({named}). Give it the world {{'name': '{WORLD}'}}."
            )
        for tool in (*task.tools, *(tool for turn in task.later for tool in turn.revealed)):
            if self._tools.tool(tool.name) is None:
                known = ", ".join(known.name for known in self._tools.tools)
                raise DataError(
                    f"Task '{task.id}' offers '{tool.name}', which is not among the Python tools ({known})."
                )
        self._truth = truth_of(task, self._tools, self._pool)
        self._state = self._truth.first
        self._results = []
        self._turn_ends = {}

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the calls of one attempt, in order; each sees the state that the one before it left.

        Raises:
            InfrastructureError: no worker can be started.
        """
        return tuple(self._execute_one(call, index) for index, call in enumerate(calls))

    def snapshot(self) -> JSON:
        """The pickled instance (base64), a digest of each result; how many, and the fingerprint, as turns ended."""
        return {
            "state": base64.b64encode(self._state.pickled).decode("ascii"),
            "fingerprint": self._state.fingerprint,
            "digests": list(self._results),
            "turn_ends": [[turn, *end] for turn, end in self._turn_ends.items()],
        }

    def restore(self, state: JSON) -> None:
        """Go back to a state. Only a worker ever unpickles it; still, take no checkpoints from strangers.

        Raises:
            DataError: it is no snapshot of this world.
        """
        try:
            pickled = base64.b64decode(state["state"], validate=True)
            restored = PickledState(pickled, str(state["fingerprint"]))
            results = [str(result) for result in state["digests"]]
            turn_ends = {int(turn): (int(count), str(*mark)) for turn, count, *mark in state["turn_ends"]}
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DataError(f"The state to restore is no snapshot of a Python world ({error}).") from None
        self._state, self._results, self._turn_ends = restored, results, turn_ends

    def fingerprint(self) -> str:
        """A digest of the instance's public attributes; always the same for plain functions."""
        return self._state.fingerprint

    def judge(self, turn: int) -> Verdict:
        """As BFCL's checker judges a turn; to be called at the end of every turn, in order.

        A turn whose truth expects calls needs a call, then the state that the truth leaves, then the truth's results
        among all results so far. Unlike BFCL's, one whose truth expects none must leave the state as it was: reading is
        free, changing is not. A turn may be judged again later, as long as no later one was.
        """
        ends = [end for earlier, end in sorted(self._turn_ends.items()) if earlier < turn]
        began, before = ends[-1] if ends else (0, self._truth.first.fingerprint)
        self._turn_ends[turn] = len(self._results), self._state.fingerprint
        truth = self._truth.turns[turn]
        if not truth.results:
            is_same = self._state.fingerprint == before or self._is_in(truth.state)
            return RIGHT if is_same else _CHANGED_STATE
        return _WORDS.judge(truth, len(self._results) > began, Counter(self._results), self._is_in)

    @property
    def _pool(self) -> WorkerPool:
        return shared_pool(self._tools.source, self._limits, self._workers)

    def _execute_one(self, call: ToolCall, index: int) -> ToolResult:
        if index >= self._limits.calls:
            message = f"not executed: one response may make at most {self._limits.calls} calls."
            self._results.append(not_run(message))
            return ToolResult(f"Error: {message}", index, ToolError(ErrorKind.EXTRA_CALL, message, index, call.name))
        outcome = run_call(self._pool, self._tools.tool(call.name), call, self._state, index)
        self._state = outcome.state
        self._results.append(outcome.digest)
        return ToolResult(outcome.content, index, outcome.error)

    def _is_in(self, expected: PickledState) -> bool:
        return same_states(self._pool, self._state, expected)


_WORDS = Words(
    no_call="no tool was called.",
    wrong_state="the calls did not leave what was asked for.",
    missing_result="something that was asked for was not called.",
)
_CHANGED_STATE = Verdict.against(WRONG_STATE, ErrorKind.WRONG_STATE, "the calls changed what nobody asked to change.")
