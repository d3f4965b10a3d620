"""`LiveRollout`: the loop between a policy and a live world, as a state machine.

It holds a `context` as long as the policy has to answer, takes one response at a time, lets the world execute its
calls, and leaves a `Rollout`. It knows no engine: drivers decide how many of these run side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from fissile.calls import Attempt, FailedTurn, ParsedResponse, ToolCall, ToolResult, shorten, unreadable
from fissile.corrections.context import Context, Exchange
from fissile.environments.base import Environment, Verdict
from fissile.errors import ErrorKind, InfrastructureError, ToolError
from fissile.rollouts.record import Completion, End, Response, Rollout, Step, StopReason
from fissile.tasks import Task, Turn

logger = logging.getLogger(__name__)

CLOSING = "Done."
"""What a demonstration says at the end of a turn, when nothing is left to call."""


class ErrorProtocol(StrEnum):
    """What becomes of a response that cannot be executed. Stated in every result."""

    RECOVERY = "recovery"
    """A malformed call, a cut response and a call of a tool that is not offered are answered with their error."""
    OFFICIAL = "official"
    """BFCL's: a malformed or cut response ends the turn unanswered, and every method of the world may be called."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a rollout is cut.

    Attributes:
        steps_per_turn: executed responses of one turn; BFCL's is 21. Injected ones do not count.
        steps: responses of the whole rollout, injected ones left out; None for no limit.
        calls_per_response: further calls of one response are answered with an error, and not executed.
        context_tokens: tokens of a context that still may be answered; None for no limit.
    """

    steps_per_turn: int = 21
    calls_per_response: int = 64
    context_tokens: int | None = None
    steps: int | None = None


class Writer(Protocol):
    """Keeps the tokens of a conversation; see `fissile.engines.policy.Policy`."""

    def open(self, task: Task) -> tuple[int, ...]:
        """Token ids of a task's first prompt."""
        ...

    def reply(
        self, context: Context, response: Response, results: Sequence[str], turn: Turn | None = None
    ) -> tuple[int, ...]:
        """Token ids of the context that follows a response."""
        ...

    def completion(self, text: str) -> Completion:
        """The completion of a response that says `text`, without log-probabilities."""
        ...


