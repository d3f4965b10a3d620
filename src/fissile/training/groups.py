"""How TRL's batches hold groups: whole, in row order, and with the tokens of the world outside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import split_tensor_dict

from fissile.engines.base import longest_input
from fissile.errors import ConfigError
from fissile.rollouts import End, Limits, Rollout
from fissile.training.updates import loss_mask


def room_for_context(model: Any, completion: int) -> int | None:
    """Tokens of a context that leave a model room for a completion; None where its length is not known."""
    positions = longest_input(model.config)
    return None if positions is None else positions - completion


def training_limits(limits: Limits | None, room: int | None) -> Limits:
    """Where a rollout of the training is cut; by default where a context of more than `room` tokens has none.

    Raises:
        ConfigError: the limits allow retries.
    """
    if limits is not None and limits.retries:
        raise ConfigError("limits.retries is of evaluations; in training failures are branched from. Leave it at 0.")
    return limits or Limits(context_tokens=room)


def learned_tokens(rollout: Rollout) -> list[int]:
    """For each token of the completion 1 where it enters the loss; none of them does where the engine failed."""
    if rollout.end is End.INFRASTRUCTURE:
        return [0] * max(1, len(rollout.completion_ids))
    return list(rollout.mask) or [0]  # nothing was sampled: one token stands in


def check_loss_mask(batch: dict[str, Any], rollouts: Sequence[Rollout], drops_truncated: bool) -> None:
    """Compare what enters TRL's loss with what the policy wrote: nothing else may have a gradient.

    Args:
        batch: TRL's, [rows, tokens] right of the prompts.
        rollouts: one a row, in order.
        drops_truncated: TRL leaves rollouts without an end out of the loss, whole.

    Raises:
        RuntimeError: a token of the prompt, the world, an injector or the padding is learned, or one of the policy's is
            not: a fault of this package, or of a change in TRL.
    """
    learned = loss_mask(batch)
    wrong = []
    for row, rollout in enumerate(rollouts):
        mask = learned_tokens(rollout)
        own = torch.zeros_like(learned[row])
        own[: len(mask)] = torch.tensor(mask, dtype=own.dtype, device=own.device)
        dropped = drops_truncated and not learned[row].any()
        if not dropped and not torch.equal(own, learned[row]):
            wrong.append(f"row {row}: {int(learned[row].sum())} tokens, of which the policy wrote {int(own.sum())}")
    if len(rollouts) != len(learned):
        wrong.append(f"{len(learned)} rows for {len(rollouts)} rollouts")
    if wrong:
        raise RuntimeError(
            "Internal error: the tokens that enter the loss are not those that the policy wrote "
            f"({'; '.join(wrong[:3])}). Nothing was learned from this step. Please report it, with the versions of trl "
            "and transformers."
        )


def refuse_several_processes(processes: int, *, in_rounds: bool, counted: bool) -> None:
    """What only one process can do.

    Args:
        processes: that train together.
        in_rounds: TRL's vLLM would sample live rollouts or refills.
        counted: there is a budget.

    Raises:
        ConfigError: there are several, and one of these is asked for.
    """
    if processes > 1 and in_rounds:
        raise ConfigError(
            "Live rollouts and refills take a different number of rounds in each process, and TRL's vLLM samples "
            "for all of them at once. Train in one process, or without use_vllm."
        )
    if processes > 1 and counted:
        raise ConfigError(
            "Every process counts a budget (training.rollouts, training.tokens) for itself, so they would end at "
            "different steps. Train in one process, or limit training.steps alone."
        )


def refuse_split_evaluation(rows: int, group_size: int) -> None:
    """An evaluation batch must hold whole groups, too.

    Raises:
        ConfigError: its rows are no multiple of the group size.
    """
    if rows % group_size:
        raise ConfigError(
            f"An evaluation batch of {rows} rows splits a group of {group_size}. Make per_device_eval_batch_size a "
            "multiple of num_generations_eval (num_generations, where that is not set)."
        )


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
