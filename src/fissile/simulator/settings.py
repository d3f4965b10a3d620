"""Settings of the simulators that feedback may come from: `learned` in this process, `endpoint` behind a server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fissile.engines.endpoint_settings import EndpointSettings


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnedSettings(_Section):
    """A local model with the adapter that `fissile simulate train` leaves."""

    model: str = Field("smollm2-135m", description="'smollm2-135m' (embedded), a Hugging Face id, or a local folder.")
    adapter: str | None = Field(None, description="The adapter, usually runs/simulator/adapter.")
    dtype: Literal["bfloat16", "float32", "auto"] = Field("bfloat16", description="Dtype of the weights.")
    max_new_tokens: int = Field(80, ge=8, description="Limit of a diagnosis.")


class ServedSettings(_Section):
    """A model behind an OpenAI-compatible server."""

    server: EndpointSettings = Field(description="Which server; patience is limited by deadline_seconds, too.")
    prompt_file: str | None = Field(None, description="Your own prompt instead of the package's (see docs).")
    temperature: float = Field(0.0, ge=0, description="Of sampling.")
    max_new_tokens: int = Field(120, ge=8, description="Limit of a diagnosis.")
    deadline_seconds: float = Field(
        30.0, gt=0, description="The diagnoses of one step take at most so long; what is late is diagnosed by rules."
    )
    max_calls: int | None = Field(None, ge=1, description="Budget of requests in a run, retries included.")
    cache: str | None = Field(
        None, description="A JSON-lines file of answers, read first and added to; by default in the run folder."
    )


class SimulatorSettings(_Section):
    """Where the feedback sources 'learned' and 'endpoint' find their models."""

    learned: LearnedSettings = LearnedSettings()
    endpoint: ServedSettings | None = Field(None, description="Needed for the source 'endpoint'.")
