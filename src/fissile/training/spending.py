"""What a training spends, and how much it may spend: rollouts and tokens, by which arms of a comparison are matched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fissile.rollouts import Rollout

Limit = Literal["rollouts", "tokens"]


@dataclass
class Spent:
    """Everything that was sampled for a training, whether it was learned from or not. Counts are of this process.

    Attributes:
        rollouts: sampled ones.
        context_tokens: tokens that the policy read: of each rollout its context and, in a live world, every answer,
            once. Injected responses are read, too.
        sampled_tokens: tokens that the policy wrote.
    """

    rollouts: int = 0
    context_tokens: int = 0
    sampled_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.context_tokens + self.sampled_tokens

    def add(self, rollouts: Iterable[Rollout]) -> None:
        """Count rollouts."""
        for rollout in rollouts:
            sampled = sum(len(step.completion.ids) for step in rollout.own)
            self.rollouts += 1
            self.sampled_tokens += sampled
            self.context_tokens += len(rollout.context.prompt_ids) + len(rollout.completion_ids) - sampled


@dataclass(frozen=True)
class Budget:
    """What a training may spend; None for no limit.

    Attributes:
        rollouts: sampled rollouts.
        tokens: context tokens and sampled tokens together.
    """

    rollouts: int | None = None
    tokens: int | None = None

    def share(self, spent: Spent) -> float:
        """The largest share of a limit that is spent; 0 without limits."""
        limits = ((spent.rollouts, self.rollouts), (spent.tokens, self.tokens))
        return max((used / limit for used, limit in limits if limit is not None), default=0.0)

    def reached(self, spent: Spent) -> Limit | None:
        """The limit that is spent; None if there is none."""
        if self.rollouts is not None and spent.rollouts >= self.rollouts:
            return "rollouts"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return "tokens"
        return None
