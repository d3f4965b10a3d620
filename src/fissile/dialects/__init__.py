"""Tool-call formats: how tools, calls and results are written, and how a response is read."""

from __future__ import annotations

from fissile.dialects.base import Dialect
from fissile.dialects.chat import ChatFormat, Tokenizer
from fissile.dialects.hermes import HermesDialect
from fissile.errors import ConfigError

__all__ = ["DIALECTS", "ChatFormat", "Dialect", "HermesDialect", "Tokenizer", "get_dialect"]

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (HermesDialect(),)}
"""Every dialect by its name."""


def get_dialect(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        ConfigError: there is none; the message lists the names.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        raise ConfigError(f"There is no dialect '{name}'. Choose one of: {', '.join(DIALECTS)}.") from None
