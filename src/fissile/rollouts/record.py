"""The record that sampling leaves: contexts, what was sampled from them, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fissile.calls import JSON, Attempt, ParsedResponse, ToolCall, ToolResult
from fissile.contexts import Context, Exchange
from fissile.environments.base import Verdict
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import Message


class StopReason(StrEnum):
    """Why a completion ended."""

    END = "end"
    """The policy ended its turn."""
    LENGTH = "length"
    """The token limit was reached."""
    NO_ROOM = "no_room"
    """The context was too long to be answered."""
    INFRASTRUCTURE = "infrastructure"
    """The engine failed; the rollout must not be rewarded."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine sampled for one prompt.

    Attributes:
        ids: sampled token ids, the end-of-turn token included if it was sampled.
        logprobs: log-probability of each id under the sampling policy at temperature 1, or None if unknown.
        stop: why it ended.
        lost: where the engine failed: a short reason, a colon and what happened; else "".
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    stop: StopReason = StopReason.END
    lost: str = ""

    @classmethod
    def of_failure(cls, reason: str, message: str) -> Completion:
        """One that the engine could not produce."""
        return cls((), stop=StopReason.INFRASTRUCTURE, lost=f"{reason}: {message}")


@dataclass(frozen=True, slots=True)
class Response:
    """What a policy answered.

    Attributes:
        text: the response as decoded; "" where there is none.
        parsed: its calls and content.
        completion: its tokens (none for a policy that speaks text) and why it ended.
        injected: a fault injector forced it (`fissile.engines.injection`); the policy was not asked.
        provider: what a server wants back with it; see `fissile.contexts.Exchange`.
    """

    text: str
    parsed: ParsedResponse
    completion: Completion = Completion(())
    injected: bool = False
    provider: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @property
    def failed(self) -> bool:
        """True when the engine could not produce it."""
        return self.completion.stop is StopReason.INFRASTRUCTURE


@dataclass(frozen=True, slots=True)
class Step:
    """One sampled attempt in its context: a node at which fission can branch.

    Attributes:
        context: what the policy continued.
        completion: what it wrote.
        attempt: the same, parsed and judged.
        results: what the world answered.
        changed: the attempt changed the state of the world.
        injected: a fault injector forced it: it is context for the policy, and nothing of it is learned or rewarded.
        provider: what a server wants back with it, as in `Response`.
    """

    context: Context
    completion: Completion
    attempt: Attempt
    results: tuple[ToolResult, ...] = ()
    changed: bool = False
    injected: bool = False
    provider: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    def answered(
        self,
        results: Sequence[str],
        read: Sequence[int],
        messages: tuple[Message, ...] = (),
        attempt: Attempt | None = None,
    ) -> Exchange:
        """The step as an exchange.

        Args:
            results: what it is answered: one text a call, or one diagnosis; empty where it ends its turn.
            read: token ids of the answer.
            messages: the user's next turn, where it ends one.
            attempt: the same with what the judge found wrong; by default as it was made.
        """
        said = attempt or self.attempt
        return Exchange(said, tuple(results), messages, self.completion.ids, tuple(read), self.provider)


