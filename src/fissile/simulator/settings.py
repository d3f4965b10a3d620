"""Settings of the simulators that feedback may come from: `learned` in this process, `endpoint` behind a server."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fissile.calls import JSON
from fissile.engines.endpoint_settings import EndpointSettings

CACHE = "simulator_cache.jsonl"
"""Where a run folder keeps the answers of the source 'endpoint'."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnedSettings(_Section):
    """A local model with the adapter that `fissile simulate train` leaves."""

    model: str = Field(
        default="smollm2-135m", description="'smollm2-135m' (embedded), a Hugging Face id, or a local folder."
    )
    adapter: str | None = Field(default=None, description="The adapter, usually runs/simulator/adapter.")
    dtype: Literal["bfloat16", "float32", "auto"] = Field(default="bfloat16", description="Dtype of the weights.")
    template_options: dict[str, JSON] = Field(
        default={}, description="Variables of the chat template, such as {enable_thinking = false} for Qwen 3."
    )
    max_new_tokens: int = Field(default=128, ge=8, description="Limit of a diagnosis, its fields included.")


class DiagnosingServer(EndpointSettings):
    """A server that writes diagnoses: nobody waits for it as long as for a policy, and no run ends with it."""

    timeout_seconds: float = Field(
        default=20.0, gt=0, description="Longest time for one request, its whole answer included."
    )
    retries: int = Field(default=2, ge=0, description="Further tries of a request that failed for a passing reason.")
    backoff_seconds: float = Field(
        default=0.5, ge=0, description="Wait before the first retry; it doubles with each further one."
    )
    max_failures: int = Field(
        default=5, ge=1, description="After so many failures in a row the server is left alone for cool_down_seconds."
    )
    max_requests: int | None = Field(default=None, ge=1, description="As max_calls, which is the better place for it.")


class ServedSettings(_Section):
    """A model behind an OpenAI-compatible server."""

    server: DiagnosingServer = Field(description="Which server; patience is limited by deadline_seconds, too.")
    prompt_file: str | None = Field(default=None, description="Your own prompt instead of the package's (see docs).")
    temperature: float = Field(default=0.0, ge=0, description="Of sampling.")
    max_new_tokens: int = Field(default=160, ge=8, description="Limit of a diagnosis, its fields included.")
    deadline_seconds: float = Field(
        default=30.0,
        gt=0,
        description="The diagnoses of one step take at most so long (so long for each server.concurrency of them, as "
        "long as answers come); what is late is diagnosed by rules.",
    )
    cool_down_seconds: float = Field(
        default=60.0,
        ge=0,
        description="A server that is gone, hangs or refuses is tried again after so long; after twice as long with "
        "each vain try, up to 16 times.",
    )
    max_calls: int | None = Field(
        default=None, ge=1, description="Budget of requests, retries included, of one start of the command."
    )
    cache: str | None = Field(
        default=None, description="A JSON-lines file of answers, read first and added to; by default in the run folder."
    )


class SimulatorSettings(_Section):
    """Where the feedback sources 'learned' and 'endpoint' find their models."""

    learned: LearnedSettings = LearnedSettings()
    endpoint: ServedSettings | None = Field(default=None, description="Needed for the source 'endpoint'.")

    def shaping(self, sources: Container[str]) -> dict[str, JSON]:
        """What decides the texts of those of `sources` that are models, JSON-ready.

        Left out is where the server stands, how patient one is with it, and where its answers are kept.
        """
        shaping: dict[str, JSON] = {}
        if "learned" in sources:
            shaping["learned"] = self.learned.model_dump(mode="json")
        if "endpoint" in sources and self.endpoint is not None:
            endpoint, server = self.endpoint, self.endpoint.server
            shaping["endpoint"] = {
                **endpoint.model_dump(mode="json", include={"prompt_file", "temperature", "max_new_tokens"}),
                **server.model_dump(mode="json", include={"model", "omit", "extra_body"}),
            }
        return shaping
