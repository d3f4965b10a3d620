"""What a model wrote as a diagnosis, made fit to be shown. Every source that is a model goes through here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from fissile.dialects.responses import THINK_TAGS, call_marks, split_response
from fissile.feedback import NoDiagnosis

MAX_LINES = 6
"""Lines of a diagnosis; what follows is talk."""

_REASONING: Mapping[str, str] = MappingProxyType(
    {**THINK_TAGS, "<thinking>": "</thinking>", "<thought>": "</thought>", "[THINK]": "[/THINK]"}
)
_NO_CALLS = call_marks(r"(?!)", _REASONING)

_MARKER = re.compile(
    r"<[|｜][^<>|｜\n]{1,60}[|｜]>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|</?tool_(?:call|response)>"
)
"""How the chat templates of common models mark turns and calls."""

_FENCE = re.compile(r"(`{3,}|~{3,})[\w-]*")


def diagnosis_of(reply: str) -> str | NoDiagnosis:
    """The diagnosis in a model's reply: plain printable text of up to `MAX_LINES` lines.

    Reasoning in tags, the fences of code blocks and the markers of chat templates are left out, and so is every
    character that cannot be seen. A reply without anything else is `NoDiagnosis("empty")`.
    """
    text = split_response(reply, _NO_CALLS, lambda text, mark: ((), mark.end()), _REASONING).content
    visible = "".join(map(_visible, text))
    lines = [" ".join(line.split()) for line in _MARKER.sub(" ", visible).split("\n")]
    said = [line for line in lines if line and not _FENCE.fullmatch(line)]
    return "\n".join(said[:MAX_LINES]) or NoDiagnosis("empty")


def _visible(letter: str) -> str:
    """White space stays (a tab as a space); what else cannot be printed joins what stands around it."""
    if letter.isprintable() or letter == "\n":
        return letter
    return "\n" if letter in "\r\v\f\x85\u2028\u2029" else " " if letter.isspace() else ""
