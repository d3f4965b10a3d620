"""Which engine samples: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import nn

from fissile.config import EngineConfig
from fissile.config.engine import ENGINES
from fissile.dialects import ChatFormat
from fissile.engines import Engine, Sampling, TransformersEngine
from fissile.engines.vllm import VLLMEngine
from fissile.engines.vllm_runtime import VLLMRuntime, VLLMSettings, require_vllm
from fissile.rollouts import Completion, StopReason

if TYPE_CHECKING:
    from trl import GRPOTrainer

EngineMaker = Callable[[nn.Module, ChatFormat], Engine]
"""(policy, chat format) -> an engine that samples from the policy as it is at each call."""


def transformers_engine(policy: nn.Module, chat: ChatFormat, config: EngineConfig) -> Engine:
    """Samples with transformers."""
    return TransformersEngine(
        policy,
        chat.end_ids,
        chat.tokenizer.pad_token_id or 0,
        config.max_rows,
        remembered_tokens=config.remembered_tokens,
    )


def vllm_engine(policy: nn.Module, chat: ChatFormat, config: EngineConfig) -> Engine:
    """Samples with vLLM; equal settings share one."""
    settings = VLLMSettings(config.max_model_len, config.kv_cache_gb, config.max_rows, config.compile)
    return VLLMEngine(policy, chat.end_ids, vllm_runtime(settings))


@cache
def vllm_runtime(settings: VLLMSettings) -> VLLMRuntime:
    """The vLLM of these settings, started when it first samples."""
    return VLLMRuntime(settings)


class Engines:
    """The engines of a run, as its `[engine]` table asks for them. All stages share one vLLM."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        """Nothing is started yet.

        Raises:
            ConfigError: vLLM is asked for and not installed.
        """
        self.config = config or EngineConfig()
        if self.config.name == "vllm":
            require_vllm()

    def over(self, policy: nn.Module, chat: ChatFormat, remember: bool = False) -> Engine:
        """An engine in this process. On an accelerator never vLLM, which belongs to TRL's trainer there.

        Args:
            policy: what samples.
            chat: knows the tokens that end a completion.
            remember: later prompts will continue earlier ones under the same weights, as in an evaluation.
        """
        config = self.config if remember else self.config.model_copy(update={"remembered_tokens": 0})
        by_trl = config.name == "vllm" and torch.accelerator.is_available()
        engine: Engine = ENGINES.get("transformers" if by_trl else config.name)(policy, chat, config)
        return engine

    def trl_settings(self) -> dict[str, Any]:
        """What `GRPOConfig` must be told: on an accelerator, vLLM samples through TRL's own integration."""
        if self.config.name != "vllm" or not torch.accelerator.is_available():
            return {}
        return {
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_max_model_length": self.config.max_model_len,
            "vllm_gpu_memory_utilization": self.config.gpu_memory_utilization,
        }


REMEMBERED_SHARE = 0.25
"""Share of the free memory that remembered keys and values may take."""


def affordable_tokens(model: Any) -> int:
    """Tokens whose keys and values fit into `REMEMBERED_SHARE` of the memory that is free where the model lies."""
    shape = model.config.get_text_config()
    heads = getattr(shape, "num_key_value_heads", None) or shape.num_attention_heads
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    weight = next(model.parameters())
    token = 2 * shape.num_hidden_layers * heads * width * weight.element_size()
    free = torch.cuda.mem_get_info(weight.device)[0] if weight.is_cuda else psutil.virtual_memory().available
    return int(REMEMBERED_SHARE * free / token)


class TRLEngine:
    """TRL's own generation: vLLM in process or as a server, with TRL's weight sync.

    Samples with whatever the trainer's `GRPOConfig` asks for; its sampling settings are the config's. Log-probabilities
    are those of the distribution sampled from, as TRL's importance-sampling correction wants them.
    """

    def __init__(self, trainer: GRPOTrainer) -> None:
        self._trainer = trainer

    @classmethod
    def ending_at(cls, end_ids: Iterable[int], trainer: GRPOTrainer) -> TRLEngine:
        """One that stops where the chat format's turns end; by itself vLLM knows the model's own end tokens only."""
        trainer.vllm_generation.generation_kwargs.setdefault("stop_token_ids", sorted(end_ids))
        return cls(trainer)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """See `Engine.generate`; `sampling.max_new_tokens` tells a finished completion from a cut one."""
        rows = [list(prompt) for prompt in prompts for _ in range(samples)]
        completions, logprobs = self._trainer._generate_single_turn(rows, None, {}, samples)
        ends = set(self._trainer.eos_token_ids)
        return [
            Completion(tuple(ids), tuple(scores), StopReason.END if ids and ids[-1] in ends else StopReason.LENGTH)
            for ids, scores in zip(completions, logprobs or [()] * len(completions), strict=True)
        ]
