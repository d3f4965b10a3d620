"""Generating with adapters at the speed of the bare model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from accelerate.utils import extract_model_from_parallel
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from fissile.errors import ModelError
from fissile.kernels.prepacked import use_prepacked


def bare_model(model: nn.Module) -> PreTrainedModel:
    """The causal language model inside the wrappers of PEFT and accelerate; adapters stay in its layers.

    Raises:
        ModelError: it is none of transformers, or its adapter is made of virtual tokens, which no layer holds.
    """
    inner = extract_model_from_parallel(model)
    if isinstance(inner, PeftModel) and inner.active_peft_config.is_prompt_learning:
        kind = inner.active_peft_config.peft_type.value
        raise ModelError(
            f"An adapter of virtual tokens ({kind}) cannot be sampled from. Use LoRA, or another on layers."
        )
    inner = inner.get_base_model() if isinstance(inner, PeftModel) else inner
    if not isinstance(inner, PreTrainedModel) or not inner.can_generate():
        raise ModelError(f"{type(inner).__name__} cannot generate. Load it with AutoModelForCausalLM.")
    return inner


@contextmanager
def merged_adapters(model: nn.Module, prepack: bool = True) -> Iterator[None]:
    """Merge the active adapters into copies of the weights; afterwards the very same weight tensors are back.

    Nothing drifts: the originals are put back, never computed back. The sum is formed in float32 and rounded to
    bfloat16 stochastically (with fixed numbers): a few updates change most weights by less than half a step of
    bfloat16, which rounding to nearest would discard, and the policy that samples would stand still while the one that
    learns moves. Layers that cannot be merged (quantised, sharded, disabled, tied to another layer) keep their adapters
    and work as before.

    Costs one more copy of the adapted weights while it lasts: with `prepack` in the layout of `prepacked` where that is
    possible, and then the parameters themselves hold the originals throughout.
    """
    dithers: dict[torch.Size, Tensor] = {}
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    with ExitStack() as stack:
        for layer in [module for module in model.modules() if isinstance(module, BaseTunerLayer)]:
            if not _is_mergeable(layer) or "forward" in vars(layer):
                continue
            base = layer.get_base_layer()
            if uses[id(base.weight)] > 1:
                continue
            originals = stack.enter_context(_merged(layer, dithers))
            if prepack and use_prepacked(base):
                stack.callback(delattr, base, "forward")
                for parameter, original in originals:
                    parameter.data = original
            vars(layer)["forward"] = base.forward  # what PEFT's own forward comes to, several calls later
            stack.callback(delattr, layer, "forward")
        dithers.clear()
        yield


def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights that `merged_adapters` computes with, one by one, as the model without adapters names them.

    Args:
        model: a model of transformers, with adapters inside or not; without the wrapper that PEFT puts around it.

    Yields:
        (name, weight): the model's own tensor, or a new one where adapters were merged. A tied weight comes under each
        of its names. At most one layer's merged weights exist at a time unless the caller keeps them.

    Raises:
        ModelError: trained parameters that cannot be merged into a weight, so a copy of the weights would lack them.
    """
    dithers: dict[torch.Size, Tensor] = {}
    adapted = ""
    for name, module in model.named_modules():
        if adapted and name.startswith(f"{adapted}."):
            continue
        if isinstance(module, AuxiliaryTrainingWrapper):
            raise _unmergeable(name, "is trained as a whole")
        if isinstance(module, BaseTunerLayer):
            adapted = name
            weights = _merged_weights(name, module, dithers)
        else:
            weights = [(own, parameter.detach()) for own, parameter in module.named_parameters(recurse=False)]
        yield from ((f"{name}.{own}".lstrip("."), weight) for own, weight in weights)


def _merged_weights(name: str, layer: BaseTunerLayer, dithers: dict[torch.Size, Tensor]) -> list[tuple[str, Tensor]]:
    """The parameters of the layer below the adapters, as they are while the adapters are merged."""
    base = layer.get_base_layer()
    adapters: AbstractContextManager[object] = nullcontext()
    if _is_mergeable(layer):
        adapters = _merged(layer, dithers)
    elif not layer.merged and not layer.disable_adapters:
        raise _unmergeable(name, f"adapts a {type(base).__name__}")
    with adapters:
        return [(own, parameter.data) for own, parameter in base.named_parameters(recurse=False)]


def _unmergeable(name: str, why: str) -> ModelError:
    return ModelError(
        f"The adapter at '{name}' {why}, so it cannot be merged into a copy of the weights. Adapt plain linear layers "
        "only (model.lora_targets), or let transformers generate (engine.name = 'transformers')."
    )


@contextmanager
def _merged(layer: BaseTunerLayer, dithers: dict[torch.Size, Tensor]) -> Iterator[list[tuple[nn.Parameter, Tensor]]]:
    """A layer's adapters are merged into copies of its weights; afterwards the very same tensors are back.

    Args:
        layer: a mergeable one.
        dithers: of the shapes met so far; new ones are added.

    Yields:
        (parameter, its original tensor).
    """
    originals = [(parameter, parameter.data) for parameter in layer.get_base_layer().parameters(recurse=False)]
    try:
        for parameter, original in originals:
            parameter.data = original.to(torch.float32, copy=True)
        layer.merge()
        for parameter, original in originals:
            if original.dtype == torch.bfloat16 and parameter.shape not in dithers:
                dithers[parameter.shape] = _dither(parameter)
            parameter.data = _rounded(parameter.data, original.dtype, dithers.get(parameter.shape))
        yield originals
    finally:
        layer.merged_adapters.clear()
        for parameter, original in originals:
            parameter.data = original


def weights_digest(model: nn.Module) -> bytes:
    """A hash of all that determines the merged weights: every parameter's bytes, and which adapters are active.

    Contents, not version counters: an update through `.data` counts too. Reads 1.6 GB/s.
    """
    digest = hashlib.sha256()
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            scaling = getattr(module, "scaling", {})
            digest.update(repr((module.active_adapters, module.disable_adapters, module.merged, scaling)).encode())
        for parameter in module.parameters(recurse=False):
            digest.update(parameter.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.digest()


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
