"""What a model wrote as a diagnosis, made fit to be shown. Every source that is a model goes through here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fissile.dialects.responses import THINK_TAGS, call_marks, split_response
from fissile.feedback import NoDiagnosis
from fissile.simulator.typed import Fields, is_like_fields, read_fields

MALFORMED = frozenset({"empty", "no_fields", "no_sentence", "fields_in_sentence"})
"""Reasons of a reply that is no diagnosis."""

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


@dataclass(frozen=True, slots=True)
class Said:
    """A diagnosis.

    Attributes:
        sentence: what the policy reads: plain printable text of up to `MAX_LINES` lines.
        fields: what it says as fields; None for free text.
    """

    sentence: str
    fields: Fields | None = None


def said_in(reply: str, needs_fields: bool) -> Said | NoDiagnosis:
    """The diagnosis in a model's reply. Never raises, in time linear in the reply.

    Reasoning in tags, the fences of code blocks and the markers of chat templates are left out, and so is every
    character that cannot be seen.

    Args:
        reply: of the model.
        needs_fields: free text is none, since the model was taught to begin with fields.

    Returns:
        `NoDiagnosis` with a reason: "empty"; "no_fields", where the first line is none of fields and has to be, or
        looks like one and is of another form; "no_sentence"; "fields_in_sentence", where more of them follow.
    """
    text = split_response(reply, _NO_CALLS, lambda text, mark: ((), mark.end()), _REASONING).content
    visible = "".join(map(_visible, text))
    lines = [" ".join(line.split()) for line in _MARKER.sub(" ", visible).split("\n")]
    said = [line for line in lines if line and not _FENCE.fullmatch(line)]
    if not said:
        return NoDiagnosis("empty")
    fields = read_fields(said[0])
    if fields is None and (needs_fields or is_like_fields(said[0])):
        return NoDiagnosis("no_fields")
    sentence = said[fields is not None :][:MAX_LINES]
    if not sentence:
        return NoDiagnosis("no_sentence")
    if any(map(is_like_fields, sentence)):
        return NoDiagnosis("fields_in_sentence")
    return Said("\n".join(sentence), fields)


def _visible(letter: str) -> str:
    """White space stays (a tab as a space); what else cannot be printed joins what stands around it."""
    if letter.isprintable() or letter == "\n":
        return letter
    return "\n" if letter in "\r\v\f\x85\u2028\u2029" else " " if letter.isspace() else ""
