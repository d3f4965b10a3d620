"""The fault injector: turns that begin with a forced failure, the same for every policy.

At a share `rate` of the turns that want calls, the right call is corrupted (`fissile.faults`) and answered as a real
failure is; the policy goes on from there. So recovery is measured on the same failures whoever is evaluated, and
trained on failures that the policy itself no longer makes. The rules are those of PALADIN's simulator (arXiv
2509.25238): forced failures only begin a turn, and never follow one another unless asked to.

Whether a turn begins wrong, and which faults are tried, depends on the seed, the task, the turn and the visit alone,
not on the policy, the order or the threads. In a live world it is the first fault to which the world, as the policy
left it, objects. With one seed, the turns that are injected at a rate are among those of every higher rate.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fissile.corrections.context import Context, current_turn
from fissile.dialects.base import Dialect
from fissile.environments.base import Environment
from fissile.faults import Fault, corrupt
from fissile.rollouts.live import LiveRollout
from fissile.rollouts.record import Response
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


@dataclass(frozen=True)
class LiveInjector:
    """Begins turns of live rollouts with a forced failure, which the world itself answers with its error.

    The first call of the turn's truth is corrupted and stands alone. What the world does not answer with an explicit
    error, or what changes its state, or ends the turn, is not kept and another fault is tried; a turn of which no
    fault is left stays as it is.

    Attributes:
        settings: where failures are forced.
        dialect: writes them.
        make_environment: a new world, in which faults are tried.
    """

    settings: InjectionSettings
    dialect: Dialect
    make_environment: Callable[[Task], Environment]

    def begin_turn(self, rollout: LiveRollout, visit: int = 0) -> None:
        """Answer in the policy's place if its turn just began and is one to inject; otherwise do nothing."""
        context = rollout.context
        if context is None or current_turn(context.dialogue):
            return
        draws = self.settings.draws(context.task.id, context.turn, visit)
        if not draws:
            return
        goal = context.task.at_turn(context.turn)
        first = goal.with_truth(goal.ground_truth[:1])
        for rng in draws:
            response = self._failing(rollout, first, rng)
            if response is None:
                return
            rollout.answer(response)

    def _failing(self, rollout: LiveRollout, goal: Task, rng: random.Random) -> Response | None:
        """A corruption of the one right call that the world refuses; None where there is none."""
        assert rollout.context is not None
        if not goal.ground_truth:
            return None
        environment = self.make_environment(rollout.context.task)
        for fault in self.settings.drawn_faults(rng):
            faulty = corrupt(goal, self.dialect, rng, fault)
            if faulty is None:
                continue
            completion = rollout.writer.completion(faulty.text)
            response = Response(faulty.text, self.dialect.parse(faulty.text), completion, injected=True)
            trial = LiveRollout(environment, rollout.writer, rollout.protocol, rollout.limits)
            if _refuses(trial, rollout.context, response):
                return response
        return None


def _refuses(trial: LiveRollout, context: Context, response: Response) -> bool:
    """Whether the world answers with an error, stays as it is, and lets the turn go on."""
    trial.resume(context)
    if trial.context is None:
        return False
    trial.answer(response)
    (step,) = trial.record().steps
    goes_on = trial.context is not None and trial.context.turn == context.turn
    return goes_on and step.attempt.failed and not step.changed
