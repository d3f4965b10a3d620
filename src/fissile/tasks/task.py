"""`Task`: context messages, offered tools, and the calls that are right."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from fissile.calls import JSON, ToolCall
from fissile.errors import DataError
from fissile.tools import Tool

Message = dict[str, Any]
"""A chat message: {"role": "system" | "user" | "assistant" | "tool", "content": text}.

An assistant's may have "tool_calls" in OpenAI's form, [{"type": "function", "function": {"name": ..., "arguments": JSON
text}}]; how they are written is the dialect's. A tool's may have a "tool_call_id" and a "name".
"""

Matching = Literal["exact", "bfcl"]
"""How a value is compared with the truth: JSON equality, or BFCL's (letter case and punctuation are free)."""


@dataclass(frozen=True)
class ExpectedCall:
    """One call of the ground truth.

    Attributes:
        name: the tool.
        arguments: argument name to the list of accepted values.
        optional: arguments that may be left out (BFCL marks them with "" among the accepted values; here that
            mark is taken out of the list and kept in this set).
    """

    name: str
    arguments: dict[str, list[JSON]]
    optional: frozenset[str] = frozenset()

    @classmethod
    def exactly(cls, name: str, arguments: dict[str, JSON]) -> ExpectedCall:
        """The call with one accepted value for each argument and none optional."""
        return cls(name, {key: [value] for key, value in arguments.items()})

    @property
    def required(self) -> tuple[str, ...]:
        """Arguments that must be present."""
        return tuple(name for name in self.arguments if name not in self.optional)


def said(message: Message) -> str:
    """All that a message says: its content, and name and arguments of the calls that it makes."""
    functions = [call["function"] for call in message.get("tool_calls", ())]
    return "\n".join([message["content"], *(f"{call['name']} {call['arguments']}" for call in functions)])


@dataclass(frozen=True)
class World:
    """Which environment runs the calls of a task, and from what state.

    Attributes:
        name: the environment: "bfcl", "procedural" or "python".
        setup: what the environment makes the first state from, JSON-ready.
    """

    name: str
    setup: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One scripted turn of the user.

    Attributes:
        messages: what the user says; may be empty where tools are revealed instead.
        ground_truth: the calls that are right, in order; empty where none is expected.
        revealed: tools that are offered from this turn on.
    """

    messages: tuple[Message, ...]
    ground_truth: tuple[ExpectedCall, ...] = ()
    revealed: tuple[Tool, ...] = ()


@dataclass(frozen=True)
class Task:
    """One thing to be done with tools: in one response, or in a live world over several turns.

    Attributes:
        id: unique in its task set.
        messages: the conversation up to the assistant's (first) turn.
        tools: the tools that are offered from the beginning, names unique.
        ground_truth: the expected calls of the first turn; the order is free in a single-step task.
        source: "bfcl" or the file or dataset that it came from.
        category: a BFCL category, or "".
        matching: how values are compared.
        reference: what an outside checker needs and nobody else reads (for BFCL: the entry's original function
            docs and possible answer).
        world: the live environment; None for a single-step task.
        later: the scripted turns after the first.
        start: index of the turn at which the policy takes over; the truth is replayed before it. An instance for
            training has `start` at its last turn.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    ground_truth: tuple[ExpectedCall, ...]
    source: str = ""
    category: str = ""
    matching: Matching = "exact"
    reference: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    world: World | None = None
    later: tuple[Turn, ...] = ()
    start: int = 0

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"Task '{self.id}' offers the tool '{twice}' twice. Tool names must be unique.")
        for call in self.ground_truth:
            if call.name not in names:
                raise DataError(
                    f"Task '{self.id}': the ground truth calls '{call.name}', which is not among its tools "
                    f"({', '.join(names) or 'none'})."
                )

    @cached_property
    def _tools_by_name(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self.tools}

    def tool(self, name: str | None) -> Tool | None:
        """The offered tool of that name, or None."""
        return self._tools_by_name.get(name) if name is not None else None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every scripted turn, the first included."""
        return (Turn(self.messages, self.ground_truth), *self.later)

    def at_turn(self, index: int) -> Task:
        """The single-turn task that turn `index` poses: what was said and revealed up to it, and its own truth."""
        if index == 0 and not self.later:
            return self
        turns = self.turns[: index + 1]
        offered = {tool.name: tool for tool in (*self.tools, *(tool for turn in turns for tool in turn.revealed))}
        return replace(
            self,
            messages=tuple(message for turn in turns for message in turn.messages),
            tools=tuple(offered.values()),
            ground_truth=tuple(call for call in turns[-1].ground_truth if call.name in offered),
            later=(),
            start=0,
        )

    def with_truth(self, ground_truth: tuple[ExpectedCall, ...]) -> Task:
        """The same task with another truth for its (first) turn."""
        return replace(self, ground_truth=ground_truth)

    @property
    def functions(self) -> frozenset[str]:
        """Names of the functions that the truth calls; the unit of the split."""
        return frozenset(call.name for turn in self.turns for call in turn.ground_truth)

    def oracle_calls(self, turn: int = 0) -> tuple[ToolCall, ...]:
        """The whole truth of a turn as calls: the first accepted value of every required argument.

        A call of a tool that is not offered yet is among them; `at_turn(turn).oracle_calls()` leaves it out.
        """
        value = _from_template if self.matching == "bfcl" else copy.deepcopy
        calls = []
        for expected in self.turns[turn].ground_truth:
            arguments = {name: value(expected.arguments[name][0]) for name in expected.required}
            calls.append(ToolCall.of(expected.name, arguments))
        return tuple(calls)


def _from_template(accepted: JSON) -> JSON:
    """One value that BFCL's accepted value stands for: its objects list the accepted values of each key.

    "" among them means that the key may be left out; that is done only where nothing else is accepted.
    """
    match accepted:
        case dict():
            written = {key: [value for value in values if value != ""] for key, values in accepted.items()}
            return {key: copy.deepcopy(values[0]) for key, values in written.items() if values}
        case [dict(), *_]:
            return [_from_template(item) for item in accepted]
        case _:
            return copy.deepcopy(accepted)
