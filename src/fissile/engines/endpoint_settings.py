"""`EndpointSettings`: which server answers, and how patient to be with it. Imports no client."""

from __future__ import annotations

import os
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fissile.calls import JSON
from fissile.errors import ConfigError

NO_KEY = "EMPTY"
"""What is sent where there is no key: local servers expect a key and accept any."""

LengthParameter = Literal["max_tokens", "max_completion_tokens"]
"""How a server calls the limit of a response."""

Omittable = Literal[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "provider_fields",
]
"""A part of a request that a server may refuse."""

API_PATH = "/chat/completions"
"""What the client adds to the address."""


class EndpointSettings(BaseModel):
    """A server with an OpenAI-compatible API. The key itself is no setting: it stays in the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str = Field(
        default="http://localhost:8000/v1", description="Where the API begins, usually ending in /v1."
    )
    model: str = Field(min_length=1, description="The model's name on the server.")
    key_variable: str = Field(
        default="OPENAI_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description=f"Environment variable that holds the key; '{NO_KEY}' is sent where it is unset.",
    )
    concurrency: int = Field(default=8, ge=1, description="Requests that run at once.")
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest time for one request, its whole answer included."
    )
    retries: int = Field(default=5, ge=0, description="Further tries of a request that failed for a passing reason.")
    backoff_seconds: float = Field(
        default=1.0, ge=0, description="Wait before the first retry; it doubles with each further."
    )
    max_wait_seconds: float = Field(
        default=60.0, ge=0, description="Longest wait before a retry, the server's wish included."
    )
    max_failures: int = Field(
        default=5, ge=1, description="The run ends after so many contexts in a row without an answer."
    )
    max_requests: int | None = Field(
        default=None, ge=1, description="The run ends after so many requests, retries included."
    )
    length_parameter: LengthParameter = Field(
        default="max_tokens",
        description="How the server calls the limit of a response: max_completion_tokens at OpenAI's own.",
    )
    omit: tuple[Omittable, ...] = Field(
        default=(),
        description="What the server refuses and is not sent: temperature, top_p, top_k, min_p, repetition_penalty, "
        "seed (it then samples with its own), max_tokens or max_completion_tokens (no limit is sent), provider_fields "
        "(the fields of its own, such as reasoning_content, that otherwise go back with each of its messages).",
    )
    extra_body: dict[str, Any] = Field(
        default={}, description="Further fields of each request, for what one server offers."
    )

    @field_validator("base_url")
    @classmethod
    def _is_plain_url(cls, url: str) -> str:
        url = url.strip()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url must begin with http:// or https:// and name a host")
        if parts.username or parts.password:
            raise ValueError("base_url must hold no user name or password; put the key into the environment")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("base_url has a port that is no number from 0 to 65535") from None
        if parts.path.rstrip("/").endswith(API_PATH):
            raise ValueError(f"base_url must not end in {API_PATH}, which is added; leave that out")
        return url

    @property
    def changed(self) -> dict[str, JSON]:
        """What of the requests is changed for the server's sake."""
        names = {"omit", "length_parameter", "extra_body"}
        return self.model_dump(mode="json", include=names, exclude_defaults=True)

    def key(self) -> str:
        """The key from the environment, `NO_KEY` where there is none.

        Raises:
            ConfigError: it cannot stand in a header.
        """
        key = os.environ.get(self.key_variable, "").strip() or NO_KEY
        if not all("!" <= letter <= "~" for letter in key):
            raise ConfigError(
                f"The key in {self.key_variable} holds a space or a character that no key has. Set it anew."
            )
        return key
