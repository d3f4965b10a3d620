"""How TRL's batches hold groups: whole, in row order, and with the tokens of the world outside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import split_tensor_dict

from fissile.engines.base import longest_input
from fissile.errors import ConfigError
from fissile.rollouts import End, Rollout


def room_for_context(model: Any, completion: int) -> int | None:
    """Tokens of a context that leave a model room for a completion; None where its length is not known."""
    positions = longest_input(model.config)
    return None if positions is None else positions - completion


def learned_tokens(rollout: Rollout) -> list[int]:
    """For each token of the completion 1 where it enters the loss; none of them does where the engine failed."""
    if rollout.end is End.INFRASTRUCTURE:
        return [0] * max(1, len(rollout.completion_ids))
    return list(rollout.mask) or [0]  # nothing was sampled: one token stands in


def refuse_split_groups(per_device: int, steps_per_generation: int, group_size: int) -> None:
    """Every process must sample whole groups, since failures are intercepted and replayed by group.

    Raises:
        ConfigError: the rollouts of a process are no multiple of the group size.
    """
    rollouts = per_device * steps_per_generation
    if rollouts % group_size:
        raise ConfigError(
            f"A process samples per_device_train_batch_size ({per_device}) x steps_per_generation "
            f"({steps_per_generation}) = {rollouts} rollouts, which splits a group of num_generations = {group_size}. "
            "Make the product a multiple of the group size."
        )


def in_row_order(micro_batches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same micro-batches with their rows sorted by "row" over all of them; values without rows stay."""
    order = torch.cat([batch["row"] for batch in micro_batches]).argsort()
    merged = {
        key: torch.cat([batch[key] for batch in micro_batches])[order] if _has_rows(value) else value
        for key, value in micro_batches[0].items()
    }
    return list(split_tensor_dict(merged, len(micro_batches)))


def _has_rows(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0
