"""Log-probabilities of the labelled tokens, without the logits of any other position.

TRL's fused head scores every position where Triton is missing, prompts included, and multiplies in float32 in the
backward pass. With a small model the head then costs more than the rest of the model: 2.3 s against 0.46 s for a
group of 8 (prompt 300, completions of 48) with SmolLM2-135M on one CPU core.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

_TILE = 128
"""Tokens scored at once: the logits of a tile stay near the processor."""

_SCALING_FIELDS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)


def score_labels_only(model: PreTrainedModel, temperature: float = 1.0, top1: bool = False) -> bool:
    """Replace the fused head that TRL gave to `model`; call it after the trainer was built.

    `model(..., labels=labels, fused_lm_head=True)` returns the same fields as before: `loss`, `log_probs` and
    `entropy`, both [rows, length - 1] and zero without a label, both differentiable.

    Left as it is, because TRL's head does better or knows more: a device with Triton, a head that is itself trained,
    a model that scales or caps its logits.

    Args:
        model: the causal language model inside every wrapper.
        temperature: the logits are divided by it.
        top1: fill the field `is_top1`, too: where the label is the most likely token.

    Returns:
        Whether the head was replaced.
    """
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    if (
        model.device.type != "cpu"
        or head.weight.requires_grad
        or any(getattr(config, name, None) is not None for name in _SCALING_FIELDS)
        or hasattr(config, "num_experts")
    ):
        return False
    fused = model.forward

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        fused_lm_head: bool = False,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> Any:
        if not fused_lm_head or labels is None:
            optional = {"labels": labels, "num_items_in_batch": num_items_in_batch}
            given = {name: value for name, value in optional.items() if value is not None}
            return fused(*args, fused_lm_head=fused_lm_head, **given, **kwargs)
        hidden = self.base_model(*args, **{**kwargs, "use_cache": False}).last_hidden_state[:, :-1]
        scored = labels[:, 1:] != -100
        head = self.get_output_embeddings()
        targets = labels[:, 1:][scored]
        found = _TiledScores.apply(hidden[scored], head.weight, head.bias, targets, temperature, top1)  # type: ignore[no-untyped-call]
        log_probs, entropy, hits = (x.new_zeros(scored.shape).masked_scatter(scored, x) for x in found)
        count = scored.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / count,
            log_probs=log_probs,
            entropy=entropy,
            label_mask=scored,
            is_top1=hits if top1 else None,
        )

    model.forward = types.MethodType(forward, model)
    return True


class _TiledScores(torch.autograd.Function):
    """(hidden [n, h], weight [v, h], bias [v] or None, targets [n], temperature, top1)
    -> log-probs [n], entropies [n], hits [n] (whether the target is the most likely token; all false unless `top1`).

    Only `hidden` gets a gradient. The backward pass computes the logits again: with p the distribution and H its
    entropy, d log p_t / d z = 1[t] - p and d H / d z = -p (log p + H). All tiles share two buffers: fresh memory of
    this size costs more than what is computed in it.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        top1: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        context.set_materialize_grads(False)
        log_probs, entropies = (hidden.new_empty(len(hidden), dtype=torch.float32) for _ in range(2))
        hits = torch.zeros(len(hidden), dtype=torch.bool, device=hidden.device)
        for tile, logits, scores in _tiles(hidden, weight, bias, temperature):
            torch.log_softmax(logits, dim=-1, out=scores)
            log_probs[tile] = scores.gather(-1, targets[tile, None])[:, 0]
            if top1:
                hits[tile] = log_probs[tile] >= scores.amax(dim=-1)
            entropies[tile] = -torch.exp(scores, out=logits).mul_(scores).sum(dim=-1)
        context.save_for_backward(hidden, weight, bias, targets, entropies)
        context.temperature = temperature
        context.mark_non_differentiable(hits)
        return log_probs, entropies, hits

    @staticmethod
    def backward(context: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, entropies = context.saved_tensors
        for_log_probs, for_entropies, _ = gradients
        gradient = torch.zeros_like(hidden)
        if for_log_probs is None and for_entropies is None:
            return gradient, None, None, None, None, None
        for tile, logits, scores in _tiles(hidden, weight, bias, context.temperature):
            if for_entropies is None:
                assert for_log_probs is not None
                pull = torch.softmax(logits, dim=-1, out=scores).mul_(-for_log_probs[tile, None])
            else:
                torch.log_softmax(logits, dim=-1, out=scores)
                probabilities = torch.exp(scores, out=logits)
                pull = scores.add_(entropies[tile, None]).mul_(-for_entropies[tile, None])
                if for_log_probs is not None:
                    pull.sub_(for_log_probs[tile, None])
                pull.mul_(probabilities)
            if for_log_probs is not None:
                pull.scatter_add_(-1, targets[tile, None], for_log_probs[tile, None])
            if context.temperature != 1:
                pull.div_(context.temperature)
            gradient[tile] = pull.to(weight.dtype) @ weight
        return gradient, None, None, None, None, None


def _tiles(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each tile of `hidden`: where it stands, its logits [tile, v] in float32, and as much room; both reused."""
    buffers = hidden.new_empty(2, min(_TILE, len(hidden)), len(weight), dtype=torch.float32)
    for start in range(0, len(hidden), _TILE):
        rows = hidden[start : start + _TILE]
        logits, room = buffers[:, : len(rows)]
        logits.copy_(torch.nn.functional.linear(rows, weight, bias))
        if temperature != 1:
            logits.div_(temperature)
        yield slice(start, start + len(rows)), logits, room