class End(StrEnum):
    """Why a rollout ended."""

    DONE = "done"
    """Every turn was taken."""
    STEP_LIMIT = "step_limit"
    """A turn took more steps than allowed; the rollout was cut there."""
    CONTEXT_LIMIT = "context_limit"
    """The context left no room for another response."""
    INFRASTRUCTURE = "infrastructure"
    """The engine failed; the rollout must not be rewarded."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The responses of one policy to one task, from one context on.

    Attributes:
        steps: at least one, in order; the context of each extends the one before it.
        end: why it ended.
        verdicts: the judge's word on each turn that was finished, in order.
        silent: indices of the steps that are blamed for a wrong turn although nothing complained.
        judged_at_once: every response was judged against the truth: a single-step task.
    """

    steps: tuple[Step, ...]
    end: End = End.DONE
    verdicts: tuple[Verdict, ...] = ()
    silent: tuple[int, ...] = ()
    judged_at_once: bool = False

    @property
    def context(self) -> Context:
        """The context in which it began."""
        return self.steps[0].context

    @property
    def lost(self) -> str:
        """Why it is lost, as `Completion.lost`; "" where it ended otherwise."""
        return (self.steps[-1].completion.lost or "unknown") if self.end is End.INFRASTRUCTURE else ""

    @property
    def correct(self) -> bool:
        """True when it ended right: every turn was finished and judged valid."""
        finished = self.context.turn + len(self.verdicts) == len(self.context.task.turns)
        return finished and all(verdict.valid for verdict in self.verdicts)

    @property
    def gave_up(self) -> tuple[int, ...]:
        """Indices of the steps that call nothing after a failed one, in a turn that wanted calls and ended wrong."""
        start, turns = self.context.turn, self.context.task.turns
        wrong = {start + at for at, verdict in enumerate(self.verdicts) if not verdict.valid}
        return tuple(
            index
            for index, (before, step) in enumerate(itertools.pairwise(self.steps), 1)
            if before.attempt.failed and not (step.attempt.calls or step.attempt.failed)
            if step.context.turn == before.context.turn in wrong and turns[step.context.turn].ground_truth
        )

    @property
    def own(self) -> tuple[Step, ...]:
        """The steps that the policy took: all but the injected ones."""
        return tuple(step for step in self.steps if not step.injected)

    @property
    def kept(self) -> tuple[Step, ...]:
        """The own steps less the failed ones after which the policy called again in that turn."""
        own = self.own
        last_call = {step.context.turn: place for place, step in enumerate(own) if step.attempt.calls}
        return tuple(
            step
            for place, step in enumerate(own)
            if not step.attempt.failed or place >= last_call.get(step.context.turn, 0)
        )

    @property
    def standing_calls(self) -> tuple[ToolCall, ...]:
        """All own calls but the failed ones of a function that a later response of that turn called again."""
        own = self.own
        return tuple(
            call
            for place, step in enumerate(own)
            for index, call in enumerate(step.attempt.calls)
            if index not in step.attempt.failed_calls or not _calls(own[place + 1 :], call.name, step.context.turn)
        )

    @property
    def attempt(self) -> Attempt:
        """The policy's first attempt: what a recovery is compared with."""
        return (self.own or self.steps)[0].attempt

    @property
    def repeats(self) -> bool:
        """True when it begins with the very call that it should recover from; never for an explore rollout."""
        failed = [part.attempt for part in self.context.current if part.failed]
        return bool(failed) and self.attempt.signature == failed[-1].signature

    @property
    def outcome(self) -> Attempt:
        """All that the policy called, as one attempt; without errors exactly when the rollout is correct."""
        attempts = [step.attempt for step in self.own]
        wrong = [error for verdict in self.verdicts for error in verdict.errors]
        wrong += [error for attempt in attempts for error in attempt.errors]
        if not wrong:
            wrong = [ToolError(ErrorKind.TRUNCATED, "the rollout was cut before its end.")]
        return Attempt(
            text="\n".join(attempt.text for attempt in attempts),
            calls=tuple(call for attempt in attempts for call in attempt.calls),
            errors=() if self.correct else tuple(dict.fromkeys(wrong)),  # a judge at once says what the attempt says
            truncated=self.steps[-1].attempt.truncated,
        )

    @property
    def failures(self) -> Iterator[tuple[Step, Attempt]]:
        """Each step to recover from, with its attempt and what is wrong with it: errors that were raised where it
        was made, and silent ones that the judge found at the end of its turn. Injected ones are not the policy's.
        """
        for index, step in enumerate(self.steps):
            if step.injected:
                continue
            if step.attempt.failed:
                yield step, step.attempt
            elif index in self.silent:
                turn = step.context.turn - self.context.turn
                yield step, replace(step.attempt, errors=self.verdicts[turn].errors)

    @property
    def completion_ids(self) -> tuple[int, ...]:
        """Every token behind the first context's prompt: the policy's, and between them the world's."""
        return tuple(token for step, read in self.pieces for token in (*read, *step.completion.ids))

    @property
    def mask(self) -> tuple[int, ...]:
        """For each of `completion_ids`: 1 where the policy wrote it, 0 where the world, the user or an injector did."""
        return tuple(
            kind
            for step, read in self.pieces
            for kind in (0,) * len(read) + (int(not step.injected),) * len(step.completion.ids)
        )

    @property
    def logprobs(self) -> tuple[float, ...] | None:
        """For each of `completion_ids`: its log-probability when sampled, 0 outside the mask; None if unknown."""
        if any(step.completion.logprobs is None for step in self.own):
            return None
        return tuple(
            value
            for step, read in self.pieces
            for value in (0.0,) * len(read) + ((0.0,) * len(step.completion.ids) if step.injected else _logprobs(step))
        )

    def without(self, place: int) -> Rollout:
        """The same rollout as if its step at `place` had never been made: the later ones no longer read of it.

        Raises:
            ValueError: it is the only step, or the last one, or it ends a turn of the user's.
        """
        if not 0 <= place < len(self.steps) - 1:
            raise ValueError(f"Step {place} of {len(self.steps)} cannot be left out: the last one must stay.")
        if self.steps[place + 1].context.dialogue[-1].ends_turn:
            raise ValueError(f"Step {place} cannot be left out: it ends its turn, and the user's next one answers it.")
        at = len(self.context.dialogue) + place
        later = []
        for step in self.steps[place + 1 :]:
            dialogue = step.context.dialogue
            later.append(replace(step, context=replace(step.context, dialogue=dialogue[:at] + dialogue[at + 1 :])))
        silent = tuple(index - (index > place) for index in self.silent if index != place)
        return replace(self, steps=(*self.steps[:place], *later), silent=silent)

    @property
    def pieces(self) -> Iterator[tuple[Step, tuple[int, ...]]]:
        """Each step, and the tokens that were read between it and the one before."""
        for step in self.steps:
            yield step, () if step is self.steps[0] else step.context.dialogue[-1].read


def _logprobs(step: Step) -> tuple[float, ...]:
    return step.completion.logprobs or ()


def _calls(steps: Sequence[Step], name: str | None, turn: int) -> bool:
    """True when one of some steps calls this function in this turn."""
    return any(call.name == name for step in steps if step.context.turn == turn for call in step.attempt.calls)
