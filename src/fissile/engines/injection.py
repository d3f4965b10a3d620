"""The fault injector: turns that begin with a forced failure, the same for every policy.

At a share `rate` of the turns that want calls, the right call is corrupted (`fissile.faults`) and answered as a real
failure is; the policy goes on from there. So recovery is measured on the same failures whoever is evaluated, and
trained on failures that the policy itself no longer makes. The rules are those of PALADIN's simulator (arXiv
2509.25238): forced failures only begin a turn, and never follow one another unless asked to.

Whether a turn begins wrong, and which faults are tried, depends on the seed, the task, the turn and the visit alone,
not on the policy, the order or the threads. In a world with state it is the first fault to which the world, as the
policy left it, objects. With one seed, the turns that are injected at a rate are among those of every higher rate.

In training the forced attempts and their answers are part of the prompt, as in a corrective context of fission: no loss
touches their tokens, and a reward sees them as the parent of a recovery.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fissile.contexts import Context
from fissile.dialects.base import Dialect
from fissile.engines.driver import force
from fissile.environments.base import EnvironmentMaker
from fissile.faults import Fault, corrupt
from fissile.feedback import Diagnoser
from fissile.rollouts import Limits, OpenRollout, Response, Step, Writer
from fissile.tasks import Task


class InjectionSettings(BaseModel):
    """Where failures are forced. Stated in every report, for its figures compare with no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(
        default=0.0, ge=0, le=1, description="Share of the turns that begin with a forced failure; 0 is none."
    )
    seed: int = Field(default=0, description="Of what is forced, and where.")
    in_a_row: int = Field(
        default=1,
        ge=1,
        description="Forced failures in succession at most; each further one comes with probability rate.",
    )
    faults: tuple[Fault, ...] | None = Field(
        default=None,
        min_length=1,
        description=f"Of {', '.join(Fault)}; by default all. Tried in a drawn order; one to which a live world has no "
        "objection is passed over.",
    )

    @field_validator("faults")
    @classmethod
    def _each_fault_once(cls, faults: tuple[Fault, ...] | None) -> tuple[Fault, ...] | None:
        return None if faults is None else tuple(dict.fromkeys(faults))

    @property
    def told(self) -> str:
        """What stands beside every figure: rate, seed and length of a succession; "" where nothing is injected."""
        if not self.rate:
            return ""
        only = "" if self.faults is None else f", only {', '.join(self.faults)}"
        return f"injected failures: rate {self.rate:g}, seed {self.seed}, at most {self.in_a_row} in a row{only}"

    def draws(self, task_id: str, turn: int = 0, visit: int = 0) -> tuple[random.Random, ...]:
        """What draws each forced failure with which a turn begins; empty for a turn that is left alone.

        Args:
            task_id: the task.
            turn: index of its scripted turn.
            visit: tells several visits of one turn apart: the step of a training.
        """
        draws = []
        for place in range(self.in_a_row):
            rng = random.Random(f"{self.seed}/{task_id}/{turn}/{visit}/{place}")
            if rng.random() >= self.rate:
                break
            draws.append(rng)
        return tuple(draws)

    def drawn_faults(self, rng: random.Random) -> list[Fault]:
        """The faults in a drawn order."""
        faults = self.faults or tuple(Fault)
        return rng.sample(faults, len(faults))


def drawn_turns(settings: InjectionSettings, begun: Iterable[tuple[Task, int, bool]]) -> dict[str, int]:
    """How many turns were drawn for a forced failure, and how many of them begin with one: to some no fault applies.

    Args:
        settings: where failures were forced, on the first visit of each turn.
        begun: task, index of its turn and whether it begins with a forced failure, of every turn that began.
    """
    drawn = [forced for task, turn, forced in begun if task.turns[turn].ground_truth and settings.draws(task.id, turn)]
    return {"drawn": len(drawn), "forced": sum(drawn)}


def told_injection(report: Mapping[str, Any]) -> str:
    """What stands beside the figures of a report: `InjectionSettings.told`, and how many drawn turns were forced.

    Older reports do not say the latter.
    """
    told = InjectionSettings.model_validate(report.get("injection", {})).told
    turns = report.get("injected_turns")
    return f"{told}; {turns['forced']} of {turns['drawn']} drawn turns" if told and turns else told