@dataclass
class LiveRollout:
    """One rollout in the making.

    Attributes:
        environment: the world; this rollout's own.
        writer: keeps the tokens.
        protocol: what becomes of a response that cannot be executed.
        limits: where the rollout is cut.
        context: what the policy has to answer; None when the rollout is over.
    """

    environment: Environment
    writer: Writer
    protocol: ErrorProtocol = ErrorProtocol.RECOVERY
    limits: Limits = field(default_factory=Limits)
    context: Context | None = None
    _task: Task | None = None
    _steps: list[Step] = field(default_factory=list)
    _verdicts: list[Verdict] = field(default_factory=list)
    _silent: list[int] = field(default_factory=list)
    _turn_began: int = 0
    _end: End = End.DONE

    def begin(self, task: Task, demonstrate: Callable[[Sequence[ToolCall]], Response] | None = None) -> None:
        """Reset the world, and replay the truth of the turns before `task.start`.

        Args:
            task: a task with a world.
            demonstrate: the response that makes some calls, or says `CLOSING` where there are none; needed where
                `task.start` is not 0. What it makes is no step of the rollout.
        """
        self._task = task
        context = Context(task, self.writer.open(task))
        try:
            self.environment.reset(task)
            context = replace(context, state=self.environment.snapshot())
        except InfrastructureError as error:
            self._lose(context, Response("", ParsedResponse(())), error)
            return
        self._go_on(context)
        while self.context is not None and self.context.turn < task.start:
            assert demonstrate is not None, "a task that starts at a later turn needs a demonstration of the earlier"
            truth = task.at_turn(self.context.turn).oracle_calls()
            if truth:
                self.answer(demonstrate(truth))
            if self.context is not None:
                self.answer(demonstrate(()))
        if self.context is not None:
            self._forget_steps()

    def resume(self, context: Context) -> None:
        """Go on from a context of an earlier rollout, in the world as it was there.

        Raises:
            DataError: the context holds no state of this world.
        """
        self._task = context.task
        try:
            self.environment.reset(context.task)
            self.environment.restore(context.state)
        except InfrastructureError as error:
            self._lose(context, Response("", ParsedResponse(())), error)
        else:
            self._go_on(context)

    def answer(self, response: Response) -> None:
        """Take the policy's response to `context`, and move on.

        Raises:
            ValueError: the rollout is over.
        """
        context = self.context
        if context is None:
            raise ValueError("The rollout is over; it takes no more responses.")
        if response.failed:
            self._steps.append(Step(context, response.completion, Attempt("")))
            self._stop(End.INFRASTRUCTURE)
            return
        if response.completion.stop is StopReason.NO_ROOM:
            self._cut(context.turn, End.CONTEXT_LIMIT, context)
            return
        try:
            self._take(context, response)
        except InfrastructureError as error:  # the world's own machinery, not a call
            self._lose(context, response, error)

    def record(self) -> Rollout:
        """The rollout so far."""
        return Rollout(tuple(self._steps), self._end, tuple(self._verdicts), tuple(self._silent))

    # --- one response --------------------------------------------------------------------------------------------

    def _take(self, context: Context, response: Response) -> None:
        calls = response.parsed.calls
        truncated = response.completion.stop is StopReason.LENGTH
        unreadable = _unreadable(response, truncated)
        answered = self.protocol is ErrorProtocol.RECOVERY or not unreadable
        if answered and (calls or unreadable):
            self._execute(context, response, unreadable, truncated)
            return
        attempt = Attempt(response.text, calls, unreadable, truncated)
        step = Step(context, response.completion, attempt, injected=response.injected, provider=response.provider)
        self._steps.append(step)
        self._close_turn(context, response)

    def _execute(
        self, context: Context, response: Response, unreadable: tuple[ToolError, ...], truncated: bool
    ) -> None:
        calls = response.parsed.calls
        before = self.environment.fingerprint()
        refused = {error.call_index: error for error in unreadable}
        refused |= self._refused(context, calls)
        results = list(self._results(calls, refused))
        if None in refused:  # the response was cut before any call
            results.append(_answer(refused[None], 0))
        errors = tuple(result.error for result in results if result.error is not None)
        attempt = Attempt(response.text, calls, errors, truncated)
        changed = self.environment.fingerprint() != before
        made = (response.injected, response.provider)
        self._steps.append(Step(context, response.completion, attempt, tuple(results), changed, *made))
        contents = tuple(result.content for result in results)
        following = Context(
            context.task,
            self.writer.reply(context, response, contents),
            (*context.history, FailedTurn(attempt, "\n".join(contents))) if attempt.failed else context.history,
            context.turn,
            (
                *context.dialogue,
                Exchange(response.text, calls, contents, failed=attempt.failed, provider=response.provider),
            ),
            self.environment.snapshot(),
        )
        if self._has_taken_enough():
            self._cut(context.turn, End.STEP_LIMIT)
        else:
            self._go_on(following)

    def _has_taken_enough(self) -> bool:
        in_turn = sum(not step.injected for step in self._steps[self._turn_began :])
        in_all = sum(not step.injected for step in self._steps)
        return in_turn >= self.limits.steps_per_turn or in_all >= (self.limits.steps or in_all + 1)

    def _refused(self, context: Context, calls: Sequence[ToolCall]) -> dict[int | None, ToolError]:
        """The calls that must not reach the world, by their index."""
        refused: dict[int | None, ToolError] = {}
        limit = self.limits.calls_per_response
        offered = {tool.name for tool in context.task.at_turn(context.turn).tools}
        for index, call in enumerate(calls):
            if not call.is_well_formed:
                continue
            if index >= limit:
                message = f"not executed: one response may make at most {limit} calls."
                refused[index] = ToolError(ErrorKind.EXTRA_CALL, message, index, call.name)
            elif self.protocol is ErrorProtocol.RECOVERY and call.name not in offered:
                message = f"no tool is named '{shorten(call.name or '')}'."
                refused[index] = ToolError(ErrorKind.UNKNOWN_TOOL, message, index, call.name)
        return refused

    def _results(self, calls: Sequence[ToolCall], refused: dict[int | None, ToolError]) -> list[ToolResult]:
        """One result a call, in order: those of the world, and the refusals in their places."""
        runnable = [index for index in range(len(calls)) if index not in refused]
        executed = self.environment.execute([calls[index] for index in runnable]) if runnable else ()
        of_world = {index: _at(result, index) for index, result in zip(runnable, executed, strict=True)}
        return [of_world[index] if index in of_world else _answer(refused[index], index) for index in range(len(calls))]

    # --- turns ---------------------------------------------------------------------------------------------------

    def _close_turn(self, context: Context, response: Response) -> None:
        self._judge(context.turn, finished=True)
        turns = context.task.turns
        if context.turn + 1 == len(turns):
            self._stop(End.DONE)
            return
        following = turns[context.turn + 1]
        last = self._steps[-1].attempt
        exchange = Exchange(response.text, last.calls, (), following.messages, last.failed, response.provider)
        self._turn_began = len(self._steps)
        self._go_on(
            Context(
                context.task,
                self.writer.reply(context, response, (), following),
                (),
                context.turn + 1,
                (*context.dialogue, exchange),
                self.environment.snapshot(),
            )
        )

    def _judge(self, turn: int, finished: bool) -> None:
        verdict = self.environment.judge(turn)
        first = all(earlier.valid for earlier in self._verdicts)  # a world that is wrong stays wrong
        self._verdicts.append(verdict)
        if first and not verdict.valid:
            blamed = self._silently_failed(turn, finished)
            if blamed is not None:
                self._silent.append(blamed)

    def _silently_failed(self, turn: int, finished: bool) -> int | None:
        """Index of the step to blame for a wrong turn that ended without an error; None where an error ended it.

        It is the first error-free response that changed the world by a call which the truth of the turn does not hold;
        where there is none, something was left out: the last response, unless the turn was cut before its end.
        """
        steps = range(self._turn_began, len(self._steps))
        made = [self._steps[index].attempt for index in steps]
        attempts = [index for index, attempt in zip(steps, made, strict=True) if attempt.calls or attempt.failed]
        if attempts and self._steps[attempts[-1]].attempt.failed:
            return None
        assert self._task is not None
        wanted = {call.signature for call in self._task.oracle_calls(turn)}
        for index in attempts:
            step = self._steps[index]
            strange = any(call.signature not in wanted for call in step.attempt.calls)
            if step.changed and strange and not step.attempt.failed:
                return index
        left_out = finished and steps and not self._steps[-1].attempt.failed
        return steps[-1] if left_out else None

    # --- the end -------------------------------------------------------------------------------------------------

    def _go_on(self, following: Context) -> None:
        room = self.limits.context_tokens
        if room is None or len(following.prompt_ids) <= room:
            self.context = following
            return
        self._cut(following.turn, End.CONTEXT_LIMIT, following)

    def _cut(self, turn: int, end: End, context: Context | None = None) -> None:
        """Stop in the middle of a turn. The last one is judged all the same, as BFCL does.

        A rollout that took no step at all gets an empty one in `context`.
        """
        assert self._task is not None
        if not self._steps and context is not None:
            self._steps.append(Step(context, Completion(()), Attempt("")))
        if turn + 1 == len(self._task.turns) and len(self._steps) > self._turn_began:
            self._judge(turn, finished=False)
        self._stop(end)

    def _stop(self, end: End) -> None:
        self._end = end
        self.context = None

    def _lose(self, context: Context, response: Response, error: InfrastructureError) -> None:
        """End a rollout whose world failed; its last response is kept, judged or not."""
        logger.warning("A rollout of %s is lost (%s): %s", context.task.id, error.reason, error)
        if not self._steps or self._steps[-1].context is not context:
            self._steps.append(Step(context, response.completion, Attempt(response.text, response.parsed.calls)))
        last = self._steps[-1]
        self._steps[-1] = replace(last, completion=replace(last.completion, lost=f"{error.reason}: {error}"))
        self._stop(End.INFRASTRUCTURE)

    def _forget_steps(self) -> None:
        self._steps, self._verdicts, self._silent, self._turn_began = [], [], [], 0
        self._end = End.DONE


def _unreadable(response: Response, truncated: bool) -> tuple[ToolError, ...]:
    """Errors of the calls that cannot be parsed, or of a response that was cut before any."""
    calls = response.parsed.calls
    if not calls and truncated:
        return (ToolError(ErrorKind.TRUNCATED, "the response reached its length limit before any call was complete."),)
    last = len(calls) - 1
    malformed = [(index, call) for index, call in enumerate(calls) if not call.is_well_formed]
    return tuple(unreadable(call, index, truncated and index == last) for index, call in malformed)


def _answer(error: ToolError, index: int) -> ToolResult:
    return ToolResult(f"Error: {error.message}", index, error)


def _at(result: ToolResult, index: int) -> ToolResult:
    """A result of the world, with its place among all calls of the response."""
    error = None if result.error is None else replace(result.error, call_index=index)
    return ToolResult(result.content, index, error)
