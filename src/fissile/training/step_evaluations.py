"""Evaluations during a training, for a learning curve. The training does not notice them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fissile.engines.randomness import kept_randomness


class StepEvaluations(TrainerCallback):  # type: ignore[misc]
    """Evaluates the policy after every so many optimizer steps, in the first process."""

    def __init__(self, every: int, evaluate: Callable[[int], None]) -> None:
        """Evaluate nothing yet.

        Args:
            every: optimizer steps between two evaluations.
            evaluate: evaluates the policy as it is after the given step.
        """
        self._every = every
        self._evaluate = evaluate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called before the checkpoint of the step, so that a resumed run misses no evaluation."""
        if state.global_step % self._every == 0 and state.is_world_process_zero:
            with kept_randomness():
                self._evaluate(state.global_step)
