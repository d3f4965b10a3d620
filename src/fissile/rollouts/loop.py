"""`OpenRollout`: the one loop between a policy and a world, as a state machine.

It holds a `context` as long as the policy has to answer, takes one response at a time, lets the world answer it, and
leaves a `Rollout`. It knows no engine: drivers decide how many of these run side by side.

A single-step task is an episode of one response, in a world that judges at once. Where `Limits.retries` are left its
failure is not the end: the rollout waits (`awaiting`) for a diagnosis, and goes on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fissile.calls import Attempt, ParsedResponse, ToolCall
from fissile.contexts import Context
from fissile.environments.base import Answer, Environment, Verdict
from fissile.errors import ConfigError, ErrorKind, InfrastructureError, ToolError
from fissile.rollouts.record import Completion, End, Response, Rollout, Step, StopReason
from fissile.tasks import Task, Turn

logger = logging.getLogger(__name__)

CLOSING = "Done."
"""What a demonstration says at the end of a turn, when nothing is left to call."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a rollout is cut.

    Attributes:
        steps_per_turn: answered responses of one turn; BFCL's is 21. Injected ones do not count.
        steps: responses of the whole rollout, injected ones left out; None for no limit.
        context_tokens: tokens of a context that still may be answered; None for no limit.
        retries: attempts after a diagnosis, where the world judges at once.
    """

    steps_per_turn: int = 21
    context_tokens: int | None = None
    steps: int | None = None
    retries: int = 0


class Writer(Protocol):
    """Writes the tokens of a conversation; see `fissile.engines.policy.Policy`."""

    def open(self, task: Task) -> tuple[int, ...]:
        """Token ids of a task's first prompt."""
        ...

    def reply(self, completion: Completion, results: Sequence[str], turn: Turn | None = None) -> tuple[int, ...]:
        """Token ids of what is read behind a completion: the tools' answers, then the user's next turn."""
        ...

    def completion(self, text: str) -> Completion:
        """The completion of a response that says `text`, without log-probabilities."""
        ...


