"""What a method is: which contexts a step samples from, what is learned from the outcome, and what is kept of it.

A method overrides the hooks that make it one; all of them have working defaults, which are GRPO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from fissile.calls import JSON
from fissile.contexts import Context
from fissile.errors import ConfigError
from fissile.feedback import FeedbackSource
from fissile.rewards import Reward
from fissile.rollouts import Rollout, Writer
from fissile.tasks import Task

T = TypeVar("T")

Report = dict[str, float | Mapping[str, JSON]]
"""Log key to a number, which is logged with the step; name to a table, which `training.json` keeps at the end."""

Share = float | Sequence[float | Sequence[float]]
"""For one rollout: a number, or one entry for each of its own responses, a number or one for each of its tokens."""


class Phase(StrEnum):
    """What a step samples from."""

    EXPLORE = "explore"
    """The contexts of the tasks."""
    FISSION = "fission"
    """Corrective contexts: a failed attempt and its diagnosis stand before the next attempt."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The groups of one step: `samples` rollouts from each context."""

    phase: Phase
    contexts: tuple[Context, ...]
    samples: int


@dataclass(frozen=True, slots=True)
class Scored:
    """A rollout and its reward; None where the rollout must not be learned from (infrastructure)."""

    rollout: Rollout
    reward: Reward | None

    @property
    def total(self) -> float | None:
        """The composite reward; None where there is none."""
        return None if self.reward is None else self.reward.total


@dataclass(frozen=True)
class Batch:
    """What came of a plan in this process; where several train together, each has its own.

    Attributes:
        plan: with the contexts that are learned from.
        scored: `plan.samples` consecutive rollouts for each of them, in order.
        step: the optimizer step.
        key: of the draws of this step: the same for the same step of the same run, resumed or not.
        discarded: groups that others took the place of, in order; observed, and not learned from.
        rewards: what is learned from, one number a rollout, None where it has none: the composite reward and, once TRL
            has asked them, the user's own reward functions, weighted.
    """

    plan: Plan
    scored: tuple[Scored, ...]
    step: int
    key: str = ""
    discarded: tuple[Sequence[Scored], ...] = ()
    rewards: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.rewards:
            object.__setattr__(self, "rewards", tuple(entry.total for entry in self.scored))

    @property
    def groups(self) -> list[Sequence[Scored]]:
        """The rollouts of each context."""
        return self.grouped(self.scored)

    def grouped(self, values: Sequence[T]) -> list[Sequence[T]]:
        """Values, one a rollout, cut into those of each context."""
        size = self.plan.samples
        return [values[start : start + size] for start in range(0, len(values), size)]

    @property
    def sampled(self) -> list[Sequence[Scored]]:
        """The groups and the discarded ones, these last and so the newest."""
        return [*self.groups, *self.discarded]

    def regrouped(
        self, contexts: Sequence[Context], groups: Sequence[Sequence[Scored]], discarded: Sequence[Sequence[Scored]]
    ) -> Batch:
        """The same step with other groups."""
        return replace(
            self,
            plan=replace(self.plan, contexts=tuple(contexts)),
            scored=tuple(entry for group in groups for entry in group),
            discarded=tuple(discarded),
            rewards=(),
        )


@dataclass(frozen=True, slots=True)
class Credit:
    """What each token that the policy wrote is worth; see `Share`. A rollout's own responses are `Rollout.own`.

    Attributes:
        advantages: one entry a rollout, in the order of the batch.
        kl: the same for weights of beta's KL term, each 0 or more; None for 1 everywhere.
    """

    advantages: Sequence[Share]
    kl: Sequence[Share] | None = None


class Draw(Protocol):
    """Gives the explore contexts of tasks."""

    def __call__(self, count: int, key: str, without: Sequence[Context] = ()) -> list[Context]:
        """Up to `count` tasks other than those of `without`, the same for the same key."""
        ...


class Sample(Protocol):
    """Samples and rewards from the policy as it is now."""

    def __call__(self, plan: Plan, key: str = "") -> Batch:
        """What came of a plan; `key` tells several draws of a step apart."""
        ...


def no_draw(count: int, key: str, without: Sequence[Context] = ()) -> list[Context]:  # noqa: ARG001
    """There are no other tasks."""
    return []


