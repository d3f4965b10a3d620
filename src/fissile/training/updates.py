"""A run that cannot make an update says so before it starts; one that made none is no success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from trl import GRPOConfig

from fissile.errors import ConfigError, RunError
from fissile.evaluation.losses import by_reason


def refuse_idle_settings(args: GRPOConfig, tasks: int, rollouts: int | None, has_optimizer: bool) -> None:
    """Refuse a configuration with which no update could be made, or none that changes a weight.

    Args:
        args: the configuration.
        tasks: training tasks.
        rollouts: what may be sampled; None for no limit.
        has_optimizer: the user gave an optimizer, which has a learning rate of its own.

    Raises:
        ConfigError: naming the fields, and what they should be.
    """
    prompts = args.generation_batch_size // args.num_generations
    if args.max_steps == 0 or (args.max_steps < 0 and args.num_train_epochs <= 0):
        raise ConfigError("max_steps = 0 or num_train_epochs = 0: no update would be made. Raise it.")
    if tasks < prompts:
        raise ConfigError(
            f"train_dataset has {tasks} tasks, and a step samples {prompts} of them (per_device_train_batch_size "
            f"x steps_per_generation x processes / num_generations = {args.generation_batch_size} / "
            f"{args.num_generations}), so no update could be made. Give at least {prompts} tasks, or lower "
            "per_device_train_batch_size or steps_per_generation (gradient_accumulation_steps)."
        )
    if rollouts is not None and rollouts < args.generation_batch_size:
        raise ConfigError(
            f"The budget of {rollouts} rollouts is less than the {args.generation_batch_size} of one step. Raise "
            "it, or sample fewer a step."
        )
    if has_optimizer:
        return
    if args.learning_rate <= 0:
        raise ConfigError(f"learning_rate = {args.learning_rate:g}: no update would change a weight. Raise it.")
    if args.max_steps == 1 and args.get_warmup_steps(1) > 0:
        raise ConfigError("warmup_steps > 0 gives the first step a learning rate of 0, and max_steps = 1 no other one.")


def refuse_frozen(model: nn.Module) -> None:
    """Refuse a model without a trainable weight.

    Raises:
        ConfigError: nothing requires a gradient.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "No weight of the model is trainable. Load an adapter with PeftModel.from_pretrained(..., "
            "is_trainable=True), or give peft_config=LoraConfig(...)."
        )


@dataclass
class Learning:
    """Whether a training learns anything. Counts are of this process.

    Attributes:
        steps: batches of rollouts so far.
        with_signal: of these, the ones with an advantage on a token that is learned from.
        rollouts: sampled ones.
        lost: of these, the ones that were lost to the engine or the world.
        reasons: of these, how many for which reason.
        words: of the last one, what happened.
        quiet_rollouts: sampled since the last step with a signal.
        quiet_lost: of these, the ones that were lost.
    """

    steps: int = 0
    with_signal: int = 0
    rollouts: int = 0
    lost: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    words: str = ""
    quiet_rollouts: int = 0
    quiet_lost: int = 0

    def count(self, batch: dict[str, Any], lost: Sequence[str]) -> None:
        """Count a batch of TRL's: `advantages` [rows], masks [rows, tokens]; and why each rollout was lost, if it was.

        Args:
            batch: what is learned from.
            lost: as `fissile.rollouts.Completion.lost`, for each rollout.
        """
        learned = loss_mask(batch).any(dim=1) & (batch["advantages"] != 0)
        said = [words for words in lost if words]
        self.steps += 1
        self.rollouts += len(lost)
        self.lost += len(said)
        if learned.any():
            self.with_signal += 1
            self.quiet_rollouts = self.quiet_lost = 0
        else:
            self.quiet_rollouts += len(lost)
            self.quiet_lost += len(said)
        for reason, count in by_reason(said).items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        self.words = said[-1] if said else self.words

    @property
    def quiet_losses(self) -> str:
        """`12 of 32 rollouts were lost: oom: ...`, of those since the last step with a signal; "" for none."""
        if not self.quiet_lost:
            return ""
        counted = f"{self.quiet_lost} of the {self.quiet_rollouts} rollouts"
        return f"{counted} were lost to the engine or the world: {self.words}"

    def require(self, updates: int, learned_anywhere: bool, moved: bool) -> None:
        """Refuse to call a training without an update a success.

        Args:
            updates: optimizer steps that were made.
            learned_anywhere: some process had a signal.
            moved: a trainable weight has changed.

        Raises:
            RunError: it made none, with the reason and what to change.
        """
        if updates and learned_anywhere and moved:
            return
        raise RunError(f"No update was made: {self._why(updates, learned_anywhere)}")

    def _why(self, updates: int, learned_anywhere: bool) -> str:
        if not updates:
            return "the training ended before its first step. Find what stopped it (a callback, a limit) and remove it."
        if not learned_anywhere and self.lost and self.lost == self.rollouts:
            return (
                f"all {self.rollouts} rollouts were lost to failures of the engine or the world (see the warnings). "
                "Mend that, then train anew."
            )
        if not learned_anywhere:
            lost = f" ({self.lost} of {self.rollouts} rollouts were lost to the engine)" if self.lost else ""
            return (
                f"no group of {self.steps} steps had any variance in reward{lost}, so nothing could be learned. Raise "
                "the temperature or the group size, or use tasks that the policy solves sometimes."
            )
        return (
            f"{updates} steps changed no weight. The learning rate was 0 in all of them, or too small for the weights' "
            "precision: raise it, or load the weights in float32, or train an adapter."
        )


def loss_mask(batch: dict[str, Any]) -> torch.Tensor:
    """[rows, tokens]: 1 where a token of a completion enters TRL's loss."""
    mask: torch.Tensor = batch["completion_mask"] * batch.get("tool_mask", 1)
    return mask


def trainable_bits(model: nn.Module) -> tuple[int, ...]:
    """A sum of the bit patterns of each trainable weight: changes when one of them does. Copies nothing.

    Empty where the weights are elsewhere (DeepSpeed ZeRO-3).
    """
    sums = []
    for parameter in model.parameters():
        local = parameter.detach()
        local = local.to_local() if hasattr(local, "to_local") else local
        if parameter.requires_grad and local.numel():
            width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[local.element_size()]
            sums.append(int(local.contiguous().view(width).sum(dtype=torch.int64)))
    return tuple(sums)
