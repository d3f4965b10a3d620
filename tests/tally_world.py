"""A live world of one number, and a task in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fissile.calls import JSON, ToolCall, ToolResult
from fissile.environments.base import ToolEnvironment, Verdict
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import ExpectedCall, Task, Turn, World
from fissile.tools import Tool

ADD = Tool("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
DOUBLE = Tool("double", "Double.", {"type": "object", "properties": {}})


def add(n: int) -> ExpectedCall:
    return ExpectedCall.exactly("add", {"n": n})


def says(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": text},)


LIVE = Task(
    "live",
    says("Add 1, 2 and 1."),
    (ADD,),
    (add(1), add(2), add(1)),
    world=World("tally"),
    later=(Turn(says("Thanks.")), Turn((), (ExpectedCall.exactly("double", {}), add(5)), revealed=(DOUBLE,))),
)


@dataclass
class Tally(ToolEnvironment):
    """A world of one number."""

    number: int = 0
    task: Task = field(default=LIVE)

    def reset(self, task: Task) -> None:
        self.number, self.task = 0, task

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        return tuple(self._run(index, call) for index, call in enumerate(calls))

    def _run(self, index: int, call: ToolCall) -> ToolResult:
        tool = {"add": ADD, "double": DOUBLE}.get(call.name or "")
        if tool is None or call.arguments is None:
            errors: tuple[ToolError, ...] = (ToolError(ErrorKind.UNKNOWN_TOOL, "no such tool", index),)
        else:
            errors = tool.validate(call.arguments, index)
        if errors:
            return ToolResult(errors[0].message, index, errors[0])
        self.number = self.number * 2 if tool is DOUBLE else self.number + call.arguments["n"]  # type: ignore[index]
        return ToolResult(str(self.number), index)

    def snapshot(self) -> JSON:
        return self.number

    def restore(self, state: JSON) -> None:
        self.number = state

    def fingerprint(self) -> str:
        return str(self.number)

    def judge(self, turn: int) -> Verdict:
        right = (4, 4, 13)[turn]
        return Verdict() if self.number == right else Verdict((ToolError(ErrorKind.WRONG_STATE, "wrong"),), "state")
