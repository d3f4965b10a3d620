"""Tool-call formats: how tools, calls and results are written, and how a response is read."""

from __future__ import annotations

from fissile.dialects.base import Dialect
from fissile.dialects.chat import ChatFormat, Tokenizer
from fissile.dialects.dialect_names import DIALECTS, get_dialect
from fissile.dialects.hermes import HermesDialect
from fissile.dialects.llama_json import LlamaJsonDialect
from fissile.dialects.mistral import MistralDialect
from fissile.dialects.python_calls import PythonDialect

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
