"""Group Relative Policy Optimization: the baseline, and stage 1 of Fission-GRPO."""

from fissile.methods.base import Method


class GRPO(Method):
    r"""Explore only (Shao et al., arXiv 2402.03300).

    For each context $x$, sample $G$ rollouts $\tau_i \sim \pi_\theta(\cdot|x)$ with rewards $R_i$ and update with

    $$A_i = \frac{R_i - \mathrm{mean}(R)}{\mathrm{std}(R)}, \qquad
      J = \mathbb{E}\Big[\tfrac1G \sum_i
          \min\big(\rho_i A_i,\ \mathrm{clip}(\rho_i, 1-\epsilon, 1+\epsilon)\, A_i\big)\Big].$$

    The objective itself is TRL's; its `loss_type` also gives those of DAPO and Dr. GRPO.
    """

    name = "grpo"
    title = "GRPO"
    about = "It was trained with GRPO, without fission."
