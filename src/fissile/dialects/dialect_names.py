"""Every dialect by its name: ours, and those of other packages."""

from __future__ import annotations

from fissile.dialects.base import Dialect
from fissile.registry import Registry

DIALECTS: Registry[Dialect] = Registry(
    "dialect",
    "fissile.dialects",
    {
        "hermes": "fissile.dialects.hermes:HermesDialect",
        "qwen3": "fissile.dialects.hermes:HermesDialect",
        "python": "fissile.dialects.python_calls:PythonDialect",
        "llama3_json": "fissile.dialects.llama_json:LlamaJsonDialect",
        "mistral": "fissile.dialects.mistral:MistralDialect",
    },
    Dialect,
)
"""Qwen 3 writes Hermes calls."""


def get_dialect(dialect: Dialect | str) -> Dialect:
    """The dialect of a name; a dialect that is an object is handed through.

    Raises:
        ConfigError: there is none of that name (the message lists all), or it cannot be used.
    """
    return DIALECTS.made(dialect) if isinstance(dialect, str) else dialect
