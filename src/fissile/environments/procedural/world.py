"""`ProceduralWorld`: one episode with the records of a procedural task, in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fissile.calls import JSON, ToolCall, ToolResult, shorten
from fissile.environments.base import MISSING_RESULT, NO_CALL, WRONG_STATE, Verdict
from fissile.environments.procedural.complaints import complaints
from fissile.environments.procedural.records import ACTIONS, Meaning, Records, canonical, signature
from fissile.errors import DataError, ErrorKind, ToolError
from fissile.functions import DomainError
from fissile.tasks import Task, World
from fissile.tasks.procedural import SOURCE as WORLD

MAX_COMPLAINTS = 4
"""Things that an answer objects to at once."""


_NO_CALL = Verdict.against(NO_CALL, ErrorKind.MISSING_CALL, "no tool was called.")
_WRONG_STATE = Verdict.against(WRONG_STATE, ErrorKind.WRONG_STATE, "the records are not as the request wants them.")
_NOT_READ = Verdict.against(
    MISSING_RESULT, ErrorKind.MISSING_CALL, "a record that was asked for was not looked up as asked."
)


@dataclass
class ProceduralWorld:
    """One episode. See `fissile.environments.base.Environment`.

    `World.setup` is {"records": {noun: [codes]}, "tools": {name: {"action", "noun", "key"}}, "transient": share}: the
    records that there are, what the tools mean (`Meaning`), and the share of the calls that time out or break when
    they are made for the first time, and change nothing. Which ones is decided by the task and the call alone.
    """

    _task: Task | None = None
    _tools: dict[str, Meaning] = field(default_factory=dict)
    _transient: float = 0.0
    _records: Records = field(default_factory=lambda: Records({}))
    _truth: tuple[Records, ...] = ()
    _stumbled: set[str] = field(default_factory=set)
    _calls: int = 0

    def reset(self, task: Task) -> None:
        """Begin `task`.

        Raises:
            DataError: the task is for another world, or its setup is none of this world.
        """
        if task.world is None or task.world.name != WORLD:
            raise DataError(f"Task '{task.id}' is not for the world '{WORLD}'. Make it with 'live = true'.")
        try:
            tools, records = _tools(task.world), _first_records(task.world)
            self._transient = float(task.world.setup.get("transient", 0.0))
            self._truth = tuple(_after_truth(task, tools, records.copy()))
        except (KeyError, TypeError, ValueError, AttributeError, DomainError) as error:
            raise DataError(f"The world of task '{task.id}' does not fit its truth or its tools: {error!r}.") from None
        self._task, self._tools, self._records = task, tools, records
        self._stumbled, self._calls = set(), 0

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the calls of one attempt, in order; each sees the state that the one before it left."""
        return tuple(self._execute(call, index) for index, call in enumerate(calls))

    def snapshot(self) -> JSON:
        """The records, how often each was read and how, the calls that failed on their first try, the calls so far."""
        return {
            **self._records.state(),
            "reads": dict(self._records.reads),
            "stumbled": sorted(self._stumbled),
            "calls": self._calls,
        }

    def restore(self, state: JSON) -> None:
        """Go to a state of `snapshot`.

        Raises:
            DataError: it is no snapshot of this world.
        """
        try:
            records = Records(
                dict(state["present"]), dict(state["deleted"]), list(state["nameless"]), Counter(dict(state["reads"]))
            )
            stumbled, calls = set(state["stumbled"]), int(state["calls"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"The state to restore is no snapshot of a procedural world ({error!r}).") from None
        self._records, self._stumbled, self._calls = records, stumbled, calls

    def fingerprint(self) -> str:
        """Equal exactly for equal records; reads and failures leave it as it is."""
        return _digest(canonical(self._records.state())).hex()[:32]

    def judge(self, turn: int) -> Verdict:
        """The records against those that the truth leaves, and whether every record that it reads was read alike.

        The order of the calls does not matter, and more may be read than was asked. A record that was made wrong may be
        set right. The reasons are those of the other worlds.
        """
        assert self._task is not None, "reset comes first"
        if not self._task.turns[turn].ground_truth:
            return Verdict()
        if not self._calls:
            return _NO_CALL
        truth = self._truth[turn]
        if self._records != truth:
            return _WRONG_STATE
        return Verdict() if truth.reads <= self._records.reads else _NOT_READ

    def _execute(self, call: ToolCall, index: int) -> ToolResult:
        self._calls += 1
        errors = tuple(self._refusals(call)) or tuple(self._stumble(call))
        if not errors:
            try:
                return ToolResult(self._records.carry_out(call, self._tools[call.name or ""]), index)
            except DomainError as error:
                errors = (ToolError(ErrorKind.DOMAIN_ERROR, str(error), tool=call.name),)
        words = " ".join(dict.fromkeys(error.message for error in errors[:MAX_COMPLAINTS]))
        return ToolResult(f"Error: {words}", index, replace(errors[0], call_index=index))

    def _refusals(self, call: ToolCall) -> Iterator[ToolError]:
        """Why a call must not be carried out."""
        assert self._task is not None, "reset comes first"
        tool = self._task.tool(call.name)
        if call.parse_error is not None or call.arguments is None:
            yield ToolError(ErrorKind.MALFORMED_CALL, "this is no readable call.", tool=call.name)
        elif tool is None or tool.name not in self._tools:
            message = f"nothing here is called {shorten(call.name or '')}."
            yield ToolError(ErrorKind.UNKNOWN_TOOL, message, tool=call.name)
        else:
            yield from complaints(tool, call.arguments)

    def _stumble(self, call: ToolCall) -> Iterator[ToolError]:
        """The passing failure of a call that is made for the first time, if the draw falls on it."""
        if not self._transient:
            return
        assert self._task is not None
        draw = _digest(f"{self._task.id}/{signature(call)}")
        if int.from_bytes(draw[:7]) >= self._transient * 2**56 or (mark := draw.hex()[:16]) in self._stumbled:
            return
        self._stumbled.add(mark)
        kind = (ErrorKind.TIMEOUT, ErrorKind.EXCEPTION)[draw[7] % 2]
        yield ToolError(kind, _STUMBLES[kind].format(tool=call.name), tool=call.name)


_STUMBLES = {
    ErrorKind.TIMEOUT: "{tool} took too long and was stopped; nothing was done.",
    ErrorKind.EXCEPTION: "{tool} broke down for a moment; nothing was done.",
}


def _tools(world: World) -> dict[str, Meaning]:
    tools = {name: Meaning(**meaning) for name, meaning in world.setup["tools"].items()}
    unknown = {meaning.action for meaning in tools.values()} - ACTIONS.keys()
    if unknown:
        raise ValueError(f"an 'action' must be one of {', '.join(ACTIONS)}, not {', '.join(map(str, unknown))}")
    return tools


def _first_records(world: World) -> Records:
    return Records({f"{noun} {code}": {} for noun, codes in world.setup["records"].items() for code in codes})


def _after_truth(task: Task, tools: Mapping[str, Meaning], records: Records) -> Iterator[Records]:
    """What the truth leaves after each turn."""
    for turn in range(len(task.turns)):
        for call in task.oracle_calls(turn):
            records.carry_out(call, tools[call.name or ""])
        yield records.copy()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
