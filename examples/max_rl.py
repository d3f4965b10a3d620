"""MaxRL (arXiv 2602.02710) on the composite reward: advantages over the mean of a group's rewards, not their spread."""

from pydantic import Field

from fissile.methods import Batch, Credit, Method, MethodSettings


class MaxRLSettings(MethodSettings):
    """Its one setting."""

    floor: float = Field(default=1e-3, gt=0, description="Least mean that is divided by.")


class MaxRL(Method):
    """GRPO, but for the advantage."""

    name = "max_rl"
    Settings = MaxRLSettings

    def credit(self, batch: Batch) -> Credit:
        """One advantage a rollout; 0 for one without a reward."""
        advantages: list[float] = []
        for group in batch.grouped(batch.rewards):
            known = [reward for reward in group if reward is not None]
            mean = sum(known) / max(1, len(known))
            over = max(mean, self.settings.floor)
            advantages += [0.0 if reward is None else (reward - mean) / over for reward in group]
        return Credit(advantages)
