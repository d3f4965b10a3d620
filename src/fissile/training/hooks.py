"""What a method's hooks gave, checked, and its credit spread over the tokens that the policy wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from fissile.errors import ConfigError, RunError
from fissile.methods import Batch, Credit, Method, Plan
from fissile.methods.base import Share
from fissile.rollouts import Rollout
from fissile.training.updates import loss_mask


def checked_plan(method: Method, plan: Plan, rows: int) -> Plan:
    """A plan, if it fills the step.

    Raises:
        RunError: it has another number of rollouts than the step.
    """
    if len(plan.contexts) * plan.samples != rows:
        raise RunError(
            f"The method '{method.name}' plans {len(plan.contexts)} contexts x {plan.samples} samples for a step of "
            f"{rows} rollouts. Its plan() must fill the step, neither more nor less."
        )
    return plan


def checked_revision(method: Method, revised: Batch, rows: int) -> Batch:
    """A revised batch, if it still is whole groups of as many rollouts.

    Raises:
        RunError: it has another number of rollouts than what was sampled, or none, or its plan does not fit them.
    """
    if len(revised.scored) != rows:
        left = f"{len(revised.scored)} of the {rows} rollouts of a step" if revised.scored else "no rollout of a step"
        raise RunError(
            f"The method '{method.name}' leaves {left}. Its revise() must keep their number: TRL's batch has a fixed "
            "one. Put others in the place of those that are dropped, or give them an advantage of 0 in credit()."
        )
    checked_plan(method, revised.plan, rows)
    for context, group in zip(revised.plan.contexts, revised.groups, strict=True):
        if any(entry.rollout.context.task.id != context.task.id for entry in group):
            raise RunError(
                f"The method '{method.name}' puts rollouts of another task under the context of '{context.task.id}'. "
                "Its revise() must give each group the context that it was sampled from."
            )
    return revised


def with_rewards(batch: Batch, rewards: torch.Tensor, process: int) -> Batch:
    """The batch of a process with the rewards that TRL normalises: [rows of all processes], NaN where there is none."""
    own = rewards.view(-1, len(batch.scored))[process].tolist()
    return replace(batch, rewards=tuple(None if math.isnan(reward) else reward for reward in own))


def apply_credit(method: Method, batch: Batch, tensors: dict[str, Any], beta: float) -> None:
    """Ask for the credit of a batch and put it into TRL's tensors: `advantages` and `kl_weights`, [rows, tokens].

    Raises:
        RunError: it does not fit the batch, or is no number.
        ConfigError: it weights a KL term that there is not.
    """
    credit: Credit | None = method.credit(batch)
    if credit is None:
        return
    if credit.kl is not None and beta == 0:
        raise ConfigError(
            f"The method '{method.name}' weights the KL to the reference, and there is none: set training.beta (beta "
            "of GRPOConfig) above 0."
        )
    rollouts = [entry.rollout for entry in batch.scored]
    mask = loss_mask(tensors)
    tensors["advantages"] = spread(credit.advantages, rollouts, mask, f"advantages of the method '{method.name}'")
    if credit.kl is not None:
        weights = spread(credit.kl, rollouts, mask, f"KL weights of the method '{method.name}'")
        if (weights < 0).any():
            raise RunError(f"Some KL weights of the method '{method.name}' are negative. Make them 0 or more.")
        tensors["kl_weights"] = weights


def spread(shares: Sequence[Share], rollouts: Sequence[Rollout], mask: torch.Tensor, what: str) -> torch.Tensor:
    """Shares of rollouts, own responses or own tokens, over the tokens that enter the loss; 0 elsewhere.

    Args:
        shares: one a rollout.
        rollouts: one a row.
        mask: [rows, tokens], 1 where a token enters the loss.
        what: the shares, for a message.

    Returns:
        [rows, tokens], of float32.

    Raises:
        RunError: the shares do not fit the rollouts, or one of them is not finite.
    """
    if len(shares) != len(rollouts):
        raise RunError(f"The {what} are {len(shares)}, and the batch has {len(rollouts)} rollouts. Give one for each.")
    values = torch.zeros(mask.shape, dtype=torch.float32)
    for row, (share, rollout) in enumerate(zip(shares, rollouts, strict=True)):
        own = [place for place, mine in enumerate(rollout.mask) if mine]
        numbers = list(_numbers(share, [len(step.completion.ids) for step in rollout.own], f"{what}, row {row}:"))
        if not all(map(math.isfinite, numbers)):
            raise RunError(f"Some {what} in row {row} are not finite (NaN or infinite). Give a number for each.")
        values[row, own] = torch.tensor(numbers, dtype=torch.float32)
    return values.to(mask.device) * (mask != 0)


def _numbers(share: Share, lengths: Sequence[int], what: str) -> Iterator[float]:
    """One number for each own token, from what was given for the rollout, its responses or their tokens."""
    if _is_number(share):
        share = [share] * len(lengths)  # type: ignore[list-item]
    if len(share) != len(lengths):  # type: ignore[arg-type]
        raise RunError(
            f"{what} {len(share)} entries for {len(lengths)} own responses. "  # type: ignore[arg-type]
            "Give one number for the rollout, or an entry for each response: a number, or one for each of its tokens."
        )
    for part, length in zip(share, lengths, strict=True):  # type: ignore[arg-type]
        if _is_number(part):
            yield from [float(part)] * length  # type: ignore[arg-type]
        elif len(part) == length:  # type: ignore[arg-type]
            yield from map(float, part)  # type: ignore[arg-type]
        else:
            raise RunError(
                f"{what} {len(part)} numbers for a response of {length} tokens. "  # type: ignore[arg-type]
                "Give one for the response, or one for each token."
            )


def _is_number(share: Any) -> bool:
    """A plain number, or an array or a tensor of one."""
    return isinstance(share, int | float) or getattr(share, "ndim", None) == 0
