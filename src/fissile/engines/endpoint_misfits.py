"""`Misfits`: finds out that a server and a policy do not agree on where calls stand, which would count as no calls."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Collection

from fissile.dialects import get_dialect
from fissile.dialects.base import Dialect
from fissile.engines.openai_messages import ChatAnswer

logger = logging.getLogger(__name__)

NATIVE = "native"
"""Calls in the fields that the API has for them."""

FOREIGN, EMPTY, CUT = "foreign", "empty", "cut"
"""Calls in a format that no dialect reads; an answer with neither text nor calls; one that its limit left so."""

_SIGN = re.compile(
    r"<tool_call|<tool_use|<function[=_s]|<invoke |<start_function_call>|<.tool.call|<\|(tool|python_tag|action_start)"
    r"|<\|channel\|>commentary|\[TOOL_|functools\[|```tool|^\s*(```\w*\s*)?\[?\s*\{"
)
"""How models begin calls that a server's parser should have read (Qwen3-Coder, DeepSeek, GPT-OSS, Gemma, ...)."""

DIALECTS = ("hermes", "llama3_json", "mistral", "python")
"""Those that text is read with, the most distinct first."""

ENOUGH = 3
"""So many misread answers, and most of all, are told at once."""


class Misfits:
    """Watches a policy's answers, and says once what is wrong. Any number of threads may use it."""

    def __init__(self, dialect: Dialect | None) -> None:
        """`dialect` is what the policy's calls are read with; None for native calls."""
        self._dialect = dialect
        self._answers = 0
        self._misread: Counter[str] = Counter()
        self._is_told = False
        self._lock = threading.Lock()

    def look_at(self, answer: ChatAnswer, offered: Collection[str]) -> None:
        """Count an answer.

        Args:
            answer: of the server.
            offered: names of the tools that might have been called, as the server knows them and as they are.
        """
        written = self._written_as(answer, offered)
        with self._lock:
            self._answers += 1
            if written:
                self._misread[written] += 1
            is_telling = not self._is_told and self._misread.total() >= ENOUGH and bool(self._remark())
            self._is_told |= is_telling
        if is_telling:
            logger.warning("%s", self.remark)

    @property
    def remark(self) -> str:
        """What is wrong with most of the answers so far, and what to change; "" where nothing is."""
        with self._lock:
            return self._remark()

    def _remark(self) -> str:
        misread = self._misread.total()
        if 2 * misread <= self._answers:
            return ""
        share = f"ATTENTION: {misread} of {self._answers} answers"
        written = self._misread.most_common(1)[0][0]
        if written == NATIVE:
            return f"{share} hold native calls, which are not read as such. Read them: --dialect native."
        if written in (EMPTY, CUT):
            return f"{share} are empty, with neither text nor calls. {_EMPTY_ADVICE[written]}"
        if written == FOREIGN:
            return f"{share} hold what looks like tool calls as text, in a format that is not read. {_FOREIGN_ADVICE}"
        if self._dialect is not None:
            return (
                f"{share} hold tool calls of the dialect '{written}', which are not read in the dialect "
                f"'{self._dialect.name}'. They count as no calls. Name the model's own: --dialect {written}."
            )
        return (
            f"{share} hold tool calls as text ('{written}'), which the server does not turn into native calls. They "
            "count as no calls, and nothing is executed. Start the server with its tool parser (vLLM: "
            f"--enable-auto-tool-choice --tool-call-parser ...), or have the text read: --dialect {written}."
        )

    def _written_as(self, answer: ChatAnswer, offered: Collection[str]) -> str:
        """How calls are written that are not read; "" where there are none, or some are read."""
        if self._dialect is None and answer.calls:
            return ""
        if self._dialect is not None and self._dialect.parse(answer.content).calls:
            return ""
        if answer.calls:
            return NATIVE
        texts = (answer.content, answer.reasoning if self._dialect is None else "")
        found = next(filter(None, (_format_of(text, offered) for text in texts)), "")
        if not found and not answer.content.strip():
            return CUT if answer.truncated else EMPTY
        return found


def _format_of(text: str, offered: Collection[str]) -> str:
    """The dialect that calls in a text are written in, or `FOREIGN`; "" where there are none of offered tools."""
    for name in DIALECTS:
        calls = get_dialect(name).parse(text).calls
        if calls and all(call.is_well_formed and call.name in offered for call in calls):
            return name
    if _SIGN.search(text) and any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in offered):
        return FOREIGN
    return ""


_EMPTY_ADVICE = {
    EMPTY: "See what the server makes of the model's output: its chat template, its parsers of reasoning and of calls.",
    CUT: "They ended at the limit of a response, which reasoning counts in: raise --max-new-tokens.",
}

_FOREIGN_ADVICE = (
    "They count as no calls, and nothing is executed. Start the server with the tool parser of this model (vLLM: "
    "--enable-auto-tool-choice --tool-call-parser ...), and leave the calls to it: --dialect native."
)
