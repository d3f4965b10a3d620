"""Fission-GRPO (arXiv 2601.15625): failures become training contexts for recovering from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from fissile.contexts import Context
from fissile.corrections import (
    Branching,
    Correction,
    CorrectionBuffer,
    Failed,
    Interceptor,
    Trigger,
    fission_record,
    most_frequent,
)
from fissile.errors import ConfigError
from fissile.feedback import Diagnoser, get_source
from fissile.methods.base import Batch, Host, Method, MethodSettings, Phase, Plan, Report, Sample, Scored
from fissile.methods.dapo import refilled

logger = logging.getLogger(__name__)


def none_word(value: Any) -> Any:
    """The word "none" as None, which TOML has no value for."""
    return None if value == "none" else value


class CorrectiveSettings(MethodSettings):
    """What a failure is, how it is diagnosed, and when and how often it is recovered from.

    Defaults are the paper's where it states them, ours where it does not.
    """

    feedback: str = Field(
        default="rules",
        description="Source of the diagnosis: 'fixed', 'rules', 'service', 'environment', or a model: 'learned', "
        "'endpoint' (see simulator).",
    )
    failure_threshold: float = Field(
        default=2.0,
        gt=0,
        le=2,
        description="Failed means a format failure or R_corr below this (delta; unknown in the paper). "
        "2 takes every incorrect attempt.",
    )
    interval: int = Field(default=1, ge=1, description="Explore steps between two fission steps, at least.")
    samples: int | None = Field(
        default=None, ge=2, description="Recoveries sampled from a correction (G'); the default is the group size G."
    )
    per_group: int = Field(
        default=1,
        ge=1,
        description="Failures intercepted from one group at most, the most frequent first, one of each kind.",
    )
    refills: int = Field(default=0, ge=0, description="Rounds of dynamic sampling in an explore step, as in dapo.")
    seed: int = Field(default=0, description="Of the random order.")

    def check_shape(self, rollouts: int, group_size: int) -> None:
        """A fission step fills a batch with whole recovery groups.

        Raises:
            ConfigError: `samples`, by default the group size, does not divide the rollouts of a step.
        """
        recoveries = self.samples or group_size
        if rollouts % recoveries:
            raise ConfigError(
                f"method.samples = {recoveries} does not divide the {rollouts} rollouts of a step "
                "(training.prompts_per_step x training.group_size; in TRL's words per_device_train_batch_size x "
                "steps_per_generation). Change one of them."
            )


class FissionSettings(CorrectiveSettings):
    """The knobs of Fission-GRPO."""

    capacity: int = Field(default=256, ge=1, description="Corrections kept; the oldest leave first.")
    order: Literal["lifo", "fifo", "random"] = Field(default="lifo", description="Which correction is used next.")
    max_staleness: Annotated[int | None, BeforeValidator(none_word)] = Field(
        default=16, ge=0, description="A correction older than this many steps is not used; 'none' means no limit."
    )
    max_depth: int = Field(
        default=1,
        ge=1,
        description="Failed turns in a corrective context at most; above 1 a failed recovery fissions again.",
    )


class FissionGRPO(Method):
    r"""GRPO that fissions its failures.

    1. **Explore**: GRPO over the contexts $x$ of the tasks.
    2. **Intercept**: for a failed rollout $\tau$, $f = \mathrm{feedback}(x, \tau, \text{truth})$ and the corrective
       context $x_c = [x; \tau; f]$ is pushed on a LIFO buffer unless $(x, \tau)$ was seen before.
    3. **Fission**: when the trigger fires, the newest $x_c$ are popped, $G'$ recoveries
       $\tau'_j \sim \pi_\theta(\cdot|x_c)$ are sampled from the *current* policy, rewarded against the same truth, and

    $$A'_j = \frac{R(\tau'_j) - \mathrm{mean}_j R(\tau'_j)}{\mathrm{std}_j R(\tau'_j)}$$

    inside the recovery group only, enters the same objective.
    """

    name = "fission_grpo"
    stage = "fission"
    title = "Fission-GRPO"
    about = (
        "Every failed call of its training was diagnosed, and recoveries from it were sampled and learned from "
        "([Fission-GRPO](https://arxiv.org/abs/2601.15625), an independent implementation)."
    )
    Settings: ClassVar[type[MethodSettings]] = FissionSettings
    settings: Any  # FissionSettings; a subclass has its own

    def attach(self, host: Host) -> None:
        """See `Method`. A leak guard stands over the source, and `rules` stands in where it fails."""
        super().attach(host)
        self.diagnoser = Diagnoser(host.source or get_source(self.settings.feedback))
        assert host.writer is not None, "a host of this method writes tokens"
        self.interceptor = Interceptor(Branching(self.diagnoser, host.writer), self.store(), host.room, host.journal)
        self.trigger = Trigger(interval=self.settings.interval)
        self._in_flight: tuple[Correction, ...] = ()
        self._figures: dict[str, float] = {}  # of the latest step

    @property
    def samples_again(self) -> bool:
        """Only where it refills."""
        return bool(self.settings.refills)

    def store(self) -> CorrectionBuffer:
        """What keeps the corrections."""
        knobs = self.settings
        return CorrectionBuffer(knobs.capacity, knobs.order, knobs.max_staleness, knobs.seed)

    @property
    def max_depth(self) -> int:
        """Failed turns in a corrective context, at most."""
        return int(self.settings.max_depth)

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """Fission if the trigger fires, explore otherwise."""
        recoveries = self.settings.samples or samples
        wanted = len(explore) * samples // recoveries
        if not self.trigger.fires(self.buffer.available(step), wanted):
            return super().plan(explore, samples, step)
        self._in_flight = tuple(self.buffer.pop(wanted, step))
        contexts = tuple(correction.context(self.host.tasks[correction.task_id]) for correction in self._in_flight)
        return Plan(Phase.FISSION, contexts, recoveries)

    def revise(self, batch: Batch, sample: Sample) -> Batch:
        """Dynamic sampling in explore steps, where it is asked for."""
        return refilled(batch, sample, self.host.draw, self.settings.refills) if self.settings.refills else batch

    def observe(self, batch: Batch, step: int) -> None:
        """Journal what became of the corrections in a plan, and intercept its failures."""
        self.settle(batch, step)
        if batch.plan.phase is Phase.EXPLORE or self.max_depth > 1:
            self.intercept(batch, step)

    def settle(self, batch: Batch, step: int) -> None:
        """Note for the trigger that the step was made, and journal what became of the corrections in it."""
        is_fission = batch.plan.phase is Phase.FISSION
        self.trigger.record(fission=is_fission)
        self._figures = {"feedback/seconds": 0.0}
        if self.settings.refills and not is_fission:
            self._figures["explore/refilled"] = float(len(batch.discarded))
        if is_fission:
            ages = [step - correction.step for correction in self._in_flight]
            self._figures["fission/staleness"] = sum(ages) / len(ages)
            for correction, group in zip(self._in_flight, batch.groups, strict=True):
                recoveries = [(entry.rollout, entry.total) for entry in group]
                task = self.host.tasks[correction.task_id]
                self.host.journal(fission_record(correction, task, recoveries, step))
            self._in_flight = ()

    def intercept(self, batch: Batch, step: int) -> None:
        """Turn the failures of a batch into corrections, those of its discarded groups too."""
        before = self.diagnoser.seconds
        chosen = [self._chosen(group) for group in batch.sampled]
        self.interceptor.intercept([failed for group in chosen for failed in group], step)
        self._figures["feedback/seconds"] = self.diagnoser.seconds - before

    def report(self) -> Report:
        """Running counts of corrections, of diagnoses, of those that fell back and of those that leaked; of the latest
        step the seconds of feedback and, where it was a fission step, the mean age of its corrections in steps.

        The tables are the counts of the corrections, with the failures that were too long where there were any, and
        what became of the diagnoses.
        """
        diagnoser = self.diagnoser
        counts = self.interceptor.counts
        return {
            **self._figures,
            "feedback/diagnosed": float(diagnoser.diagnosed),
            "feedback/fallbacks": float(diagnoser.fallbacks.total()),
            "feedback/leaks": float(diagnoser.leaks.total()),
            **{f"corrections/{name}": float(count) for name, count in counts.items()},
            "corrections": counts,
            "feedback": diagnoser.report(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Buffer, trigger and counts; a plan in flight belongs to a step that a resumed run samples again."""
        return {
            **self.interceptor.state_dict(),
            "trigger": self.trigger.state_dict(),
            "feedback": self.diagnoser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.interceptor.load_state_dict(state)
        self.trigger.load_state_dict(state["trigger"])
        self.diagnoser.load_state_dict(state["feedback"])
        self._in_flight = ()

    def _failures(self, scored: Scored) -> list[Failed]:
        """The failed steps to intercept; none of a rollout without a reward.

        An attempt that was judged at once failed with a format failure or R_corr below the threshold. In a world that
        runs calls every attempt with an error did, whatever became of its rollout, and so did the one blamed for a
        silent failure.
        """
        reward = scored.reward
        if reward is None:
            return []
        below = reward.fmt == 0 or reward.corr < self.settings.failure_threshold
        if scored.rollout.judged_at_once and not below:
            return []
        return [failed for failed in scored.rollout.failures if failed[0].context.depth < self.max_depth]

    def _chosen(self, group: Sequence[Scored]) -> list[Failed]:
        """The group's most frequent distinct failures."""
        return most_frequent((one for scored in group for one in self._failures(scored)), self.settings.per_group)

    @property
    def buffer(self) -> CorrectionBuffer:
        """What keeps the corrections."""
        return self.interceptor.buffer
