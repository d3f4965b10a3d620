"""BFCL's multi-turn world as an environment: the official classes, our own bookkeeping, the official judgement."""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from fissile.calls import JSON, ToolCall, ToolResult
from fissile.environments.base import ToolEnvironment, Verdict
from fissile.environments.bfcl.fingerprint import fingerprint
from fissile.environments.bfcl.instances import PublicState, plain_copy, public_state, same_state
from fissile.environments.bfcl.refusals import oversized
from fissile.environments.bfcl.session import Arguments, Scenario, Session, first_values, refused
from fissile.environments.replay import RIGHT, AfterTurn, PerTask, Words, replayed
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import ExpectedCall, Task

_WORDS = Words(
    no_call="no tool was called in a turn that needs one.",
    wrong_state="the tools ran, but they did not do what was asked.",
    missing_result="a call that the request needs was not made, or differently.",
)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call as it stands in the log: what a replay needs.

    Attributes:
        name: the function.
        arguments: its own copy; empty where the call was refused unseen.
        refusal: why the arguments were too large to be kept; None for all others.
    """

    name: str
    arguments: Arguments
    refusal: str | None = None

    def to_list(self) -> list[JSON]:
        return [self.name, self.arguments, self.refusal]


class BFCLWorld(ToolEnvironment):
    """One episode of BFCL's multi-turn world. See `fissile.environments.base.ToolEnvironment`.

    The world is as permissive as the official one: every function of the involved classes can be called, offered or
    not (`fissile.tasks.offered` tells which are).

    `judge` closes a turn. It must be called after each turn, the replayed ones included, since the official check looks
    at the state after every turn, and at whether the turn made a call. It may be called again within the same turn,
    after more calls. A turn that was passed over counts as valid, and its calls as those of the next one.
    """

    _scenario: Scenario
    _truth: tuple[AfterTurn[PublicState], ...]
    _session: Session
    _log: list[_Call]
    _given: Counter[str]
    _ends: list[int]
    _verdicts: list[Verdict]

    def reset(self, task: Task) -> None:
        """Begin `task`: the state before its first turn.

        Raises:
            DataError: the task is none of `load_bfcl_multi_turn`, or its configuration does not fit its classes.
            AssetError: the official classes cannot be fetched.
        """
        self._scenario = _scenario(task)
        self._truth = _truth(task)
        self._begin()

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the well-formed calls of one attempt, in order; a malformed one is answered and not counted.

        The text of a result is that of the official executor, which the judge compares.
        """
        return tuple(self._execute(call, index) for index, call in enumerate(calls))

    def snapshot(self) -> JSON:
        """The calls since `reset` and where turns ended: {"calls": [[name, arguments, refusal]], "ends": [int]}."""
        return {"calls": [call.to_list() for call in self._log], "ends": list(self._ends)}

    def restore(self, state: JSON) -> None:
        """Go to a state of `snapshot`, by replaying the calls. Costs only what is new where it goes on from here."""
        calls, ends = [_Call(*fields) for fields in state["calls"]], state["ends"]
        closed = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ends, self._ends, strict=False))
        )
        passed_an_end = len(ends) > closed and ends[closed] < len(self._log)
        if passed_an_end or not _begins_with(calls, self._log):
            closed = 0
            self._begin()
        del self._ends[closed:], self._verdicts[closed:]
        for turn in range(closed, len(ends)):
            self._replay(calls[len(self._log) : ends[turn]])
            self.judge(turn)
        self._replay(calls[len(self._log) :])

    def fingerprint(self) -> str:
        """Equal exactly when the official check takes the states for equal."""
        try:
            return fingerprint(public_state(self._session.instances))
        except RecursionError:  # directories nested hundreds deep
            return sha256(json.dumps(self.snapshot()["calls"]).encode()).hexdigest()[:32]

    def judge(self, turn: int) -> Verdict:
        """The official verdict after `turn`, which this closes: the first turn that fails decides.

        Its `reason` is the official error type: "empty_turn_model_response", "instance_state_mismatch" or
        "execution_response_mismatch".
        """
        del self._ends[turn:], self._verdicts[turn:]
        begun = self._ends[-1] if self._ends else 0
        failed = next((verdict for verdict in self._verdicts if not verdict.valid), None)
        verdict = failed or self._check(self._truth[turn], calls=len(self._log) - begun)
        skipped = turn - len(self._ends)
        self._ends += [begun] * skipped + [len(self._log)]
        self._verdicts += [RIGHT] * skipped + [verdict]
        return verdict

    def _check(self, truth: AfterTurn[PublicState], calls: int) -> Verdict:
        """The official check of one turn (`multi_turn_checker`)."""
        if not truth.results:
            return RIGHT
        return _WORDS.judge(truth, calls > 0, self._given, partial(same_state, self._session.instances))

    def _begin(self) -> None:
        self._session = Session(self._scenario)
        self._log = []
        self._given = Counter()
        self._ends = []
        self._verdicts = []

    def _execute(self, call: ToolCall, index: int) -> ToolResult:
        if call.name is None or call.arguments is None:
            error = ToolError(ErrorKind.MALFORMED_CALL, "the call cannot be parsed.", index, call.name)
            return ToolResult(f"Error: {error.message}", index, error)
        refusal = oversized(call.arguments)
        if refusal is not None:
            return self._take(_Call(call.name[:100], {}, refusal), index)
        return self._take(_Call(call.name, plain_copy(call.arguments)), index)

    def _take(self, call: _Call, index: int) -> ToolResult:
        """Run a call and keep it, with what it answered."""
        if call.refusal is not None:
            result = refused(call.name, call.refusal, index)
        else:
            result = self._session.run(call.name, call.arguments, index)
        self._log.append(call)
        self._given[result.content] += 1
        return result

    def _replay(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            self._take(call, 0)


def _begins_with(calls: Sequence[_Call], log: Sequence[_Call]) -> bool:
    """True where the log is a prefix of the calls, to the type of each value (1, 1.0 and true are not the same)."""
    return len(log) <= len(calls) and all(
        call.arguments is done.arguments or json.dumps(call.to_list()) == json.dumps(done.to_list())
        for call, done in zip(calls, log, strict=False)
    )


def _turn_truths(task: Task) -> tuple[AfterTurn[PublicState], ...]:
    """What the truth of each turn of a task leaves behind: the first accepted value of every argument."""
    session = Session(_scenario(task))

    def run(call: ExpectedCall) -> str:
        return session.run(call.name, first_values(call)).content

    return replayed(
        (turn.ground_truth for turn in task.turns), run, lambda: copy.deepcopy(public_state(session.instances))
    )


_scenario = PerTask(Scenario.of)
_truth = PerTask(_turn_truths)
