"""Training and single-step evaluation under the fault injector: contexts in which a failure was already forced.

The forced attempts and their answers become part of the prompt, as in a corrective context of fission: no loss
touches their tokens, and a reward sees them as the parent of a recovery.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from fissile.corrections.context import Context
from fissile.engines.attempts import Attempter
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenWriter
from fissile.faults import corrupt
from fissile.feedback import Diagnoser
from fissile.rollouts import Completion, Step, corrective_context, failure_of
from fissile.rollouts.injection import InjectionSettings, LiveInjector

Stage = Literal["training", "evaluation"]
"""A part of a run."""


class InjectionConfig(InjectionSettings):
    """Failures that a run forces (`fissile.rollouts.injection`)."""

    during: tuple[Stage, ...] = Field(
        default=("training", "evaluation"),
        description="Stages that begin turns with forced failures: training, evaluation.",
    )
    feedback: str = Field(
        default="rules",
        description="Training on single-step tasks: source of the diagnosis of a forced failure, as in fission. An "
        "evaluation asks its own source, and a live world answers for itself.",
    )

    def at(self, stage: Stage) -> InjectionSettings:
        """What is forced in a stage; a rate of 0 where it is left alone."""
        rate = self.rate if stage in self.during else 0.0
        return InjectionSettings(rate=rate, seed=self.seed, in_a_row=self.in_a_row, faults=self.faults)


class Injector(Protocol):
    """Forces failures at the end of explore contexts."""

    def inject(self, contexts: Sequence[Context], visit: int = 0) -> list[Context]:
        """The contexts in order, each with the failures that its turn begins with: all in `history`, oldest first.

        A context that is left alone comes back as it is.

        Args:
            contexts: explore contexts.
            visit: tells several visits of a task apart: the step of a training.
        """
        ...

    @property
    def diagnoser(self) -> Diagnoser | None:
        """Who answers the forced failures; None where the world does."""
        ...


@dataclass(frozen=True)
class SingleStepInjector:
    """Forces a whole wrong response, answered by a diagnosis under the leak guard. See `Injector`.

    Attributes:
        settings: where failures are forced.
        attempter: judges them and extends their contexts.
        diagnoser: answers them, all at once.
    """

    settings: InjectionSettings
    attempter: Attempter
    diagnoser: Diagnoser

    def inject(self, contexts: Sequence[Context], visit: int = 0) -> list[Context]:
        """See `Injector`."""
        injected = list(contexts)
        draws = [self.settings.draws(context.task.id, visit=visit) for context in contexts]
        for place in range(self.settings.in_a_row):
            forced = {
                index: step
                for index, drawn in enumerate(draws)
                if injected[index].depth == place < len(drawn)
                and (step := self._failing(injected[index], drawn[place])) is not None
            }
            if not forced:
                break
            answers = self.diagnoser.diagnose([failure_of(step, step.attempt) for step in forced.values()])
            for (index, step), feedback in zip(forced.items(), answers, strict=True):
                prompt_ids = self.attempter.extend(step, feedback.text)
                injected[index] = corrective_context(step, step.attempt, feedback.text, prompt_ids)
        return injected

    def failures(self, contexts: Sequence[Context], visit: int = 0) -> list[Step]:
        """What is forced first at the end of each context, without the answer; none for one that is left alone."""
        drawn = [(context, self.settings.draws(context.task.id, visit=visit)) for context in contexts]
        steps = [self._failing(context, draws[0]) for context, draws in drawn if draws]
        return [step for step in steps if step is not None]

    def _failing(self, context: Context, rng: random.Random) -> Step | None:
        """A corruption of the right response that the judge rejects; None where there is none."""
        for fault in self.settings.drawn_faults(rng):
            faulty = corrupt(context.task, self.attempter.chat.dialect, rng, fault)
            if faulty is None:
                continue
            step = self.attempter.judge(context, Completion(self.attempter.chat.completion_ids(faulty.text)))
            if step.attempt.failed:
                return step
        return None


@dataclass(frozen=True)
class LiveContextInjector:
    """Forces failures in the turn that a live context is about to begin, answered by its world. See `Injector`.

    Attributes:
        settings: where failures are forced.
        sampler: gives each context its world.
    """

    settings: InjectionSettings
    sampler: LiveSampler

    diagnoser: ClassVar[None] = None

    def inject(self, contexts: Sequence[Context], visit: int = 0) -> list[Context]:
        """See `Injector`."""
        return [self._injected(context, visit) for context in contexts]

    def _injected(self, context: Context, visit: int) -> Context:
        if not self.settings.draws(context.task.id, context.turn, visit):
            return context  # the usual case: no world is made
        rollout = self.sampler.resumed(context, TokenWriter(self.sampler.chat))
        injector = LiveInjector(self.settings, self.sampler.chat.dialect, self.sampler.make_environment)
        injector.begin_turn(rollout, visit)
        return rollout.context or context
