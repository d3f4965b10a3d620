"""Fission-GRPO (arXiv 2601.15625): failures become training contexts for recovering from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fissile.calls import Attempt
from fissile.corrections import Correction, CorrectionBuffer, CorrectionStore, Trigger
from fissile.corrections.context import Context
from fissile.errors import ConfigError
from fissile.feedback import Diagnoser, Feedback, FeedbackSource
from fissile.methods.base import Phase, Plan, Scored
from fissile.rollouts import Rollout, Step, corrective_context, failure_of
from fissile.serial import to_json
from fissile.tasks import Task

logger = logging.getLogger(__name__)

Extend = Callable[[Step, str], tuple[int, ...]]
"""(failed step, feedback text) -> token ids of the corrective context."""
Failed = tuple[Step, Attempt]
"""A failed step, and its attempt with what is wrong with it."""
Journal = Callable[[dict[str, Any]], None]
"""Where events are written for inspection; one JSON-ready record a call."""


def none_word(value: Any) -> Any:
    """The word "none" as None, which TOML has no value for."""
    return None if value == "none" else value


class FissionSettings(BaseModel):
    """The knobs of Fission-GRPO. Defaults are the paper's where it states them, ours where it does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    per_group: int = Field(
        default=1,
        ge=1,
        description="Failures intercepted from one group at most, the most frequent first, one of each kind.",
    )
    seed: int = Field(default=0, description="Of the random order.")

    def refuse_remainder(self, rollouts: int, group_size: int) -> None:
        """A fission step fills a batch with whole recovery groups.

        Raises:
            ConfigError: `samples`, by default the group size, does not divide the rollouts of a step.
        """
        recoveries = self.samples or group_size
        if rollouts % recoveries:
            raise ConfigError(
                f"fission.samples = {recoveries} does not divide the {rollouts} rollouts of a step "
                "(per_device_train_batch_size x steps_per_generation). Change one of them."
            )