Stage = Literal["training", "evaluation"]
"""A part of a run."""


class InjectionConfig(InjectionSettings):
    """Failures that a run forces (`Injector`)."""

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


@dataclass(frozen=True)
class Injector:
    """Begins turns with a forced failure.

    Where a world runs calls, it answers the failure itself: the first call of the turn's truth is corrupted and stands
    alone, and what the world does not answer with an explicit error, or what changes its state, or ends the turn, is
    not kept; another fault is tried then. Where a world judges at once, the whole right response is corrupted, and a
    diagnosis answers it. A turn of which no fault is left stays as it is.

    Attributes:
        settings: where failures are forced.
        dialect: writes them.
        writer: writes them as tokens.
        make_environment: a new world, in which faults are tried.
        limits: where a rollout is cut: no failure is forced that would be its end.
        diagnoser: explains them where a world judges at once; None where worlds answer.
    """

    settings: InjectionSettings
    dialect: Dialect
    writer: Writer
    make_environment: EnvironmentMaker
    limits: Limits = field(default_factory=Limits)
    diagnoser: Diagnoser | None = None

    def inject(self, contexts: Sequence[Context], visit: int = 0) -> list[Context]:
        """The contexts in order, each with the failures that its turn begins with; one that is left alone stays.

        Args:
            contexts: explore contexts.
            visit: tells several visits of a task apart: the step of a training.
        """
        drawn: dict[int, OpenRollout] = {}  # the others need no world
        for index, context in enumerate(contexts):
            if self.settings.draws(context.task.id, context.turn, visit):
                drawn[index] = OpenRollout(self.make_environment(context.task), self.writer, self.limits)
                drawn[index].resume(context)
        force(list(drawn.values()), partial(self.begin_turn, visit=visit), self.diagnoser)
        return [(drawn[index].context if index in drawn else None) or context for index, context in enumerate(contexts)]

    def failures(self, contexts: Sequence[Context], visit: int = 0) -> list[Step]:
        """What is forced first at the end of each context, without the answer; none for one that is left alone."""
        failed = []
        for context in contexts:
            draws = self.settings.draws(context.task.id, context.turn, visit)
            if draws and (forced := self._failing(context, draws[0], self.writer)) is not None:
                rollout = OpenRollout(self.make_environment(context.task), self.writer, self.limits)
                rollout.resume(context)
                rollout.answer(forced)
                failed.append(rollout.record().steps[-1])
        return failed

    def begin_turn(self, rollout: OpenRollout, visit: int = 0) -> None:
        """Answer in the policy's place where its turn begins and is one to inject; otherwise do nothing."""
        context = rollout.context
        made = rollout.made_in_turn
        if context is None or len(context.current) > len(made) or not all(step.injected for step in made):
            return
        draws = self.settings.draws(context.task.id, context.turn, visit)
        for rng in draws[len(made) :]:
            forced = None if rollout.context is None else self._failing(rollout.context, rng, rollout.writer)
            if forced is None:
                return
            rollout.answer(forced)

    def _failing(self, context: Context, rng: random.Random, writer: Writer) -> Response | None:
        """The first fault that the world objects to; None where there is none."""
        goal = context.task.at_turn(context.turn)
        environment = self.make_environment(context.task)
        if not environment.judges_at_once:
            goal = goal.with_truth(goal.ground_truth[:1])
            if not goal.ground_truth:
                return None
        for fault in self.settings.drawn_faults(rng):
            faulty = corrupt(goal, self.dialect, rng, fault)
            if faulty is None:
                continue
            parsed = self.dialect.parse(faulty.text, context.offered)
            response = Response(faulty.text, parsed, writer.completion(faulty.text), injected=True)
            trial = OpenRollout(environment, writer, self.limits)
            trial.resume(context)
            if refuses(trial, response):
                return response
        return None


def refuses(trial: OpenRollout, response: Response) -> bool:
    """Whether the world of a resumed rollout answers with an error, stays as it is, and lets the turn go on."""
    context = trial.context
    if context is None:
        return False
    trial.answer(response)
    (step,) = trial.record().steps
    goes_on = trial.context is not None and trial.context.turn == context.turn
    return (goes_on or trial.environment.judges_at_once) and step.attempt.failed and not step.changed
