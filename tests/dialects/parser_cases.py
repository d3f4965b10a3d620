"""Responses that the parsers of TRL and vLLM must read as ours do."""

from __future__ import annotations

import json

from fissile.dialects import Dialect

Calls = list[tuple[str, dict[str, object]]]

QUOTES = {"text": 'say "hi", it\'s 5 > 3; {x} [y] \\n', "é": "ü\n\t", "": ""}
NESTED = {"filters": [{"status": None, "on": [True, False]}, []], "limit": -2.5e-3, "id": 12345678901234567890}

ONE: list[Calls] = [
    [("f", {})],
    [("get_weather", {"city": "Paris", "days": 3})],
    [("f", {key: QUOTES[key] for key in ("text",)})],
    [("f", NESTED)],
]
"""Every format can write them."""
SEVERAL: list[Calls] = [[("f", {"a": 1}), ("g", {})], [("f", {"a": 1})] * 3]
NO_CALL = ["", "Hello.", "The area (in m²) is 4: see [1] and {2}.", "I cannot do that; which city?"]


def decoded(arguments: object) -> object:
    """Arguments as a foreign parser gives them: an object, or its JSON text."""
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def ours(dialect: Dialect, text: str) -> list[tuple[str | None, object]]:
    """The calls that `dialect` reads."""
    return [(call.name, call.arguments) for call in dialect.parse(text).calls]
