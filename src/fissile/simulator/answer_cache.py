"""`AnswerCache`: what a server answered before, on disk, so that no question is paid for twice."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from fissile.calls import JSON, canonical_json
from fissile.errors import RunError
from fissile.journal import JsonLines

logger = logging.getLogger(__name__)


class AnswerCache:
    """Answers by the `key` of their request, in memory and in a JSON-lines file. Any number of threads may use it.

    Only answers are kept, never a failure. A line that a crash tore is dropped when the file is opened; a disk that
    cannot be written costs the later runs, not this one.

    Args:
        path: the file, made where it is missing; None keeps the answers in memory alone.

    Raises:
        RunError: the file cannot be opened, or a line before the last one is not a JSON object.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._lines = JsonLines(path) if path is not None else None
        self._answers: dict[str, str] = {}
        for record in self._lines.records() if self._lines is not None else ():
            match record:
                case {"key": str(key), "answer": str(answer)}:
                    self._answers[key] = answer

    def __len__(self) -> int:
        """Answers that are known."""
        return len(self._answers)

    def get(self, key: str) -> str | None:
        """The answer to that request, None where it is not known."""
        with self._lock:
            return self._answers.get(key)

    def put(self, key: str, answer: str) -> None:
        """Keep an answer. The first one to a request is kept for good."""
        with self._lock:
            if key in self._answers:
                return
            self._answers[key] = answer
            try:
                if self._lines is not None:
                    self._lines.append({"key": key, "answer": answer})
            except (RunError, OSError) as error:
                logger.warning("Answers are kept in memory alone from now on: %s", error)
                self._lines = None


def key(request: Mapping[str, JSON]) -> str:
    """32 hexadecimal digits: a hash of all that a request says (model, messages, temperature, limit of tokens, ...)."""
    text = canonical_json(dict(request))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
