"""GRPO with offline corrective data: Fission-GRPO without its freshness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fissile.contexts import Context
from fissile.corrections import CorrectionPool
from fissile.feedback import FeedbackSource
from fissile.methods.base import Phase, Plan, Scored
from fissile.methods.fission_grpo import FissionGRPO, FissionSettings, Journal
from fissile.rollouts import Writer
from fissile.tasks import Task

COLLECTED_AT_ONCE = 64
"""Tasks of the collection that are sampled side by side."""


class OfflineSettings(BaseModel):
    """How much corrective data is collected before the first update of 'offline_grpo'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: int = Field(default=256, ge=1, description="Training tasks that the starting policy is sampled on, at most.")
    samples: int = Field(default=4, ge=1, description="Its rollouts of each.")


class OfflineGRPO:
    r"""GRPO on its tasks and, in turn, on a fixed pool of corrections of the policy $\pi_{\theta_0}$ it started from.

    1. **Collect**, once: $\mathcal{D}_0 = \{[x; \tau; f] : \tau \sim \pi_{\theta_0}(\cdot|x) \text{ failed},\
       f = \mathrm{feedback}(x, \tau, \text{truth})\}$.
    2. **Explore** and **recover** by the trigger of Fission-GRPO, the recoveries
       $\tau'_j \sim \pi_\theta(\cdot|x_c)$ from $x_c \sim \mathcal{D}_0$, with its advantages and its objective.

    What it differs in from `FissionGRPO` is only that its corrections are not of the current policy: they are drawn
    at random without replacement, then over again, however old they are.
    """

    name = "offline_grpo"

    def __init__(
        self,
        settings: FissionSettings,
        offline: OfflineSettings,
        source: FeedbackSource,
        writer: Writer,
        tasks: Mapping[str, Task],
        journal: Journal = lambda record: None,
        room: int | None = None,
    ) -> None:
        """Wire the loop; see `FissionGRPO`.

        Args:
            settings: what a failure is and how it is diagnosed, the trigger and G'; capacity, order, staleness and
                depth have no meaning here.
            offline: how much is collected.
            source: writes the diagnosis.
            writer: writes corrective contexts as tokens.
            tasks: every training task by its id.
            journal: receives one record for each intercepted failure, as of step 0, and for each recovery group.
            room: tokens of the longest context that can be answered.
        """
        self.offline = offline
        self.collected = False
        self._fission = FissionGRPO(settings, source, writer, tasks, journal, CorrectionPool(settings.seed), room)

    def collect(self, contexts: Sequence[Context], sample: Callable[[Plan], Sequence[Scored]]) -> None:
        """Make the pool from the policy as it is now.

        Args:
            contexts: of the tasks that may be collected from; the first `offline.tasks` are.
            sample: gives the outcome of a plan.
        """
        chosen = tuple(contexts[: self.offline.tasks])
        for start in range(0, len(chosen), COLLECTED_AT_ONCE):
            plan = Plan(Phase.EXPLORE, chosen[start : start + COLLECTED_AT_ONCE], self.offline.samples)
            self._fission.intercept(plan, sample(plan), 0)
        self.collected = True

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """Recoveries if the trigger fires, explore otherwise. A pool smaller than a step is never recovered from."""
        return self._fission.plan(explore, samples, step)

    def observe(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """Journal recoveries; failures are forgotten."""
        self._fission.settle(plan, scored, step)

    def counts(self) -> dict[str, int]:
        """Counts of the pool."""
        return self._fission.counts()

    def feedback(self) -> dict[str, Any]:
        """See `Diagnoser.report`."""
        return self._fission.feedback()

    def figures(self) -> dict[str, float]:
        """See `FissionGRPO.figures`."""
        return self._fission.figures()

    def state_dict(self) -> dict[str, Any]:
        """Pool, trigger and counts."""
        return {"collected": self.collected, **self._fission.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.collected = state["collected"]
        self._fission.load_state_dict(state)
