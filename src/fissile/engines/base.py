"""Who produces tokens. An engine maps prompts (token ids) to completions (token ids)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fissile.rollouts import Completion


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        max_new_tokens: limit per completion.
        temperature: 0 means greedy.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of tokens with at least this mass; 1 keeps all.
        seed: the same seed, prompts and weights give the same completions.
    """

    max_new_tokens: int = 128
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


class Engine(Protocol):
    """A source of completions."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """`samples` completions for each prompt, in order: all of prompt 0, then all of prompt 1, ...

        Args:
            prompts: token ids, any lengths.
            sampling: how tokens are drawn.
            samples: completions for each prompt.

        Returns:
            len(prompts) * samples completions. A completion that the engine could not produce has
            `StopReason.INFRASTRUCTURE` and no ids.
        """
        ...