class FissionGRPO:
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

    def __init__(
        self,
        settings: FissionSettings,
        source: FeedbackSource,
        extend: Extend,
        tasks: Mapping[str, Task],
        journal: Journal = lambda record: None,
        buffer: CorrectionStore | None = None,
        room: int | None = None,
    ) -> None:
        """Wire the loop.

        Args:
            settings: the knobs.
            source: writes the diagnosis. A leak guard stands over it, and `rules` stands in where it fails.
            extend: builds the token ids of a corrective context.
            tasks: every training task by its id.
            journal: receives one record for each intercepted failure and each fission.
            buffer: keeps the corrections; by default a `CorrectionBuffer` as in `settings`.
            room: tokens of the longest context that can be answered; a failure whose corrective context is longer is
                left out and counted. None for no limit.
        """
        self.settings = settings
        self.diagnoser = Diagnoser(source)
        self.buffer: CorrectionStore = (
            buffer
            if buffer is not None
            else CorrectionBuffer(
                capacity=settings.capacity,
                order=settings.order,
                max_staleness=settings.max_staleness,
                seed=settings.seed,
            )
        )
        self.trigger = Trigger(interval=settings.interval)
        self._extend = extend
        self._tasks = tasks
        self._journal = journal
        self._room = room
        self._too_long: dict[str, None] = {}  # ids
        self._in_flight: tuple[Correction, ...] = ()
        self._seconds = 0.0
        self._staleness: float | None = None

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """Fission if the trigger fires, explore otherwise."""
        rollouts = len(explore) * samples
        recoveries = self.settings.samples or samples
        wanted = rollouts // recoveries
        if not self.trigger.fires(self.buffer.available(step), wanted):
            return Plan(Phase.EXPLORE, tuple(explore), samples)
        self._in_flight = tuple(self.buffer.pop(wanted, step))
        contexts = tuple(correction.context(self._tasks[correction.task_id]) for correction in self._in_flight)
        return Plan(Phase.FISSION, contexts, recoveries)

    def observe(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """Journal what became of the corrections in a plan, and intercept its failures."""
        self.settle(plan, scored, step)
        if plan.phase is Phase.EXPLORE or self.settings.max_depth > 1:
            self.intercept(plan, scored, step)

    def settle(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """Note for the trigger that the step was made, and journal what became of the corrections in it."""
        self.trigger.record(fission=plan.phase is Phase.FISSION)
        self._seconds, self._staleness = 0.0, None
        if plan.phase is Phase.FISSION:
            self._staleness = sum(step - correction.step for correction in self._in_flight) / len(self._in_flight)
            for correction, group in zip(self._in_flight, plan.groups(scored), strict=True):
                self._journal(_fission_record(correction, self._tasks[correction.task_id], group, step))
            self._in_flight = ()

    def intercept(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """Turn the failures of a plan into corrections."""
        before = self.diagnoser.seconds
        self._intercept([failed for group in plan.groups(scored) for failed in self._chosen(group)], step)
        self._seconds += self.diagnoser.seconds - before

    def counts(self) -> dict[str, int]:
        """Counts of the buffer, and of the failures that were too long for it, where there were any."""
        return {**self.buffer.counts, **({"too_long": len(self._too_long)} if self._too_long else {})}

    def feedback(self) -> dict[str, Any]:
        """See `Diagnoser.report`."""
        return self.diagnoser.report()

    def figures(self) -> dict[str, float]:
        """Running counts of diagnoses, of those that fell back and of those that leaked; of the latest step its seconds
        and, where it was a fission step, the mean age of its corrections in steps.
        """
        diagnoser = self.diagnoser
        staleness = {} if self._staleness is None else {"fission/staleness": self._staleness}
        return {
            **staleness,
            "feedback/diagnosed": float(diagnoser.diagnosed),
            "feedback/fallbacks": float(diagnoser.fallbacks.total()),
            "feedback/leaks": float(diagnoser.leaks.total()),
            "feedback/seconds": self._seconds,
        }

    def state_dict(self) -> dict[str, Any]:
        """Buffer, trigger and counts; a plan in flight belongs to a step that a resumed run samples again."""
        return {
            "buffer": self.buffer.state_dict(),
            "trigger": self.trigger.state_dict(),
            "feedback": self.diagnoser.state_dict(),
            "too_long": list(self._too_long),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Checkpoints of before diagnoses were counted are read, too."""
        self.buffer.load_state_dict(state["buffer"])
        self.trigger.load_state_dict(state["trigger"])
        if "feedback" in state:
            self.diagnoser.load_state_dict(state["feedback"])
        self._too_long = dict.fromkeys(state.get("too_long", ()))
        self._in_flight = ()

    def _failures(self, scored: Scored) -> list[Failed]:
        """The failed steps to intercept; none of a rollout without a reward.

        A single-step attempt failed with a format failure or R_corr below the threshold. In a live world every
        attempt with an error did, whatever became of its rollout, and so did the one blamed for a silent failure.
        """
        reward = scored.reward
        if reward is None:
            return []
        below = reward.fmt == 0 or reward.corr < self.settings.failure_threshold
        if scored.rollout.context.task.world is None and not below:
            return []
        return [(step, attempt) for step, attempt in scored.rollout.failures if self._may_branch(step)]

    def _may_branch(self, step: Step) -> bool:
        return step.context.depth < self.settings.max_depth

    def _chosen(self, group: Sequence[Scored]) -> list[Failed]:
        """The group's most frequent distinct failures."""
        frequency: dict[str, int] = {}
        first: dict[str, Failed] = {}
        for failed in (failed for scored in group for failed in self._failures(scored)):
            signature = failed[1].signature
            frequency[signature] = frequency.get(signature, 0) + 1
            first.setdefault(signature, failed)
        ranked = sorted(first, key=lambda signature: -frequency[signature])  # stable: first seen wins a tie
        return [first[signature] for signature in ranked[: self.settings.per_group]]

    def _intercept(self, chosen: Sequence[Failed], step: int) -> None:
        """Turn failures into corrections; the source is asked once, for those that were not met before."""
        undiagnosed = [Correction.of(corrective_context(*failed, "", ()), step, "") for failed in chosen]
        new: dict[str, Failed] = {}
        for correction, failed in zip(undiagnosed, chosen, strict=True):
            if not (self.buffer.has_seen(correction.id) or correction.id in self._too_long):
                new.setdefault(correction.id, failed)
        feedback = dict(
            zip(new, self.diagnoser.diagnose([failure_of(*failed) for failed in new.values()]), strict=True)
        )
        for correction in undiagnosed:
            if self.buffer.has_seen(correction.id):
                self.buffer.push(correction)  # counts it
            elif correction.id not in self._too_long:
                self._push(*new[correction.id], feedback[correction.id], step)

    def _push(self, failed: Step, attempt: Attempt, feedback: Feedback, step: int) -> None:
        context = corrective_context(failed, attempt, feedback.text, self._extend(failed, feedback.text))
        correction = Correction.of(context, step, feedback.source, feedback.leaked)
        if self._room is not None and len(context.prompt_ids) > self._room:
            self._leave_out(correction, len(context.prompt_ids))
            return
        self.buffer.push(correction)
        fallback = {"fallback": feedback.fallback} if feedback.fallback else {}
        self._journal({"event": "intercepted", "step": step, **correction.to_dict(), **fallback})

    def _leave_out(self, correction: Correction, tokens: int) -> None:
        """Count a failure whose corrective context nobody could answer; said the first time."""
        if not self._too_long:
            logger.warning(
                "A failure of task '%s' is left out: its corrective context has %d tokens, and at most %d leave the "
                "model room for an answer. Such failures are counted as corrections/too_long; lower "
                "tasks.max_prompt_tokens or training.max_new_tokens if there are many.",
                correction.task_id,
                tokens,
                self._room,
            )
        self._too_long[correction.id] = None


def _fission_record(correction: Correction, task: Task, group: Sequence[Scored], step: int) -> dict[str, Any]:
    """What became of a correction: one line of `corrections.jsonl`, and one tree of the report."""
    messages = task.at_turn(correction.turn).messages
    requests = [message["content"] for message in messages if message["role"] == "user"]
    return {
        "event": "fission",
        "step": step,
        "id": correction.id,
        "task_id": correction.task_id,
        "request": requests[-1] if requests else "",
        "staleness": step - correction.step,
        "source": correction.source,
        "history": [to_json(turn) for turn in correction.history],
        "recoveries": [
            {
                "attempt": to_json(scored.rollout.outcome),
                "reward": None if scored.reward is None else scored.reward.total,
                "repeat": scored.rollout.repeats,
                **_steps(scored.rollout),
            }
            for scored in group
        ],
    }


def _steps(rollout: Rollout) -> dict[str, Any]:
    """The entry with each own response of a live rollout and what the world answered; a single step has none."""
    if rollout.context.task.world is None:
        return {}
    return {
        "steps": [
            {"attempt": to_json(step.attempt), "results": [result.content for result in step.results]}
            for step in rollout.own
        ]
    }
