"""Packed rows give what the padded rows give: log-probabilities, entropies and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor
from trl.trainer.utils import add_fused_lm_head

from fissile.kernels import packed_attention
from fissile.kernels.packed_attention import PACKED
from fissile.kernels.packing import (
    Continuation,
    PackedCollator,
    PrefixTree,
    fill_rows,
    pack_rows,
    packed_log_probs,
)
from fissile.kernels.scoring import score_labels_only
from tiny_models import tiny_llama, tiny_qwen3

Make = Callable[..., Any]
MODELS = pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
ATTENTIONS = pytest.mark.parametrize("attention", ["sdpa", PACKED])
PAD = 0


def padded(prompts: list[list[int]], completions: list[list[int]]) -> tuple[Tensor, Tensor, int]:
    """As TRL pads: prompts at the left, completions at the right."""
    left, right = max(map(len, prompts)), max(1, *map(len, completions))
    ids, mask = [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        before, after = left - len(prompt), right - len(completion)
        ids.append([PAD] * before + prompt + completion + [PAD] * after)
        mask.append([0] * before + [1] * (left - before + len(completion)) + [0] * after)
    return torch.tensor(ids), torch.tensor(mask), right


def padded_log_probs(model: Any, ids: Tensor, mask: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """What `GRPOTrainer._get_per_token_logps_and_entropies` computes."""
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-keep] = -100
    outputs = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    return outputs.log_probs[:, -keep:], outputs.entropy[:, -keep:]


def with_fused_head(model: Any, temperature: float = 1.0) -> Any:
    add_fused_lm_head(model, temperature, outputs=("log_probs", "entropy"))
    return model


def fused(model: Any) -> Callable[..., Any]:
    return lambda **inputs: model(**inputs, fused_lm_head=True)


def gradients(model: Any, values: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor]) -> list[Tensor]:
    loss = sum((value * weight).sum() for value, weight in zip(values, weights, strict=True))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def assert_close(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() <= 1e-4 * max(1.0, b.abs().max().item())


GROUPS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 60), min_size=1, max_size=9),
        st.lists(st.lists(st.integers(1, 60), max_size=6), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=3,
).filter(lambda groups: any(completion for _, completions in groups for completion in completions))


@MODELS
@ATTENTIONS
@settings(max_examples=15, deadline=None)
@given(groups=GROUPS, budget=st.sampled_from([1, 12, 40, 1000]))
def test_packed_equals_padded(
    make: Make, attention: str, groups: list[tuple[list[int], list[list[int]]]], budget: int
) -> None:
    model = with_fused_head(make())
    model.set_attn_implementation(attention)
    prompts = [prompt for prompt, completions in groups for _ in completions]
    completions = [completion for _, completions in groups for completion in completions]
    ids, mask, keep = padded(prompts, completions)
    expected = padded_log_probs(model, ids, mask, keep)
    found = packed_log_probs(fused(model), ids, mask, keep, budget, compute_entropy=True)
    assert found[1] is not None
    assert_close([found[0], found[1]], list(expected))
    weights = (torch.randn_like(expected[0]), torch.randn_like(expected[1]))
    assert_close(gradients(model, (found[0], found[1]), weights), gradients(model, expected, weights))


@MODELS
@ATTENTIONS
@pytest.mark.parametrize(("checkpointing", "temperature"), [(False, 1.0), (True, 0.7)])
def test_lora_gradients_with_the_labels_only_head(
    make: Make, attention: str, checkpointing: bool, temperature: float
) -> None:
    model = with_fused_head(make(), temperature)
    model.set_attn_implementation(attention)
    policy = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.train()
    ids, mask, keep = padded([[3, 4, 5]] * 3 + [[9]], [[1, 2], [], [5, 5, 5, 8], [7]])
    expected = padded_log_probs(policy, ids, mask, keep)
    weights = (torch.randn_like(expected[0]), torch.randn_like(expected[1]))
    wanted = gradients(policy, expected, weights)
    assert score_labels_only(model, temperature)
    found = packed_log_probs(fused(policy), ids, mask, keep, 1000, compute_entropy=True)
    assert found[1] is not None
    assert_close([found[0], found[1]], list(expected))
    assert_close(gradients(policy, (found[0], found[1]), weights), wanted)
    only = packed_log_probs(fused(policy), ids, mask, keep, 1000)[0]
    assert_close(
        gradients(policy, (only, only), (weights[0], torch.zeros_like(only))),
        gradients(policy, padded_log_probs(policy, ids, mask, keep), (weights[0], torch.zeros_like(only))),
    )


def test_the_labels_only_head_leaves_generation_alone_and_refuses_a_trained_head() -> None:
    model = with_fused_head(tiny_llama())
    assert not score_labels_only(model)  # the head would be trained
    get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    prompt = torch.tensor([[1, 2, 3]])
    before = model(prompt).logits
    assert score_labels_only(model)
    assert torch.equal(model(prompt).logits, before)
    assert torch.isfinite(model(prompt, labels=prompt).loss)


def test_the_labels_only_head_reports_the_mean_loss() -> None:
    model = with_fused_head(tiny_llama()).requires_grad_(False)
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    labels = torch.tensor([[-100, -100, 3, -100, 5]])
    expected = model(ids, labels=labels, fused_lm_head=True).loss
    assert score_labels_only(model)
    assert torch.allclose(model(ids, labels=labels, fused_lm_head=True).loss, expected, rtol=1e-5)
    halved = model(ids, labels=labels, fused_lm_head=True, num_items_in_batch=4).loss
    assert torch.allclose(halved, expected / 2, rtol=1e-5)


def test_rows_without_need_cost_no_forward() -> None:
    model = with_fused_head(tiny_llama())
    seen: list[int] = []

    def forward(**inputs: Tensor) -> Any:
        seen.append(inputs["input_ids"].shape[1])
        return model(**inputs, fused_lm_head=True)

    ids, mask, keep = padded([[3, 4, 5], [3, 4, 5], [6, 7]], [[1, 2], [1], [2, 2]])
    full, _ = packed_log_probs(forward, ids, mask, keep, 1000)
    seen.clear()
    some, entropies = packed_log_probs(forward, ids, mask, keep, 1000, rows=torch.tensor([False, True, False]))
    assert seen == [2 + 1 + 1]
    assert entropies is None
    assert torch.allclose(some[1], full[1], atol=1e-5)
    assert not some[[0, 2]].any()
    none, _ = packed_log_probs(forward, ids, mask, keep, 1000, rows=torch.zeros(3, dtype=torch.bool))
    assert not none.any()
    assert len(seen) == 1


def test_empty_completions_still_give_something_to_differentiate() -> None:
    model = with_fused_head(tiny_llama())
    ids, mask, keep = padded([[3, 4]], [[]])
    log_probs, _ = packed_log_probs(fused(model), ids, mask, keep, 1000)
    assert not log_probs.any()
    log_probs.sum().backward()


BRANCHINGS = st.lists(
    st.builds(
        lambda prefix, completions: PrefixTree(prefix, [Continuation.scored(completion) for completion in completions]),
        st.lists(st.integers(1, 9), max_size=6),
        st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@given(groups=BRANCHINGS, budget=st.integers(1, 40))
def test_rows_keep_every_branch_and_the_budget(groups: list[PrefixTree], budget: int) -> None:
    rows = fill_rows(groups, budget)

    def branches(packed: list[PrefixTree]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        return sorted((tuple(group.prefix), tuple(branch.ids)) for group in packed for branch in group.branches)

    assert branches([group for row in rows for group in row]) == branches(groups)
    for row in rows:
        single = len(row) == 1 and len(row[0].branches) == 1
        room = max(budget, 3 * len(row[0].prefix)) if len(row) == 1 else budget
        assert single or sum(group.tokens for group in row) <= room


def test_a_long_prompt_is_not_repeated_for_every_branch() -> None:
    group = PrefixTree([1] * 1000, [Continuation.scored([2] * 64)] * 8)
    assert [part.tokens for (part,) in fill_rows([group], budget=600)] == [1519]


def test_the_layout_of_a_row() -> None:
    group = PrefixTree([7, 8, 9], [Continuation.scored([1, 2]), Continuation.scored([3])])
    packed = pack_rows([[group, PrefixTree((), [Continuation([4, 5], [4, 5])])]])
    assert packed.input_ids.tolist() == [[7, 8, 9, 1, 2, 9, 3, 4, 5]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 3, 0, 1]]
    assert packed.labels.tolist() == [[-100, -100, -100, 1, 2, -100, 3, -100, 5]]
    assert [(row, start) for row, start, _ in packed.spans] == [(0, 2), (0, 5), (0, 6)]
    seen = packed.attention_mask[0, 0].int().tolist()
    assert seen[4] == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert seen[6] == [1, 1, 0, 0, 0, 1, 1, 0, 0]
    assert seen[8] == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_blocks_of_a_long_chain_see_all_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention, "BLOCK", 4)
    model = with_fused_head(tiny_llama())
    ids, mask, keep = padded([list(range(1, 12))] * 2 + [[3] * 6], [[4, 5, 6, 7, 8, 9], [1], [2, 2, 2, 2, 2]])
    expected, _ = packed_log_probs(fused(model), ids, mask, keep, 1000)
    model.set_attn_implementation(PACKED)
    found, _ = packed_log_probs(fused(model), ids, mask, keep, 1000)
    assert_close([found], [expected])


def test_a_padded_forward_under_packed_attention_is_the_usual_one() -> None:
    model = tiny_llama()
    ids, mask, _ = padded([[1, 2, 3], [4]], [[5], [6]])
    expected = model(ids, attention_mask=mask).logits[mask.bool()]
    model.set_attn_implementation(PACKED)
    assert torch.allclose(model(ids, attention_mask=mask).logits[mask.bool()], expected, atol=1e-5)


@MODELS
@ATTENTIONS
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=5))
def test_the_collators_loss_is_the_mean_over_tokens(make: Make, attention: str, lengths: list[tuple[int, int]]) -> None:
    model = make()
    model.set_attn_implementation(attention)
    generator = torch.Generator().manual_seed(len(lengths))
    examples = []
    for prompt, answer in lengths:
        ids = torch.randint(1, 60, (prompt + answer,), generator=generator).tolist()
        examples.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    batch = PackedCollator(token_budget=16)(examples)
    losses: list[float] = []
    counts: list[int] = []
    for example in examples:
        ids, labels = torch.tensor([example["input_ids"]]), torch.tensor([example["labels"]])
        counts.append(int((labels != -100).sum()))
        losses.append(model(ids, labels=labels).loss.item() * counts[-1])
    assert int((batch["labels"] != -100).sum()) == sum(counts)
    assert model(**batch).loss.item() == pytest.approx(sum(losses) / sum(counts), rel=1e-4)