@dataclass(frozen=True)
class Host:
    """What a running method may use, given by the trainer.

    Attributes:
        tasks: every training task by its id.
        writer: writes corrective contexts as tokens.
        source: writes the diagnoses, whatever the settings name; None for the one that they name.
        journal: receives one JSON-ready record an event, for inspection.
        draw: gives explore contexts.
        room: tokens of the longest context that can be answered; None for no limit.
        rollouts: of a step.
        group_size: rollouts of an explore group (G).
        seed: of the run.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    writer: Writer | None = None
    source: FeedbackSource | None = None
    journal: Callable[[dict[str, Any]], None] = lambda record: None
    draw: Draw = no_draw
    room: int | None = None
    rollouts: int = 0
    group_size: int = 1
    seed: int = 0


class MethodSettings(BaseModel):
    """The settings of a method; one without any needs no class of its own.

    A method with a field `feedback` diagnoses failures with the source of that name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", description="Which method; see `fissile.methods`.")

    @property
    def source(self) -> str:
        """Name of the feedback source that it asks; "" for a method that diagnoses nothing."""
        return str(getattr(self, "feedback", ""))

    def check_shape(self, rollouts: int, group_size: int) -> None:
        """Refuse a shape of the step that the method cannot fill.

        Args:
            rollouts: of a step.
            group_size: of an explore group.

        Raises:
            ConfigError: with the setting to change.
        """


class Method:
    """A learning method over the common trainer. Torch-free, deterministic, serialisable.

    Attributes:
        name: as a recipe says it.
        Settings: class of its settings.
        stage: name of its stage in `summary.json` and of the evaluation after it; by default its name.
        title: what cards and pages call it; by default its name.
        about: a sentence for the model card: what it learns from.
        settings: of this one.
        host: what it may use; there from `attach` on.
    """

    name: ClassVar[str] = ""
    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    stage: ClassVar[str] = ""
    title: ClassVar[str] = ""
    about: ClassVar[str] = ""
    settings: Any
    host: Host

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = vars(cls).get("name", cls.__name__)
        cls.stage = vars(cls).get("stage", cls.name)
        cls.title = vars(cls).get("title", cls.name)
        cls.about = vars(cls).get("about", f"It was trained with the method `{cls.name}`.")

    def __init__(self, settings: MethodSettings | None = None, **fields: Any) -> None:
        """From its settings, or their fields: `FissionGRPO(FissionSettings(interval=2))` or `FissionGRPO(interval=2)`.

        Raises:
            ConfigError: the settings are another method's.
            ValidationError: a field is unknown or out of range.
        """
        settings = self.Settings(**fields) if settings is None else settings
        if type(settings) is not self.Settings or settings.name not in ("", self.name):
            raise ConfigError(
                f"The method '{self.name}' takes {self.Settings.__name__}, and was given "
                f"{type(settings).__name__}(name={settings.name!r}). Give it settings of its own."
            )
        self.settings = settings.model_copy(update={"name": self.name})

    @property
    def samples_again(self) -> bool:
        """Whether `revise` may sample: a number of rounds that may differ between processes."""
        return type(self).revise is not Method.revise

    def attach(self, host: Host) -> None:
        """Once, before anything else: what the method may use."""
        self.settings.check_shape(host.rollouts, host.group_size)
        self.host = host

    def begin(self, draw: Draw, sample: Sample) -> None:
        """Once, before the first update; not again in a run that is resumed."""

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """The groups to sample at `step`, given the explore contexts that the data loader offers: these.

        A plan has exactly `len(explore) * samples` rollouts, whatever its phase, so that methods of equal steps are
        matched in rollouts.
        """
        return Plan(Phase.EXPLORE, tuple(explore), samples)

    def revise(self, batch: Batch, sample: Sample) -> Batch:
        """What is learned from, of as many rollouts: here all that was sampled."""
        return batch

    def credit(self, batch: Batch) -> Credit | None:
        """What the policy's tokens are worth; None for TRL's: each group's rewards less their mean, over their std."""
        return None

    def observe(self, batch: Batch, step: int) -> None:
        """After sampling: what is kept."""

    def report(self) -> Report:
        """What to log of the latest step, and what to keep of the run."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, JSON-ready."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
