"""TRL's own generation as an engine: vLLM (in process or as a server), with TRL's weight sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fissile.engines.base import Sampling
from fissile.rollouts import Completion, StopReason

if TYPE_CHECKING:
    from trl import GRPOTrainer


class TRLEngine:
    """Samples with whatever the trainer's `GRPOConfig` asks for; its sampling settings are the config's."""

    def __init__(self, trainer: GRPOTrainer) -> None:
        self._trainer = trainer

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """See `Engine.generate`; `sampling.max_new_tokens` tells a finished completion from a cut one."""
        rows = [list(prompt) for prompt in prompts for _ in range(samples)]
        completions, _ = self._trainer._generate_single_turn(rows, None, {}, samples)
        ends = set(self._trainer.eos_token_ids)
        return [
            Completion(tuple(ids), None, StopReason.END if ids and ids[-1] in ends else StopReason.LENGTH)
            for ids in completions
        ]
