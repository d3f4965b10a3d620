from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from fissile.config import ColdStartConfig
from fissile.training.supervised import Example, fine_tune
from tiny import tiny_tokenizer
from tiny_models import tiny_llama


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(1, 60, (n,), generator=generator).tolist() for n in (5, 9, 14, 7, 11, 6, 13, 8)]
    return [{"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]} for ids in drawn]


def trained(folder: Path, micro: int) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    policy: Any = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
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
