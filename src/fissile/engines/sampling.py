"""Drawing tokens from logits."""

from __future__ import annotations

import torch
from torch import Tensor

from fissile.engines.base import Sampling


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """One token for each row, by inversion of the cumulative distribution.

    A row's token depends on its own logits and its own uniform number only, so a completion does not depend on
    which other rows share its batch. Order of the filters: temperature, top-k, top-p.

    Args:
        logits: [rows, vocabulary].
        uniforms: [rows], float32 in [0, 1).
        sampling: temperature, top-k and top-p; at temperature 0 the most likely token is taken.

    Returns:
        The tokens, [rows], and their log-probabilities at temperature 1 without filters, [rows], float32.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1)
    elif sampling.temperature == 1 and not sampling.top_k and sampling.top_p == 1:
        probabilities = logits.softmax(dim=-1)
        tokens = _invert(probabilities, uniforms)
        return tokens, probabilities.gather(-1, tokens[:, None])[:, 0].log()
    else:
        candidates, ids = _candidates(logits, sampling)
        probabilities = (candidates / sampling.temperature).softmax(dim=-1)
        if sampling.top_p < 1:
            before = probabilities.cumsum(dim=-1) - probabilities
            probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
        choice = _invert(probabilities, uniforms)
        tokens = choice if ids is None else ids.gather(-1, choice[:, None])[:, 0]
    return tokens, logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)


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
