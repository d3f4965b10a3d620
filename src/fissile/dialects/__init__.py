"""Tool-call formats: how tools, calls and results are written, and how a response is read."""

from __future__ import annotations

from fissile.dialects.base import Dialect
from fissile.dialects.chat import ChatFormat, Tokenizer
from fissile.dialects.hermes import HermesDialect
from fissile.dialects.llama_json import LlamaJsonDialect
from fissile.dialects.mistral import MistralDialect
from fissile.dialects.python_calls import PythonDialect
from fissile.errors import ConfigError

__all__ = [
    "DIALECTS",
    "ChatFormat",
    "Dialect",
    "HermesDialect",
    "LlamaJsonDialect",
    "MistralDialect",
    "PythonDialect",
    "Tokenizer",
    "get_dialect",
]

_HERMES = HermesDialect()

DIALECTS: dict[str, Dialect] = {
    "hermes": _HERMES,
    "qwen3": _HERMES,
    "python": PythonDialect(),
    "llama3_json": LlamaJsonDialect(),
    "mistral": MistralDialect(),
}
"""Every dialect by its name; Qwen 3 writes Hermes calls."""


def get_dialect(name: str) -> Dialect:
    """The dialect of that name. Raises ConfigError: there is none; the message lists the names."""
    try:
        return DIALECTS[name]
    except KeyError:
        raise ConfigError(f"There is no dialect '{name}'. Choose one of: {', '.join(DIALECTS)}.") from None
