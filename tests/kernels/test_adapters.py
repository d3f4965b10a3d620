"""Merged adapters: the sum is right on average, and nothing remains of it."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model

from fissile.errors import ModelError
from fissile.kernels.adapters import bare_model, merged_adapters, merged_weights
from tiny_models import tiny_llama


def adapted(update: float) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A bfloat16 model with adapters whose products are of the size of `update`, and one adapted layer."""
    model = get_peft_model(tiny_llama().bfloat16(), LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.fill_(update**0.5 / 8**0.5)  # alpha / r = 2, four products: the update in every weight
    return model, model.base_model.model.model.layers[0].mlp.up_proj


def effective_weight(layer: torch.nn.Module) -> torch.Tensor:
    """What the layer multiplies with, whichever way its weights are laid out."""
    return layer(torch.eye(layer.in_features, dtype=torch.bfloat16)).T


def test_an_update_below_the_resolution_of_the_weights_is_kept_on_average() -> None:
    model, layer = adapted(2e-5)
    before = layer.base_layer.weight.float()
    nearest = (before + 2e-5).bfloat16().float()
    assert (nearest - before).mean() < 1e-5  # what rounding to nearest would do
    with torch.no_grad(), merged_adapters(model):
        change = effective_weight(layer).float() - before
    spread = change.std() / change.numel() ** 0.5
    assert abs(change.mean() - 2e-5) < 4 * spread
    assert spread < 1e-5


def test_without_an_update_the_weights_stay_as_they_are() -> None:
    model, layer = adapted(0.0)
    original = layer.base_layer.weight.data
    with torch.no_grad(), merged_adapters(model):
        assert torch.equal(effective_weight(layer), original)
        assert layer.merged
    assert layer.base_layer.weight.data_ptr() == original.data_ptr()
    assert not layer.merged


def test_an_adapter_on_a_tied_layer_is_not_merged_into_the_other() -> None:
    model = tiny_llama(tie_word_embeddings=True)
    policy = get_peft_model(model, LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False)).eval()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = policy(ids).logits
        with merged_adapters(bare_model(policy)):
            assert torch.allclose(policy(ids).logits, before, atol=1e-5)


def test_virtual_tokens_are_refused() -> None:
    policy = get_peft_model(tiny_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    with pytest.raises(ModelError, match="virtual tokens"):
        bare_model(policy)


def test_disabled_adapters_stay_out() -> None:
    model, layer = adapted(1.0)
    original = layer.base_layer.weight.data
    with torch.no_grad(), model.disable_adapter(), merged_adapters(model):
        assert torch.equal(effective_weight(layer), original)


def test_merged_weights_are_those_that_the_merged_model_computes_with() -> None:
    model, _ = adapted(1e-2)
    inner = model.get_base_model()
    plain = tiny_llama().bfloat16()
    with torch.no_grad():
        weights = dict(merged_weights(inner))
        plain.load_state_dict(weights)
        ids = torch.tensor([[1, 2, 3]])
        with merged_adapters(model):
            expected = model(ids).logits
    torch.testing.assert_close(plain(ids).logits, expected, atol=0.1, rtol=0.02)  # two orders of summation
    with model.disable_adapter():
        originals = dict(merged_weights(inner))
    assert all(torch.equal(originals[name], weight) for name, weight in tiny_llama().bfloat16().state_dict().items())
    assert not torch.equal(weights["model.layers.0.mlp.up_proj.weight"], originals["model.layers.0.mlp.up_proj.weight"])


def test_a_tied_weight_has_each_of_its_names() -> None:
    weights = dict(merged_weights(tiny_llama(tie_word_embeddings=True)))
    assert weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()


@pytest.mark.parametrize(
    ("lora", "message"),
    [({"target_modules": ["embed_tokens"]}, "adapts a Embedding"), ({"modules_to_save": ["lm_head"]}, "as a whole")],
)
def test_what_no_weight_would_hold_is_refused(lora: dict[str, list[str]], message: str) -> None:
    settings = LoraConfig(**{"r": 4, "target_modules": ["up_proj"], "task_type": "CAUSAL_LM", **lora})
    model = get_peft_model(tiny_llama(), settings).get_base_model()
    with pytest.raises(ModelError, match=message):
        list(merged_weights(model))
