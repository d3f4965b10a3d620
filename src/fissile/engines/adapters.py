"""Generating with adapters at the speed of the bare model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from fissile.engines.prepacked import use_prepacked


@contextmanager
def merged_adapters(model: nn.Module) -> Iterator[None]:
    """Merge the active adapters into copies of the weights; afterwards the very same weight tensors are back.

    Nothing drifts: the originals are put back, never computed back. The sum is formed in float32 and rounded to
    bfloat16 stochastically (with fixed numbers): a few updates change most weights by less than half a step of
    bfloat16, which rounding to nearest would discard, and the policy that samples would stand still while the one that
    learns moves. Layers that cannot be merged (quantised, sharded, disabled) keep their adapters and work as before.

    Costs one more copy of the adapted weights while it lasts: prepacked where that is possible (`prepacked`), and then
    the parameters themselves hold the originals throughout.
    """
    originals: list[tuple[nn.Parameter, Tensor]] = []
    changed: list[nn.Module] = []
    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer) and _is_mergeable(layer)]
    dithers: dict[torch.Size, Tensor] = {}
    try:
        for layer in layers:
            parameters = list(layer.get_base_layer().parameters(recurse=False))
            for parameter in parameters:
                originals.append((parameter, parameter.data))
                parameter.data = parameter.data.to(torch.float32, copy=True)
            layer.merge()
            for parameter, original in originals[-len(parameters) :]:
                if original.dtype == torch.bfloat16 and parameter.shape not in dithers:
                    dithers[parameter.shape] = _dither(parameter)
                parameter.data = _rounded(parameter.data, original.dtype, dithers.get(parameter.shape))
            if use_prepacked(layer.get_base_layer()):
                changed.append(layer.get_base_layer())
                for parameter, original in originals[-len(parameters) :]:
                    parameter.data = original
        yield
    finally:
        for linear in changed:
            del linear.forward
        for layer in layers:
            layer.merged_adapters.clear()
        for parameter, weight in originals:
            parameter.data = weight


def _is_mergeable(layer: BaseTunerLayer) -> bool:
    base = layer.get_base_layer()
    plain = type(base) is nn.Linear and type(base.weight.data) is Tensor and base.weight.is_floating_point()
    return plain and not layer.merged and not layer.disable_adapters


def _dither(parameter: Tensor) -> Tensor:
    """Numbers below the last bit that bfloat16 keeps of a float32; always the same for a shape."""
    generator = torch.Generator(parameter.device).manual_seed(0)
    return torch.randint(1 << 16, parameter.shape, generator=generator, dtype=torch.int32, device=parameter.device)


def _rounded(weight: Tensor, dtype: torch.dtype, dither: Tensor | None) -> Tensor:
    """A float32 tensor in `dtype`. To bfloat16: up or down with the probability that keeps the mean."""
    if dtype != torch.bfloat16 or dither is None:
        return weight.to(dtype)
    bits = (weight.view(torch.int32) + dither).bitwise_and_(~0xFFFF)
    return bits.view(torch.float32).to(dtype)
