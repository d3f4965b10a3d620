"""Policies that follow a script: the measuring rods of every environment and loop, and the stand-ins of dry runs.

They decide from the task, the turn and the dialogue alone and remember nothing, so they answer contexts in any
order and on any number of threads. Each writes text in its dialect and reads it back as a model's is read.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fissile.calls import ToolCall
from fissile.contexts import Context, Exchange
from fissile.dialects.base import Dialect
from fissile.engines.base import Sampling
from fissile.engines.plausible_values import Borrowed, plausible_arguments
from fissile.engines.policy import MessageReader, Response
from fissile.tasks import Task


@dataclass(frozen=True)
class ScriptedPolicy(MessageReader, ABC):
    """See `fissile.engines.policy.Policy`. A subclass writes the text.

    Attributes:
        dialect: the tool-call format of the text.
        closing: what is said, without a call, where there is nothing more to do.
    """

    dialect: Dialect
    closing: str = "That is all."

    @abstractmethod
    def write(self, context: Context, sampling: Sampling) -> str:
        """The response to a context."""

    @property
    def concurrency(self) -> None:
        """All contexts at hand are answered in one call."""
        return

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        """What the script says to each context."""
        texts = [self.write(context, sampling) for context in contexts]
        return [Response(text, self.dialect.parse(text)) for text in texts]

    def _say(self, calls: Sequence[ToolCall]) -> str:
        return self.dialect.render_calls(calls) if calls else self.closing


@dataclass(frozen=True)
class OraclePolicy(ScriptedPolicy):
    """Makes the calls of the turn's truth that were not made yet, then says the closing sentence.

    Attributes:
        one_call_a_response: make them one by one instead of all at once. A single-step task has only one response
            and gets all.
    """

    one_call_a_response: bool = False

    def write(self, context: Context, sampling: Sampling) -> str:
        """The rest of the truth."""
        calls = _remaining_truth(context)
        return self._say(calls[:1] if self.one_call_a_response and context.task.world is not None else calls)


@dataclass(frozen=True)
class CorruptedOraclePolicy(ScriptedPolicy):
    """Begins a turn with one explicit error in its first call, then makes that call right, then the rest.

    The error is one that the schemas forbid (an unknown tool, an argument too many or too few), so that any
    environment reports it. In a live world the wrong call stands alone, which leaves the state as it was; in a
    single-step task the other calls stand beside it.

    Attributes:
        seed: with the task and the turn, it draws the error.
        errors_in: every turn that has a truth, or only the first of them from the task's `start` on.
    """

    seed: int = 0
    errors_in: Literal["each_turn", "first_turn"] = "each_turn"

    def write(self, context: Context, sampling: Sampling) -> str:
        """The error, the repair or the rest."""
        calls = _remaining_truth(context)
        said = context.current
        live = context.task.world is not None
        if calls and not said and self._errs_in(context):
            wrong = self._corrupted(calls[0], context)
            return self._say([wrong] if live else [wrong, *calls[1:]])
        repairs = live and len(said) == 1 and self._errs_in(context)
        return self._say(calls[:1] if repairs else calls)

    def _errs_in(self, context: Context) -> bool:
        if self.errors_in == "each_turn":
            return True
        turns = enumerate(context.task.turns)
        return context.turn == next((at for at, turn in turns if at >= context.task.start and turn.ground_truth), None)

    def _corrupted(self, call: ToolCall, context: Context) -> ToolCall:
        rng = random.Random(f"{self.seed}/{context.task.id}/{context.turn}")
        return rng.choice(list(_explicit_errors(call, context.task.at_turn(context.turn))))


@dataclass(frozen=True)
class StubbornPolicy(ScriptedPolicy):
    """Repeats one and the same call to a tool that was never offered.

    Attributes:
        give_up_after: responses of a turn until it says the closing sentence instead; None never gives up.
    """

    give_up_after: int | None = None

    def write(self, context: Context, sampling: Sampling) -> str:
        """The call, or the end of the turn."""
        if self.give_up_after is not None and len(context.current) >= self.give_up_after:
            return self.closing
        return self._say([ToolCall.of(_unknown_name("no_such_tool", context.task.at_turn(context.turn)), {})])


@dataclass(frozen=True)
class RandomPolicy(ScriptedPolicy):
    """Calls offered tools with values of the right shape, borrowed from the conversation and the task's truth.

    The same context, seed and sampling seed give the same response.

    Attributes:
        seed: with the sampling's seed and the context, it draws everything.
        ends: probability that a response ends the turn.
        malformed: probability that a response is cut off inside its calls.
        max_calls: most calls in a response.
    """

    seed: int = 0
    ends: float = 0.25
    malformed: float = 0.1
    max_calls: int = 3

    def write(self, context: Context, sampling: Sampling) -> str:
        """Some calls, sometimes cut off, or the end of the turn."""
        said = [(exchange.text, *exchange.results) for exchange in context.dialogue]
        rng = random.Random(f"{self.seed}/{sampling.seed}/{context.task.id}/{context.turn}/{said}")
        tools = context.task.at_turn(context.turn).tools
        if not tools or rng.random() < self.ends:
            return self.closing
        borrowed = _borrowed(context)
        drawn = (rng.choice(tools) for _ in range(rng.randint(1, self.max_calls)))
        text = self._say([ToolCall.of(tool.name, plausible_arguments(tool, borrowed, rng)) for tool in drawn])
        return text[: rng.randrange(len(text))] if rng.random() < self.malformed else text


def _borrowed(context: Context) -> Borrowed:
    turns = context.task.turns[: context.turn + 1]
    texts = [message["content"] for turn in turns for message in turn.messages]
    results = [result for exchange in context.dialogue for result in exchange.results]
    return Borrowed.among([*texts, *results], [call.arguments for turn in turns for call in turn.ground_truth])


def _remaining_truth(context: Context) -> tuple[ToolCall, ...]:
    """The calls of the turn's truth that were not made yet; all of them in a single-step task, which has no memory.

    Truth calls are ticked off in their order; other calls between them are passed over. One of a tool that is still
    held out (multi_turn_miss_func_49) is tried once: it runs under the official protocol, and is refused otherwise.
    """
    truth = context.task.oracle_calls(context.turn)
    if context.task.world is None:
        return truth
    offered = context.task.at_turn(context.turn)
    done = 0
    for call in (call for exchange in context.current for call in _settled(exchange, offered)):
        done += done < len(truth) and call.signature == truth[done].signature
    return truth[done:]


def _settled(exchange: Exchange, offered: Task) -> Iterator[ToolCall]:
    """The calls that ran, and those that never will."""
    executed = exchange.executed
    return (call for call in exchange.calls if executed or offered.tool(call.name) is None)


def _explicit_errors(call: ToolCall, task: Task) -> Iterator[ToolCall]:
    """The call with an unknown tool, an argument too many, or each required argument left out; at least one."""
    name, arguments = call.name or "", call.arguments or {}
    yield ToolCall.of(_unknown_name(f"{name}_v2", task), arguments)
    tool = task.tool(name)
    if tool is None:
        return
    extra = ToolCall.of(name, {**arguments, "unasked_for": True})
    if tool.validate(extra.arguments or {}):
        yield extra
    for argument in tool.required:
        yield ToolCall.of(name, {key: value for key, value in arguments.items() if key != argument})


def _unknown_name(name: str, task: Task) -> str:
    """`name`, lengthened until the task offers no such tool."""
    while task.tool(name) is not None:
        name += "_x"
    return name
