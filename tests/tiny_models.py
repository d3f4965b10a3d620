"""Two-layer random decoders with grouped-query attention, made in milliseconds and without any download."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

torch.set_num_threads(1)  # tiny products are faster without a second thread, much faster beside other work

TINY_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
    "attention_dropout": 0.0,
    "initializer_range": 0.4,
}


def tiny_llama(vocab_size: int = 61, seed: int = 0, **overrides: object) -> PreTrainedModel:
    """A random two-layer Llama in float32, in eval mode. 6 heads, 2 of keys and values."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **{**TINY_SHAPE, **overrides})).eval()


def tiny_qwen3(vocab_size: int = 61, seed: int = 0, **overrides: object) -> PreTrainedModel:
    """A random two-layer Qwen3 in float32, in eval mode. 6 heads, 2 of keys and values."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocab_size, **{**TINY_SHAPE, **overrides})).eval()