@dataclass
class OpenRollout:
    """One rollout in the making.

    Attributes:
        environment: the world; this rollout's own.
        writer: writes the tokens.
        limits: where the rollout is cut.
        context: what the policy has to answer; None when the rollout is over, or waits for a diagnosis.
        awaiting: the failed step that waits for its corrective context (`recover`); None where none does.
    """

    environment: Environment
    writer: Writer
    limits: Limits = field(default_factory=Limits)
    context: Context | None = None
    awaiting: Step | None = None
    _steps: list[Step] = field(default_factory=list)
    _verdicts: list[Verdict] = field(default_factory=list)
    _silent: list[int] = field(default_factory=list)
    _turn_began: int = 0
    _end: End = End.DONE

    @property
    def is_over(self) -> bool:
        """Nothing more is to be said."""
        return self.context is None and self.awaiting is None

    @property
    def made_in_turn(self) -> Sequence[Step]:
        """The steps of the turn at hand."""
        return self._steps[self._turn_began :]

    def begin(self, task: Task, demonstrate: Callable[[Sequence[ToolCall]], Response] | None = None) -> None:
        """Reset the world, and replay the truth of the turns before `task.start`.

        Args:
            task: the task.
            demonstrate: the response that makes some calls, or says `CLOSING` where there are none; needed where
                `task.start` is not 0. What it makes is no step of the rollout.
        """
        context = Context(task, self.writer.open(task))
        try:
            self.environment.reset(task)
            context = replace(context, state=self.environment.snapshot())
        except InfrastructureError as error:
            self._lose(context, Response("", ParsedResponse(())), error)
            return
        self._go_on(context)
        while self.context is not None and (turn := self.context.turn) < task.start:
            assert demonstrate is not None, "a task that starts at a later turn needs a demonstration of the earlier"
            truth = task.at_turn(turn).oracle_calls()
            if truth:
                self.answer(demonstrate(truth))
            if self.context is not None and self.context.turn == turn:
                self.answer(demonstrate(()))
        if self.context is not None:
            self._forget_steps()

    def resume(self, context: Context) -> None:
        """Go on from a context of an earlier rollout, in the world as it was there.

        Raises:
            DataError: the context holds no state of this world.
        """
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
            ValueError: the rollout is over, or waits for a diagnosis.
        """
        context = self.context
        if context is None:
            raise ValueError("The rollout is over; it takes no more responses.")
        if response.failed:
            self._steps.append(Step(context, response.completion, Attempt("")))
            self._stop(End.INFRASTRUCTURE)
            return
        if response.completion.stop is StopReason.NO_ROOM:
            self._cut(context, End.CONTEXT_LIMIT)
            return
        try:
            self._take(context, response)
        except InfrastructureError as error:  # the world's own machinery, not a call
            self._lose(context, response, error)

    def recover(self, following: Context) -> None:
        """Go on from the corrective context of the step that is awaiting it, in the world as it was before that step.

        Raises:
            ValueError: none is.
        """
        if self.awaiting is None:
            raise ValueError("No failed step waits for a diagnosis.")
        self.awaiting = None
        try:
            self.environment.restore(following.state)
        except InfrastructureError as error:
            self._lose(following, Response("", ParsedResponse(())), error)
        else:
            self._go_on(following)

    def record(self) -> Rollout:
        """The rollout so far."""
        at_once = self.environment.judges_at_once
        return Rollout(tuple(self._steps), self._end, tuple(self._verdicts), tuple(self._silent), at_once)

    # --- one response --------------------------------------------------------------------------------------------

    def _take(self, context: Context, response: Response) -> None:
        truncated = response.completion.stop is StopReason.LENGTH
        answer = self.environment.answer(response.parsed, truncated, context.task.at_turn(context.turn))
        if not isinstance(answer, Answer):
            raise ConfigError(
                f"The world {type(self.environment).__name__} neither answers nor ends: its answer() gave {answer!r}. "
                "Return an Answer of fissile.environments.base, with results to go on, or without any to end the turn."
            )
        attempt = Attempt(response.text, response.parsed.calls, answer.errors, truncated)
        step = Step(
            context,
            response.completion,
            attempt,
            answer.results,
            answer.changed,
            response.injected,
            response.provider,
        )
        self._steps.append(step)
        if answer.results:
            self._go_on_in_turn(step)
        elif self.environment.judges_at_once and attempt.failed and self._may_retry():
            self.context, self.awaiting = None, step
        else:
            self._close_turn(step)

    def _go_on_in_turn(self, step: Step) -> None:
        contents = tuple(result.content for result in step.results)
        said = step.answered(contents, self.writer.reply(step.completion, contents))
        following = step.context.after(said, self.environment.snapshot())
        if self._has_taken_enough():
            self._cut(step.context, End.STEP_LIMIT)
        else:
            self._go_on(following)

    def _has_taken_enough(self) -> bool:
        in_turn = sum(not step.injected for step in self.made_in_turn)
        in_all = sum(not step.injected for step in self._steps)
        return in_turn >= self.limits.steps_per_turn or in_all >= (self.limits.steps or in_all + 1)

    def _may_retry(self) -> bool:
        """Whether another diagnosis may be asked for. Forced failures stand for a first attempt, however many."""
        own = [step for step in self._steps if not step.injected]
        forced = len(own) < len(self._steps) or self._steps[0].context.depth > 0
        return self._steps[-1].injected or len(own) + forced <= self.limits.retries

    # --- turns ---------------------------------------------------------------------------------------------------

    def _close_turn(self, step: Step) -> None:
        context, turns = step.context, step.context.task.turns
        self._judge(context, finished=True)
        if context.turn + 1 == len(turns):
            self._stop(End.DONE)
            return
        following = turns[context.turn + 1]
        said = step.answered((), self.writer.reply(step.completion, (), following), following.messages)
        self._turn_began = len(self._steps)
        self._go_on(context.after(said, self.environment.snapshot()))

    def _judge(self, context: Context, finished: bool) -> None:
        verdict = self.environment.judge(context.turn)
        first = all(earlier.valid for earlier in self._verdicts)  # a world that is wrong stays wrong
        self._verdicts.append(verdict)
        if first and not verdict.valid:
            blamed = self._silently_failed(context, finished)
            if blamed is not None:
                self._silent.append(blamed)

    def _silently_failed(self, context: Context, finished: bool) -> int | None:
        """Index of the step to blame for a wrong turn that ended without an error; None where an error ended it.

        It is the first error-free response that changed the world by a call which the truth of the turn does not hold;
        where there is none, something was left out: the last response, unless the turn was cut before its end.
        """
        steps = range(self._turn_began, len(self._steps))
        made = [self._steps[index].attempt for index in steps]
        attempts = [index for index, attempt in zip(steps, made, strict=True) if attempt.calls or attempt.failed]
        if attempts and self._steps[attempts[-1]].attempt.failed:
            return None
        wanted = {call.signature for call in context.task.oracle_calls(context.turn)}
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
        if room is None or following.length <= room:
            self.context = following
        else:
            self._cut(following, End.CONTEXT_LIMIT)

    def _cut(self, context: Context, end: End) -> None:
        """Stop in the middle of a turn. The last one is judged all the same, as BFCL does.

        A rollout that took no step at all gets an empty one in `context`. A world that judges at once has no response
        to judge then, and would find nothing wrong: the step fails, and there is no verdict.
        """
        unanswered = not self._steps and self.environment.judges_at_once
        if not self._steps:
            errors = (ToolError(ErrorKind.TRUNCATED, "the context left no room for a response."),) if unanswered else ()
            self._steps.append(Step(context, Completion(()), Attempt("", errors=errors)))
        is_last = context.turn + 1 == len(context.task.turns)
        if is_last and len(self._steps) > self._turn_began and not unanswered:
            self._judge(context, finished=False)
        self._stop(end)

    def _stop(self, end: End) -> None:
        self._end = end
        self.context = self.awaiting = None

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
