"""vLLM on the CPU against transformers, and against the distribution that it should draw from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from fissile.engines import Sampling, TransformersEngine
from fissile.engines.vllm import VLLMEngine
from fissile.engines.vllm_runtime import VLLMRuntime, VLLMSettings
from fissile.errors import InfrastructureError, ModelError
from fissile.rollouts import Completion, StopReason
from tiny_models import tiny_llama

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` runs these tests")

ENDS = (7, 11, 30, 42)
GREEDY = Sampling(max_new_tokens=10, temperature=0)
PROMPTS = [(3, 4, 5, 6), (9,), tuple(range(1, 20)), (3, 4, 5, 6), (8, 8)]


@pytest.fixture(scope="module")
def runtime() -> Iterator[VLLMRuntime]:
    """One vLLM for all tests; whatever model they bring, its weights replace those of the last one."""
    shared = VLLMRuntime(VLLMSettings(max_model_len=256, kv_cache_gb=0.05))
    yield shared
    shared.close()


def model(**changes: Any) -> Any:
    """A random Llama in float32 with heads of a size that vLLM supports."""
    return tiny_llama(hidden_size=64, num_attention_heads=4, head_dim=32, **changes)


def policy(**changes: Any) -> Any:
    return get_peft_model(model(**changes), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))


def assert_log_probs(policy: Any, prompt: Sequence[int], completion: Completion) -> None:
    """Those of a full forward at temperature 1."""
    logits = policy(torch.tensor([[*prompt, *completion.ids]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
    assert completion.logprobs is not None
    torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 3])
def test_greedy_is_what_transformers_gives(runtime: VLLMRuntime, samples: int) -> None:
    expected = TransformersEngine(model(), ENDS, 0).generate(PROMPTS, GREEDY, samples)
    completions = VLLMEngine(model(), ENDS, runtime).generate(PROMPTS, GREEDY, samples)
    assert [(c.ids, c.stop) for c in completions] == [(c.ids, c.stop) for c in expected]
    assert {c.stop for c in completions} == {StopReason.END, StopReason.LENGTH}


@pytest.mark.parametrize("sampling", [Sampling(8, seed=1), Sampling(8, temperature=1.6, top_k=5, top_p=0.9, seed=2)])
def test_log_probabilities_are_at_temperature_one_without_filters(runtime: VLLMRuntime, sampling: Sampling) -> None:
    completions = VLLMEngine(model(), ENDS, runtime).generate(PROMPTS, sampling, 4)
    assert len(completions) == len(PROMPTS) * 4
    for index, completion in enumerate(completions):
        assert_log_probs(model(), PROMPTS[index // 4], completion)


def test_end_tokens_and_limits_end_a_completion(runtime: VLLMRuntime) -> None:
    completions = VLLMEngine(model(), ENDS, runtime).generate([(1, 2)], Sampling(12, seed=3), 40)
    for completion in completions:
        assert not set(completion.ids[:-1]) & set(ENDS)
        ended = completion.ids[-1] in ENDS
        assert completion.stop is (StopReason.END if ended else StopReason.LENGTH)
        assert ended or len(completion.ids) == 12
    assert {completion.stop for completion in completions} == {StopReason.END, StopReason.LENGTH}
    endless = VLLMEngine(model(), (), runtime).generate([(1, 2)], Sampling(12, seed=3), 4)
    assert [completion.stop for completion in endless] == [StopReason.LENGTH] * 4


def test_updated_adapters_are_followed_and_the_policy_is_left_alone(runtime: VLLMRuntime) -> None:
    adapted = policy()
    engine = VLLMEngine(adapted, ENDS, runtime)
    reference = TransformersEngine(adapted, ENDS, 0)
    seen = []
    for _ in range(3):
        before = {name: value.clone() for name, value in adapted.state_dict().items()}
        completions = engine.generate(PROMPTS, GREEDY)
        assert all(torch.equal(value, before[name]) for name, value in adapted.state_dict().items())
        assert [c.ids for c in completions] == [c.ids for c in reference.generate(PROMPTS, GREEDY)]
        for prompt, completion in zip(PROMPTS, completions, strict=True):
            assert_log_probs(adapted, prompt, completion)
        seen.append([c.ids for c in completions])
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.data.mul_(-1.5 if "lora_A" in name else 1)  # past autograd's version counter
    assert seen[0] != seen[1] != seen[2]
    with adapted.disable_adapter():
        plain = engine.generate(PROMPTS, GREEDY)
    assert [c.ids for c in plain] == [c.ids for c in TransformersEngine(model(), ENDS, 0).generate(PROMPTS, GREEDY)]


def test_the_seed_decides_and_the_global_random_state_is_untouched(runtime: VLLMRuntime) -> None:
    engine = VLLMEngine(model(), (), runtime)
    state = torch.get_rng_state()
    one = engine.generate([(1, 2)], Sampling(8, seed=4), 6)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert engine.generate([(1, 2)], Sampling(8, seed=4), 6) == one
    assert engine.generate([(1, 2)], Sampling(8, seed=5), 6) != one
    assert len({completion.ids for completion in one}) == 6


def test_samples_follow_the_softmax(runtime: VLLMRuntime) -> None:
    sampling = Sampling(1, temperature=1.4, top_k=6, seed=1)
    probabilities = (model()(torch.tensor([[1, 2, 3]])).logits[0, -1] / 1.4).topk(6)
    expected = probabilities.values.softmax(-1) * 2000
    drawn = VLLMEngine(model(), (), runtime).generate([(1, 2, 3)], sampling, 2000)
    counts = torch.bincount(torch.tensor([c.ids[0] for c in drawn]), minlength=61)
    assert counts[probabilities.indices].sum() == 2000
    chi_square = ((counts[probabilities.indices] - expected) ** 2 / expected).sum().item()
    assert chi_square < 30  # with 5 degrees of freedom: p < 1e-4


def test_a_shared_prefix_changes_nothing(runtime: VLLMRuntime) -> None:
    torch.manual_seed(0)
    prefix = torch.randint(1, 61, (200,)).tolist()  # longer than a block of the cache
    prompts = [[*prefix, 5], [*prefix, 6, 7], prefix]
    engine = VLLMEngine(model(), ENDS, runtime)
    for index, completion in enumerate(engine.generate(prompts, Sampling(6, seed=1), 3)):
        assert_log_probs(model(), prompts[index // 3], completion)


@pytest.mark.parametrize(
    ("prompt", "sampling", "message"),
    [
        ((), GREEDY, "is empty"),
        ((1,) * 250, GREEDY, "exceeds the 256 positions"),
        ((1,), Sampling(max_new_tokens=0), "max_new_tokens"),
        ((1,), Sampling(temperature=3), "up to 2"),
        ((1,), Sampling(temperature=0.001), "such as 0.001. Set the temperature to 0"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    runtime: VLLMRuntime, prompt: tuple[int, ...], sampling: Sampling, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        VLLMEngine(model(), ENDS, runtime).generate([prompt], sampling)


def test_a_model_that_vllm_does_not_fit_is_refused_and_another_still_works(runtime: VLLMRuntime) -> None:
    with pytest.raises(ModelError, match=r"engine\.name = 'transformers'"):
        VLLMEngine(tiny_llama(), ENDS).generate([(1, 2)], GREEDY)  # heads of 8, in a vLLM of its own
    assert len(VLLMEngine(model(), ENDS, runtime).generate([(1, 2)], GREEDY)) == 1


def test_a_failure_is_infrastructure_and_the_next_call_works(
    runtime: VLLMRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = VLLMEngine(model(), ENDS, runtime)
    engine.generate([(1, 2)], GREEDY)

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(runtime._llm, "generate", exhausted)
    with pytest.raises(InfrastructureError, match="can't allocate memory") as caught:
        engine.generate([(1, 2)], GREEDY)
    assert caught.value.reason == "vllm"
    assert len(engine.generate([(1, 2)], GREEDY)) == 1


def test_no_prompt_gives_no_completion() -> None:
    assert VLLMEngine(model(), ENDS).generate([], GREEDY) == []


@pytest.mark.parametrize("tied", [False, True])
def test_prepacked_bfloat16_weights_are_replaced_too(runtime: VLLMRuntime, tied: bool) -> None:
    adapted = policy(tie_word_embeddings=tied).bfloat16()
    engine = VLLMEngine(adapted, ENDS, runtime)
    distances = []
    for _ in range(2):
        completions = engine.generate(PROMPTS, Sampling(6, seed=1), 4)
        distances.append(distance(adapted, completions))
        for name, parameter in adapted.named_parameters():
            if "lora_A" in name:
                parameter.data.neg_()
        assert distance(adapted, completions) > 10 * distances[-1]
    assert max(distances) < 0.2  # a random model multiplies the rounding of bfloat16


def distance(policy: Any, completions: Sequence[Completion]) -> float:
    """Mean difference of the log-probabilities from those of a full forward."""
    distances = []
    for index, completion in enumerate(completions):
        logits = policy(torch.tensor([[*PROMPTS[index // 4], *completion.ids]])).logits[0].float().log_softmax(-1)
        expected = logits[-len(completion.ids) - 1 : -1].gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
        distances.append((torch.tensor(completion.logprobs) - expected).abs())
    return torch.cat(distances).mean().item()
