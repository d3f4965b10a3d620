"""The filters of our sampling against transformers' own logits processors."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fissile.engines import Sampling, TransformersEngine
from fissile.engines.sampling import draw
from tiny_models import tiny_llama

HISTORY = torch.tensor([[3, 7, 7, 20, 41]])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(min_p=0.2),
        Sampling(temperature=1.7, min_p=0.05),
        Sampling(temperature=0.7, top_k=20, top_p=0.9, min_p=0.1),
        Sampling(repetition_penalty=1.4),
        Sampling(repetition_penalty=0.8, temperature=1.3, top_k=9),
        Sampling(repetition_penalty=1.3, min_p=0.1, top_p=0.8),
    ],
)
def test_the_distribution_is_that_of_transformers(sampling: Sampling) -> None:
    logits = 2 * torch.randn(1, 61, generator=torch.Generator().manual_seed(1))
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    expected = processors(HISTORY, logits).softmax(-1)[0]
    count = 20_000
    uniforms = (torch.arange(count) + 0.5) / count  # evenly spaced: the counts are the probabilities
    tokens, logprobs = draw(logits.expand(count, -1), uniforms, sampling, HISTORY.expand(count, -1).tolist())
    found = torch.bincount(tokens, minlength=61) / count
    torch.testing.assert_close(found, expected, atol=2 / count + 1e-4, rtol=0)
    assert (found > 0).equal(expected > 1e-4) or (found > 0).equal(expected > 0)
    torch.testing.assert_close(logprobs, logits.log_softmax(-1)[0][tokens])  # of the policy itself, without filters


@pytest.mark.parametrize("plainly", [False, True])
def test_greedy_completions_with_a_penalty_equal_those_of_generate(plainly: bool) -> None:
    model = tiny_llama(seed=4)
    engine = TransformersEngine(model, end_ids=(), pad_id=0)
    if plainly:
        engine._decode = engine._decode_plainly
    prompts = [(5, 6, 7, 8), (9, 10, 11, 9, 10, 11)]
    made = engine.generate(prompts, Sampling(12, temperature=0, repetition_penalty=1.5), samples=2)
    for prompt, completion in zip(prompts, made[::2], strict=True):
        expected = model.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, repetition_penalty=1.5, eos_token_id=None
        )
        assert completion.ids == tuple(expected[0, len(prompt) :].tolist())
    plain = engine.generate(prompts, Sampling(12, temperature=0))
    assert plain[0].ids != made[0].ids  # the penalty matters here
