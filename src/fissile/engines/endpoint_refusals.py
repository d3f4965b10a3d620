"""What a server says where it does not answer: its own words, whatever the form, and what to change about it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fissile.calls import JSON
from fissile.engines.endpoint_settings import LengthParameter, Omittable

WORDS = ("message", "msg", "detail", "error", "errors", "error_description", "reason", "title")
"""Fields in which servers put their words, the likeliest first."""

_TOO_LONG = {"code": "context_length_exceeded", "param": "input_tokens", "type": "exceed_context_size_error"}
"""Fields of an error by which servers say that a context is too long: OpenAI and vLLM, vLLM, llama.cpp."""

_STATUSES = {
    404: frozenset({"model_not_found", "not_found_error", "NotFoundError"}),
    401: frozenset({"invalid_api_key", "authentication_error", "AuthenticationError"}),
    403: frozenset({"permission_error", "permission_denied"}),
    429: frozenset({"rate_limit_exceeded", "rate_limit_error", "overloaded_error"}),
    400: frozenset({"invalid_request_error", "BadRequestError", "unsupported_parameter", "unsupported_value"}),
}
"""What servers call an error of a status, the telling ones first."""

QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
"""Codes and types of an error that no waiting mends: what was paid for is spent."""

FILTERED = "content_filter"
"""Code of an error, and reason of an answer's end: a filter of the provider's stood between."""

LENGTHS = get_args(LengthParameter)
"""How servers call the limit of a response."""


@dataclass(frozen=True)
class Refusal:
    """An error as a server words it.

    Attributes:
        words: its message.
        code: of the error, as text; "" where there is none.
        type: of the error.
        param: the parameter that it is about.
        is_page: it is a web page: not the API, but something before it has answered.
    """

    words: str
    code: str = ""
    type: str = ""
    param: str = ""
    is_page: bool = False

    @property
    def status(self) -> int | None:
        """The HTTP status that its code or type names; None where neither does."""
        if re.fullmatch(r"[45]\d\d", self.code):
            return int(self.code)
        return next((status for status, names in _STATUSES.items() if {self.code, self.type} & names), None)

    def is_too_long(self, status: int) -> bool:
        """By the error's fields; by its text only for servers that send none of them (older vLLM, SGLang)."""
        if status == 413 or any(getattr(self, name) == value for name, value in _TOO_LONG.items()):
            return True
        return status == 400 and self.code in ("", "400") and "context length" in self.words.lower()

    @property
    def is_filtered(self) -> bool:
        """A filter of the provider's objects to the context."""
        return FILTERED in (self.code, self.type)

    @property
    def is_spent(self) -> bool:
        """What was paid for is spent."""
        return bool(QUOTA & {self.code, self.type})

    def advice(self, sent: Collection[str], returned: Collection[str]) -> str:
        """What to change, where it names something of the request; else "".

        Args:
            sent: names of the request's fields.
            returned: names of the server's own fields that were sent back in messages.
        """
        named = [name for name in sent if self._names(name)]
        other = next((name for name in LENGTHS if name not in sent and self._names(name)), None)
        if other is not None and any(name in sent for name in LENGTHS):
            return f"Set length_parameter to {other} (--length-parameter {other})."
        if any(self._names(name) for name in returned):
            return "Put provider_fields into omit (--omit provider_fields)."
        if "tools" in sent and re.search(r"\btools?\b|tool_choice|tool choice", self.words):
            return "Start it with its tool calling, or let Fissile write the calls as text (--dialect hermes)."
        omittable = [name for name in named if name in get_args(Omittable)]
        return f"Put {omittable[0]} into omit (--omit {omittable[0]})." if omittable else ""

    def _names(self, name: str) -> bool:
        whole = rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])"
        return name == self.param or re.search(whole, self.words) is not None


def read_refusal(body: str) -> Refusal:
    """The error in the body of a response that is one, whatever its form."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return _of_text(body)
    return _of_json(fields) or Refusal(body.strip())


def error_inside(body: str) -> Refusal | None:
    """The error in the body of a response that pretends to be none; None where there is no error in it."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return _of_text(body) if _is_page(body) else None
    match fields:
        case {"error": error} if error:
            return _of_json(fields)
        case {"choices": [{"error": error}, *_]} if error:
            return _of_json({"error": error})
        case {"choices": _}:
            return None
        case list() | {"object": "error"} | {"detail": _} | {"message": _} | {"errors": _} | {"msg": _}:
            return _of_json(fields)
    return None


def _of_json(fields: JSON) -> Refusal | None:
    """None where it holds no words."""
    if isinstance(fields, list) and fields:
        fields = fields[0]  # as Google writes it
    if isinstance(fields, str):
        return Refusal(fields)
    if not isinstance(fields, Mapping):
        return None
    inner = fields.get("error")
    error: Mapping[str, Any] = inner if isinstance(inner, Mapping) else fields
    words = _words(error) or _words(fields)
    if not words:
        return None
    code, kind, param = (_scalar(error.get(name)) for name in ("code", "type", "param"))
    return Refusal(words, code or _scalar(error.get("status_code")), kind, param)


def _words(value: JSON, depth: int = 0) -> str:
    """The words in an error of any form: a text, or the likeliest field, or all of a list."""
    if depth > 6:
        return ""
    match value:
        case str():
            return value.strip()
        case list():
            return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:5])))
        case Mapping():
            said = next((found for name in WORDS if (found := _words(value.get(name), depth + 1))), "")
            place = value.get("loc")
            return f"{'.'.join(map(str, place))}: {said}" if said and isinstance(place, list) else said
    return ""


def _scalar(value: JSON) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _is_page(body: str) -> bool:
    return re.match(r"\s*(<!doctype|<html|<\?xml|<head|<body)", body, re.IGNORECASE) is not None


def _of_text(body: str) -> Refusal:
    """Of a body that is no JSON: a text, or a web page, of which its title and text are kept."""
    if not _is_page(body):
        return Refusal(body.strip())
    text = body[:20_000]
    title = re.search(r"<title[^>]*>([^<]*)</title>", text, re.IGNORECASE)
    bare = re.sub(r"<(script|style|title)\b.*?</\1\s*>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    parts = [html.unescape(part) for part in (title[1] if title else "", bare)]
    said = " - ".join(filter(None, (" ".join(part.split()) for part in parts)))
    return Refusal(f"a web page: {said or 'empty'}", is_page=True)
