"""vLLM as an engine, in this process: continuous batching, paged attention and prefix caching, on a CPU too.

On GPUs a trainer uses TRL's integration of vLLM instead (`fissile.training.engine_choice`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from fissile.engines.base import Sampling, check_lengths
from fissile.engines.vllm_runtime import VLLMRuntime
from fissile.errors import InfrastructureError, ModelError
from fissile.kernels.adapters import bare_model
from fissile.rollouts import Completion, StopReason

_HOTTEST = 2.0
_COOLEST = 0.01
"""vLLM refuses higher temperatures."""


class VLLMEngine:
    """Samples from a policy of transformers that is trained in this process.

    Each call computes with the policy's weights of that moment, adapters merged as `TransformersEngine` merges them. A
    completion depends on the seed, its place among the completions and its prompt; on the other prompts up to
    rounding. The policy and the global random states are never touched.
    """

    def __init__(self, model: nn.Module, end_ids: Iterable[int], runtime: VLLMRuntime | None = None) -> None:
        """Wrap a policy. vLLM starts with the first call.

        Args:
            model: a causal language model of transformers that vLLM knows, bare or wrapped by PEFT or accelerate.
            end_ids: tokens that end a completion.
            runtime: the vLLM to use; several engines may share it. A new one by default.

        Raises:
            ModelError: the model is not a causal language model of transformers.
        """
        self._model = bare_model(model)
        self._end_ids = frozenset(end_ids)
        self._runtime = runtime or VLLMRuntime()

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """See `fissile.engines.base.Engine`. Log-probabilities are at temperature 1, without filters.

        Raises:
            ConfigError: vLLM is not installed.
            ModelError: a prompt is empty or too long, no token may be sampled, the temperature exceeds 2 or is near 0,
                or vLLM cannot run the model.
            InfrastructureError: vLLM failed (reason "vllm"); the next call starts another one.
        """
        check_lengths(prompts, sampling, self._runtime.max_length(self._model))
        if sampling.temperature > _HOTTEST:
            raise ModelError(
                f"vLLM samples at temperatures up to {_HOTTEST:g}, not at {sampling.temperature:g}. Lower the "
                "temperature, or set engine.name = 'transformers'."
            )
        if 0 < sampling.temperature < _COOLEST:
            raise ModelError(
                f"vLLM samples at {_COOLEST:g} where a temperature between 0 and {_COOLEST:g} is asked for, such as "
                f"{sampling.temperature:g}. Set the temperature to 0 (greedy) or to {_COOLEST:g}, or set engine.name = "
                "'transformers'."
            )
        repeated = [prompt for prompt in prompts for _ in range(samples)]
        if not repeated:
            return []
        self._runtime.load(self._model)
        try:
            outputs = self._runtime.sample(repeated, self._parameters(sampling, len(repeated)))
        except Exception as error:  # whatever it is, it says nothing about the policy
            self._runtime.close()
            raise InfrastructureError("vllm", f"vLLM failed: {type(error).__name__}: {error}") from error
        return [self._completion(output) for output in outputs]

    def _parameters(self, sampling: Sampling, count: int) -> list[dict[str, Any]]:
        """Arguments of vLLM's `SamplingParams`; each completion has a seed of its own."""
        shared = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "stop_token_ids": sorted(self._end_ids),
            "ignore_eos": True,
            "logprobs": 0,  # of the sampled token alone
            "detokenize": False,
        }
        return [{**shared, "seed": seed} for seed in random.Random(sampling.seed).sample(range(1 << 31), count)]

    def _completion(self, output: Any) -> Completion:
        ids = tuple(output.token_ids)
        if output.finish_reason not in {"stop", "length"}:
            return Completion.of_failure("vllm", f"a completion ended with '{output.finish_reason}'")
        logprobs = tuple(step[token].logprob for step, token in zip(output.logprobs, ids, strict=True))
        return Completion(ids, logprobs, StopReason.END if ids[-1] in self._end_ids else StopReason.LENGTH)
