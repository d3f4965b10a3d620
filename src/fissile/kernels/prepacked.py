"""Linear layers whose weights are laid out once for the processor, instead of at every call.

oneDNN multiplies bfloat16 matrices in a blocked layout. A call of `torch.nn.functional.linear` brings the whole weight
matrix into it each time; with the few rows of a decoding step that costs as much as a third of the product. Here the
layout is made once and used until the weights change. The products are the same up to the rounding of bfloat16.

PyTorch's own compiler calls the two operators below; they have no public name. So they are tried once on a small
matrix, and where they are missing or answer otherwise, nothing is prepacked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def prepacked_linears(model: nn.Module) -> Iterator[None]:
    """Every plain linear layer of `model` computes with prepacked weights; one more copy of them while it lasts."""
    changed: list[nn.Module] = []
    try:
        for module in model.modules():
            if use_prepacked(module):
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def use_prepacked(module: nn.Module) -> bool:
    """Give a plain linear layer a prepacked forward, until `del module.forward`. Returns whether it now has one.

    That forward holds a copy of the weights as they are now, so the layer may change or drop its own. It knows no
    gradient.
    """
    if type(module) is not nn.Linear or "forward" in vars(module):
        return False
    weight, bias = module.weight.data, module.bias
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu" or not _is_available():
        return False
    forward = _forward(weight, None if bias is None else bias.data)
    vars(module)["forward"] = forward  # what a plain assignment does, for a type checker that sees a method
    return True


def _forward(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(input: Tensor) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(input, packed, bias, "none", [], "")
        return result

    return forward


@functools.cache
def _is_available() -> bool:
    weight, x = torch.eye(32, dtype=torch.bfloat16)[:16], torch.arange(64, dtype=torch.bfloat16).reshape(2, 1, 32)
    try:
        return bool(torch.equal(_forward(weight, None)(x), nn.functional.linear(x, weight)))
    except (
        AttributeError,
        RuntimeError,
    ):  # no such operator, or not for this processor
        return False
