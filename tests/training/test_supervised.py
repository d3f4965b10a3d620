from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from fissile.config import ColdStartConfig
from fissile.kernels.packed_attention import why_not_packable
from fissile.training.supervised import Example, fine_tune
from tiny import tiny_tokenizer
from tiny_models import tiny_llama, tiny_qwen3


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(1, 60, (n,), generator=generator).tolist() for n in (5, 9, 14, 7, 11, 6, 13, 8)]
    return [{"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]} for ids in drawn]


def trained(folder: Path, micro: int, **shape: object) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    policy: Any = get_peft_model(
        tiny_llama(**shape), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    settings = ColdStartConfig(batch_examples=8, micro_batch_examples=micro, learning_rate=1e-2, epochs=3)
    loss = fine_tune(policy, tiny_tokenizer(), examples(), settings, folder, seed=0)
    return loss, {name: value.detach() for name, value in policy.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_change_the_memory_and_not_the_result(tmp_path: Path, micro: int) -> None:
    loss, weights = trained(tmp_path / "whole", 8)
    small_loss, small_weights = trained(tmp_path / "small", micro)
    assert small_loss == pytest.approx(loss, rel=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(small_weights[name], value, atol=1e-5, rtol=1e-4)


def test_layers_that_cannot_read_packed_rows_get_one_example_a_row(tmp_path: Path) -> None:
    loss, weights = trained(tmp_path / "packed", 4)
    eager_loss, eager_weights = trained(tmp_path / "rows", 4, attn_implementation="eager")
    assert eager_loss == pytest.approx(loss, rel=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(eager_weights[name], value, atol=1e-5, rtol=1e-4)


def test_layers_of_another_kind_alone_are_known_not_to_attend_to_all_tokens() -> None:
    windowed = tiny_qwen3(layer_types=["sliding_attention"] * 2, sliding_window=4, use_sliding_window=True)
    assert "some layers" in why_not_packable(windowed)
    assert not why_not_packable(tiny_qwen3())
