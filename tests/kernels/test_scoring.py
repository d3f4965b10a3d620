"""The tiled head against full logits and autograd."""

from typing import Any

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from fissile.kernels.scoring import score_labels_only
from tiny_models import tiny_llama, tiny_qwen3


def reference(
    model: Any, ids: torch.Tensor, labels: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies where there is a label, from all logits."""
    log_p = (model(ids).logits[:, :-1].float() / temperature).log_softmax(-1)
    scored = labels[:, 1:] != -100
    log_probs = log_p.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
    entropies = -(log_p.exp() * log_p).sum(-1)
    return log_probs.masked_fill(~scored, 0), entropies.masked_fill(~scored, 0)


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_scores_and_gradients_equal_those_of_full_logits(make: Any, temperature: float) -> None:
    model = make()
    model.get_output_embeddings().weight.requires_grad_(False)
    embedding = model.get_input_embeddings().weight
    ids = torch.randint(0, 61, (3, 90), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.4, -100)
    weights = torch.randn(2, 3, 89, generator=torch.Generator().manual_seed(3))
    expected = reference(model, ids, labels, temperature)
    (expected_gradient,) = torch.autograd.grad(
        sum((w * x).sum() for w, x in zip(weights, expected, strict=True)), embedding
    )

    add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    assert score_labels_only(model, temperature)
    output = model(input_ids=ids, labels=labels, fused_lm_head=True)
    found = (output.log_probs, output.entropy)
    (gradient,) = torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, found, strict=True)), embedding)

    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)
    assert (gradient - expected_gradient).norm() < 1e-5 * expected_gradient.norm()
    torch.testing.assert_close(output.loss, -expected[0].sum() / (labels[:, 1:] != -100).sum())


def test_a_head_that_is_trained_is_left_to_trl() -> None:
    model = tiny_llama()
    add_fused_lm_head(model)
    assert model.get_output_embeddings().weight.requires_grad
    assert not score_labels_only(model)


def test_without_labels_the_model_is_as_before() -> None:
    model = tiny_llama()
    model.get_output_embeddings().weight.requires_grad_(False)
    ids = torch.tensor([[1, 2, 3]])
    before = model(ids).logits
    add_fused_lm_head(model)
    assert score_labels_only(model)
    torch.testing.assert_close(model(ids).logits, before)
    torch.testing.assert_close(model(input_ids=ids, labels=ids).logits, before)
