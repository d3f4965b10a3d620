"""Generating with adapters at the speed of the bare model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


@contextmanager
def merged_adapters(model: nn.Module) -> Iterator[None]:
    """Merge the active adapters into copies of the weights; afterwards the very same weight tensors are back.

    Nothing drifts: the originals are put back, never computed back. Layers that cannot be merged exactly
    (quantised, sharded or disabled ones) keep their adapters and work as before. Costs one more copy of the adapted
    weights while it lasts.
    """
    originals: list[tuple[nn.Parameter, torch.Tensor]] = []
    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer) and _is_mergeable(layer)]
    try:
        for layer in layers:
            for parameter in layer.get_base_layer().parameters(recurse=False):
                originals.append((parameter, parameter.data))
                parameter.data = parameter.data.clone()
            layer.merge()
        yield
    finally:
        for layer in layers:
            layer.merged_adapters.clear()
        for parameter, weight in originals:
            parameter.data = weight


def _is_mergeable(layer: BaseTunerLayer) -> bool:
    base = layer.get_base_layer()
    plain = type(base) is nn.Linear and type(base.weight.data) is torch.Tensor and base.weight.is_floating_point()
    return plain and not layer.merged and not layer.disable_adapters
