"""The local engine against transformers' own `generate`, and against the distribution that it should draw from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM

from fissile.engines import Sampling, TransformersEngine
from fissile.errors import InfrastructureError, ModelError
from fissile.kernels import prepacked
from fissile.rollouts import Completion, StopReason
from tiny_models import TINY_SHAPE, tiny_llama, tiny_qwen3

Make = Callable[..., Any]
MODELS = pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
ENDS = (7, 11, 30, 42)
GREEDY = Sampling(max_new_tokens=10, temperature=0)
PROMPTS = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12).map(tuple), min_size=1, max_size=5)


def greedy_reference(model: Any, prompt: Sequence[int], ends: Sequence[int], length: int) -> list[int]:
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=length,
        eos_token_id=list(ends) or None,
        pad_token_id=0,
    )
    return list(out[0, len(prompt) :].tolist())


def full_log_probs(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> torch.Tensor:
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


def assert_consistent(model: Any, prompt: Sequence[int], completion: Completion, limit: int) -> None:
    """Log-probabilities are those of a full forward, and the stop reason fits the ids."""
    assert completion.logprobs is not None
    assert len(completion.ids) == len(completion.logprobs) <= limit
    expected = full_log_probs(model, prompt, completion.ids)
    assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)
    assert not set(completion.ids[:-1]) & set(ENDS)
    ended = completion.ids[-1] in ENDS
    assert completion.stop is (StopReason.END if ended else StopReason.LENGTH)
    assert ended or len(completion.ids) == limit


@MODELS
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_greedy_is_what_generate_gives(make: Make, samples: int) -> None:
    model = make()
    prompts = [(3, 4, 5, 6), (9,), tuple(range(1, 20)), (3, 4, 5, 6), (8, 8)]
    completions = TransformersEngine(model, ENDS, pad_id=0).generate(prompts, GREEDY, samples)
    assert len(completions) == len(prompts) * samples
    for index, completion in enumerate(completions):
        prompt = prompts[index // samples]
        assert list(completion.ids) == greedy_reference(model, prompt, ENDS, GREEDY.max_new_tokens)


@MODELS
@settings(max_examples=20, deadline=None)
@given(
    prompts=PROMPTS,
    samples=st.integers(1, 5),
    max_rows=st.integers(1, 9),
    prefill_tokens=st.sampled_from([1, 20, 1000]),
    seed=st.integers(0, 5),
)
def test_any_batch_shape_samples_the_same(
    make: Make, prompts: list[tuple[int, ...]], samples: int, max_rows: int, prefill_tokens: int, seed: int
) -> None:
    """Rows finish at different times, leave, and others take their place; nothing of it changes a completion."""
    model = make()
    sampling = Sampling(max_new_tokens=7, temperature=1.3, top_k=20, seed=seed)
    engine = TransformersEngine(model, ENDS, 0, max_rows, prefill_tokens)
    completions = engine.generate(prompts, sampling, samples)
    roomy = TransformersEngine(model, ENDS, 0, max_rows=64).generate(prompts, sampling, samples)
    assert [completion.ids for completion in completions] == [completion.ids for completion in roomy]
    for index, completion in enumerate(completions):
        assert_consistent(model, prompts[index // samples], completion, sampling.max_new_tokens)


def test_completions_longer_than_the_first_reservation() -> None:
    model = tiny_llama()
    sampling = Sampling(max_new_tokens=150, seed=3)
    completions = TransformersEngine(model, ENDS[:1], 0, max_rows=4).generate([(1, 2), (3,)], sampling, 4)
    assert max(len(completion.ids) for completion in completions) > 64
    for index, completion in enumerate(completions):
        expected = full_log_probs(model, [(1, 2), (3,)][index // 4], completion.ids)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def frequencies(model: Any, sampling: Sampling, count: int) -> torch.Tensor:
    completions = TransformersEngine(model, (), 0, max_rows=500).generate([(1, 2, 3)], sampling, count)
    return torch.bincount(torch.tensor([c.ids[0] for c in completions]), minlength=model.config.vocab_size)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1, seed=1), range(13)),
        (Sampling(1, temperature=1.7, seed=2), range(13)),
        (Sampling(1, temperature=0.8, top_k=4, seed=3), range(4)),
    ],
)
def test_samples_follow_the_softmax(sampling: Sampling, kept: range) -> None:
    model = tiny_llama(vocab_size=13)
    logits = model(torch.tensor([[1, 2, 3]])).logits[0, -1].detach() / sampling.temperature
    ranks = logits.argsort(descending=True).argsort()
    expected = logits.masked_fill(ranks > kept[-1], float("-inf")).softmax(-1) * 4000
    counts = frequencies(model, sampling, 4000)
    assert counts[expected == 0].sum() == 0
    likely = expected > 5
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum().item()
    assert chi_square < 40  # with at most 12 degrees of freedom: p < 1e-4


def test_top_p_keeps_the_smallest_set_with_that_mass() -> None:
    model = tiny_llama(vocab_size=13)
    probabilities, ids = model(torch.tensor([[1, 2, 3]])).logits[0, -1].softmax(-1).sort(descending=True)
    wanted = int((probabilities.cumsum(0) < 0.7).sum()) + 1
    counts = frequencies(model, Sampling(1, top_p=0.7, seed=1), 2000)
    assert set(counts.nonzero()[:, 0].tolist()) == set(ids[:wanted].tolist())


def test_the_seed_decides_and_the_global_random_state_is_untouched() -> None:
    engine = TransformersEngine(tiny_llama(), ENDS, 0)
    state = torch.get_rng_state()
    one = engine.generate([(1, 2)], Sampling(8, seed=4), 6)
    torch.manual_seed(99)
    assert engine.generate([(1, 2)], Sampling(8, seed=4), 6) == one
    assert engine.generate([(1, 2)], Sampling(8, seed=5), 6) != one
    torch.set_rng_state(state)
    engine.generate([(1, 2)], Sampling(8, seed=4), 6)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("prepack", [True, False])
def test_prepacked_weights_are_gone_after_the_call_and_after_an_error(
    monkeypatch: pytest.MonkeyPatch, prepack: bool
) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    policy = get_peft_model(tiny_llama().bfloat16(), lora)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    engine = TransformersEngine(policy, ENDS, 0, prepack=prepack)
    (completion,) = engine.generate([(1, 2, 3)], GREEDY)
    linear = policy.base_model.model.lm_head

    def exhausted(*_: Any) -> None:
        assert ("forward" in vars(linear)) == (prepack and prepacked._is_available())
        raise MemoryError

    monkeypatch.setattr(engine, "_decode", exhausted)
    with pytest.raises(InfrastructureError):
        engine.generate([(1, 2)], GREEDY)
    assert not [name for name, module in policy.named_modules() if "forward" in vars(module)]
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    expected = full_log_probs(policy.eval(), (1, 2, 3), completion.ids).float()
    assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=0.2)  # bfloat16


@pytest.mark.parametrize("merge_adapters", [True, False])
def test_adapters_take_part_and_nothing_of_the_model_changes(merge_adapters: bool) -> None:
    model = tiny_llama()
    plain = TransformersEngine(model, ENDS, 0).generate([(1, 2, 3)], GREEDY)[0]
    policy = get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5)
    )
    policy.train()
    model.model.layers[1].eval()
    before = {name: (value, value.clone()) for name, value in policy.state_dict(keep_vars=True).items()}
    modes = [module.training for module in policy.modules()]
    completion = TransformersEngine(policy, ENDS, 0, merge_adapters=merge_adapters).generate([(1, 2, 3)], GREEDY)[0]
    assert modes == [module.training for module in policy.modules()]
    for name, value in policy.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
    assert model.config._attn_implementation == "sdpa"
    policy.eval()
    assert completion.ids != plain.ids
    assert list(completion.ids) == greedy_reference(policy, (1, 2, 3), ENDS, GREEDY.max_new_tokens)


def test_the_original_weights_are_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    engine = TransformersEngine(policy, ENDS, 0)
    weight = policy.base_model.model.model.layers[0].mlp.up_proj.base_layer.weight
    before = weight.clone()

    def exhausted(*_: Any) -> None:
        assert not torch.equal(weight, before)
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(engine, "_decode", exhausted)
    with pytest.raises(InfrastructureError, match="max_rows") as caught:
        engine.generate([(1, 2)], GREEDY)
    assert caught.value.reason == "out_of_memory"
    assert torch.equal(weight, before)


def test_a_sliding_window_falls_back_to_generate(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(vocab_size=61, sliding_window=4, **TINY_SHAPE)).eval()
    with caplog.at_level(logging.WARNING):
        engine = TransformersEngine(model, ENDS, 0, max_rows=4)
    assert "slower" in caplog.text
    prompts = [(1, 2, 3, 4, 5, 6), (9,), (5, 5, 5)]
    for index, completion in enumerate(engine.generate(prompts, GREEDY, 2)):
        assert list(completion.ids) == greedy_reference(model, prompts[index // 2], ENDS, GREEDY.max_new_tokens)
    for index, completion in enumerate(engine.generate(prompts, Sampling(6, seed=1), 3)):
        assert_consistent(model, prompts[index // 3], completion, 6)


def test_no_prompt_gives_no_completion() -> None:
    assert TransformersEngine(tiny_llama(), ENDS, 0).generate([], GREEDY) == []


@pytest.mark.parametrize(
    ("prompt", "sampling", "message"),
    [
        ((), GREEDY, "is empty"),
        ((1,) * 510, GREEDY, "exceeds the 512 positions"),
        ((1,), Sampling(max_new_tokens=0), "max_new_tokens"),
    ],
)
def test_what_cannot_be_sampled_is_refused(prompt: tuple[int, ...], sampling: Sampling, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TransformersEngine(tiny_llama(), ENDS, 0).generate([prompt], sampling)


def test_a_bare_module_is_refused() -> None:
    with pytest.raises(ModelError, match="AutoModelForCausalLM"):
        TransformersEngine(torch.nn.Linear(2, 2), ENDS, 0)
