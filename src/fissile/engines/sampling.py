"""Drawing tokens from logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fissile.engines.base import Sampling


def draw(
    logits: Tensor, uniforms: Tensor, sampling: Sampling, histories: Sequence[Sequence[int]] = ()
) -> tuple[Tensor, Tensor]:
    """One token for each row, by inversion of the cumulative distribution.

    A row's token depends on its own logits and its own uniform number only, so a completion does not depend on
    which other rows share its batch. Order, as in transformers: repetition penalty, temperature, top-k, top-p, min-p.

    Args:
        logits: [rows, vocabulary].
        uniforms: [rows], float32 in [0, 1).
        sampling: the filters; at temperature 0 the most likely token is taken.
        histories: the tokens of each row so far, prompt included; read for a repetition penalty alone.

    Returns:
        The tokens, [rows], and their log-probabilities at temperature 1 without filters, [rows], float32.
    """
    logits = logits.float()
    wanted = logits if sampling.repetition_penalty == 1 else _penalized(logits, histories, sampling.repetition_penalty)
    if sampling.temperature == 0:
        tokens = wanted.argmax(dim=-1)
    elif wanted is logits and sampling.temperature == 1 and not _filters(sampling):
        probabilities = logits.softmax(dim=-1)
        tokens = _invert(probabilities, uniforms)
        return tokens, probabilities.gather(-1, tokens[:, None])[:, 0].log()
    else:
        candidates, ids = _candidates(wanted, sampling)
        probabilities = (candidates / sampling.temperature).softmax(dim=-1)
        if sampling.top_p < 1:
            before = probabilities.cumsum(dim=-1) - probabilities
            probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
        if sampling.min_p:
            least = sampling.min_p * probabilities.amax(dim=-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0)
        choice = _invert(probabilities, uniforms)
        tokens = choice if ids is None else ids.gather(-1, choice[:, None])[:, 0]
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)


def _filters(sampling: Sampling) -> bool:
    return bool(sampling.top_k or sampling.top_p < 1 or sampling.min_p)


def _penalized(logits: Tensor, histories: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Positive logits of the tokens so far divided by the penalty, negative ones multiplied (arXiv 1909.05858)."""
    seen = torch.zeros(logits.shape, dtype=torch.bool)
    for row, tokens in enumerate(histories):
        seen[row, list(tokens)] = True
    return torch.where(seen.to(logits.device), torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def _candidates(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor | None]:
    """The logits that may be drawn, most likely first where a filter needs that, with their ids (None: in order)."""
    if sampling.top_k:
        return logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
    if sampling.top_p < 1:
        return logits.sort(dim=-1, descending=True)
    return logits, None


def _invert(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first index whose cumulative mass exceeds the uniform number; never one without mass."""
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[:, -1:]
    thresholds = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
