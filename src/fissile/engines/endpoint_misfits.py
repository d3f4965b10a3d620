"""`Misfits`: finds out that a server and a policy do not agree on where calls stand, which would count as no calls."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection

from fissile.dialects import get_dialect
from fissile.dialects.base import Dialect
from fissile.engines.openai_messages import Answer

logger = logging.getLogger(__name__)

DIALECTS = ("hermes", "llama3_json", "mistral", "python")
"""Those that text is read with, the most distinct first."""

ENOUGH = 3
"""So many misread answers, and most of all, are no accident."""


class Misfits:
    """Watches a policy's answers, and says once what is wrong. Any number of threads may use it.

    Attributes:
        remark: what is wrong, and what to change; "" while nothing is.
    """

    def __init__(self, dialect: Dialect | None) -> None:
        """`dialect` is what the policy's calls are read with; None for native calls."""
        self.remark = ""
        self._is_native = dialect is None
        self._answers = 0
        self._misread: Counter[str] = Counter()
        self._lock = threading.Lock()

    def look_at(self, answer: Answer, offered: Collection[str]) -> None:
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
            misread = self._misread.total()
            if self.remark or misread < ENOUGH or 2 * misread <= self._answers:
                return
            self.remark = self._said(self._misread.most_common(1)[0][0], misread)
        logger.warning("%s", self.remark)

    def _written_as(self, answer: Answer, offered: Collection[str]) -> str:
        """How calls are written that are not read; "" where there are none."""
        if not self._is_native:
            return "native" if answer.calls and not answer.content.strip() else ""
        if answer.calls:
            return ""
        for text in filter(None, (answer.content, answer.reasoning)):
            for name in DIALECTS:
                calls = get_dialect(name).parse(text).calls
                if calls and all(call.is_well_formed and call.name in offered for call in calls):
                    return name
        return ""

    def _said(self, written: str, misread: int) -> str:
        share = f"{misread} of {self._answers} answers"
        if written == "native":
            return (
                f"ATTENTION: in {share} the server made native calls of the text, and they are not read. Use its native "
                "calls: --dialect native."
            )
        return (
            f"ATTENTION: {share} hold tool calls as text ('{written}') that the server does not turn into native calls. "
            "They count as no calls, and nothing is executed. Start the server with its tool parser (vLLM: "
            f"--enable-auto-tool-choice --tool-call-parser ...), or have the text read: --dialect {written}."
        )
