"""Group Relative Policy Optimization: the baseline, and stage 1 of Fission-GRPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fissile.contexts import Context
from fissile.methods.base import Phase, Plan, Scored


class GRPO:
    r"""Explore only (Shao et al., arXiv 2402.03300).

    For each context $x$, sample $G$ rollouts $\tau_i \sim \pi_\theta(\cdot|x)$ with rewards $R_i$ and update with

    $$A_i = \frac{R_i - \mathrm{mean}(R)}{\mathrm{std}(R)}, \qquad
      J = \mathbb{E}\Big[\tfrac1G \sum_i
          \min\big(\rho_i A_i,\ \mathrm{clip}(\rho_i, 1-\epsilon, 1+\epsilon)\, A_i\big)\Big].$$

    The objective itself is TRL's; its `loss_type` also gives DAPO and Dr. GRPO.
    """

    name = "grpo"

    def plan(self, explore: Sequence[Context], samples: int, step: int) -> Plan:
        """Always the explore contexts."""
        return Plan(Phase.EXPLORE, tuple(explore), samples)

    def observe(self, plan: Plan, scored: Sequence[Scored], step: int) -> None:
        """GRPO forgets its failures."""

    def counts(self) -> dict[str, int]:
        """Nothing to count."""
        return {}

    def feedback(self) -> dict[str, Any]:
        """Nobody is asked."""
        return {}

    def figures(self) -> dict[str, float]:
        """Nothing to log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Stateless."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stateless."""
