"""Prompts that continue finished rows: read from where the row ended, with the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.engines import Sampling, TransformersEngine
from fissile.kernels.prefill import FinishedRows
from tiny_models import tiny_llama, tiny_qwen3

ENDS = (7, 11, 30)
GREEDY = Sampling(max_new_tokens=9, temperature=0)
TOKENS = st.lists(st.integers(1, 60), min_size=1, max_size=9).map(tuple)


class Reads:
    """Counts the prompt tokens, padding included, that a model is given to read."""

    def __init__(self, model: Any) -> None:
        self.tokens = 0
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, model: Any, arguments: Any, options: dict[str, Any]) -> None:
        if "shared_prefix" not in options:
            self.tokens += options["input_ids"].numel()


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
@settings(max_examples=15, deadline=None)
@given(
    prompts=st.lists(TOKENS, min_size=1, max_size=4),
    feedback=st.lists(TOKENS, min_size=4, max_size=4),
    fresh=st.lists(TOKENS, max_size=2),
    prefill_tokens=st.sampled_from([1, 30, 1000]),
    max_rows=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_retries_after_remembered_rows_sample_the_same(
    make: Callable[..., Any],
    prompts: list[tuple[int, ...]],
    feedback: list[tuple[int, ...]],
    fresh: list[tuple[int, ...]],
    prefill_tokens: int,
    max_rows: int,
    seed: int,
) -> None:
    model = make()
    sampling = Sampling(max_new_tokens=6, temperature=1.2, seed=seed)
    remembering = TransformersEngine(model, ENDS, 0, max_rows, prefill_tokens, remembered_tokens=10_000)
    first = remembering.generate(prompts, sampling)
    retries = [
        *fresh,
        *((*prompt, *done.ids, *new) for prompt, done, new in zip(prompts, first, feedback, strict=False)),
    ]
    second = remembering.generate(retries, sampling, 2)
    forgetful = TransformersEngine(model, ENDS, 0).generate(retries, sampling, 2)
    assert [completion.ids for completion in second] == [completion.ids for completion in forgetful]
    for one, other in zip(second, forgetful, strict=True):
        assert torch.allclose(torch.tensor(one.logprobs), torch.tensor(other.logprobs), atol=1e-4)


def test_only_the_new_tokens_are_read() -> None:
    model = tiny_llama()
    engine = TransformersEngine(model, (), 0, remembered_tokens=1000)
    prompt = tuple(range(1, 30))
    (done,) = engine.generate([prompt], GREEDY)
    reads = Reads(model)
    engine.generate([(*prompt, *done.ids, 5, 6, 8)], GREEDY, 4)
    assert reads.tokens == 1 + 2  # the last sampled token, which no step fed, and the new ones but the last


def test_other_weights_start_anew() -> None:
    model = tiny_llama()
    engine = TransformersEngine(model, (), 0, remembered_tokens=1000)
    (done,) = engine.generate([(1, 2, 3)], GREEDY)
    retry = (1, 2, 3, *done.ids, 4)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    (after,) = engine.generate([retry], GREEDY)
    (expected,) = TransformersEngine(model, (), 0).generate([retry], GREEDY)
    assert after.ids == expected.ids
    assert torch.allclose(torch.tensor(after.logprobs), torch.tensor(expected.logprobs), atol=1e-5)


def test_the_oldest_rows_make_room() -> None:
    finished = FinishedRows(max_tokens=5)
    finished.add((1, 2), [])
    finished.add((3, 4), [])
    finished.add((1, 2), [])  # now the latest
    finished.add((5,), [])
    finished.add((6, 7), [])
    assert [finished.known((*tokens, 9))[0] for tokens in ((3, 4), (1, 2), (5,), (6, 7))] == [0, 2, 1, 2]
    finished.add(tuple(range(6)), [])
    assert finished.known(tuple(range(7)))[0] == 0
    finished.only_of("other weights")
    assert finished.known((1, 2, 9))[0] == 0
