"""GRPO with offline corrective data: Fission-GRPO without its freshness."""

from __future__ import annotations

from pydantic import Field

from fissile.corrections import CorrectionPool
from fissile.methods.base import Batch, Draw, Phase, Plan, Sample
from fissile.methods.fission_grpo import CorrectiveSettings, FissionGRPO

COLLECTED_AT_ONCE = 64
"""Tasks of the collection that are sampled side by side."""


class OfflineSettings(CorrectiveSettings):
    """How much corrective data is collected before the first update; `seed` is of the order in which it is drawn."""

    collect_tasks: int = Field(
        default=256, ge=1, description="Training tasks that the starting policy is sampled on, at most."
    )
    collect_samples: int = Field(default=4, ge=1, description="Its rollouts of each.")


class OfflineGRPO(FissionGRPO):
    r"""GRPO on its tasks and, in turn, on a fixed pool of corrections of the policy $\pi_{\theta_0}$ it started from.

    1. **Collect**, once: $\mathcal{D}_0 = \{[x; \tau; f] : \tau \sim \pi_{\theta_0}(\cdot|x) \text{ failed},\
       f = \mathrm{feedback}(x, \tau, \text{truth})\}$.
    2. **Explore** and **recover** by the trigger of Fission-GRPO, the recoveries
       $\tau'_j \sim \pi_\theta(\cdot|x_c)$ from $x_c \sim \mathcal{D}_0$, with its advantages and its objective.

    What it differs in from `FissionGRPO` is only that its corrections are not of the current policy: they are drawn
    at random without replacement, then over again, however old they are. A pool smaller than a step is never recovered
    from.
    """

    name = "offline_grpo"
    stage = "offline"
    title = "GRPO with offline corrections"
    about = "It was trained with GRPO and with recoveries from failures of the starting policy."
    Settings = OfflineSettings

    @property
    def max_depth(self) -> int:
        """A recovery is never branched from."""
        return 1

    def store(self) -> CorrectionPool:
        """A pool that nothing leaves."""
        return CorrectionPool(self.settings.seed)

    def begin(self, draw: Draw, sample: Sample) -> None:
        """Make the pool from the policy as it is now; its failures are journaled as of step 0."""
        tasks = draw(self.settings.collect_tasks, f"collection/{self.host.seed}")
        for start in range(0, len(tasks), COLLECTED_AT_ONCE):
            some = tuple(tasks[start : start + COLLECTED_AT_ONCE])
            plan = Plan(Phase.EXPLORE, some, self.settings.collect_samples)
            self.intercept(sample(plan, f"collection/{some[0].task.id}"), 0)

    def observe(self, batch: Batch, step: int) -> None:
        """Journal recoveries; failures are forgotten."""
        self.settle(batch, step)
