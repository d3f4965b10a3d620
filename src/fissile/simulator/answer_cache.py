"""`AnswerCache`: what a server answered before, on disk, so that no question is paid for twice."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fissile.calls import JSON, canonical_json
from fissile.errors import RunError
from fissile.journal import JsonLines

logger = logging.getLogger(__name__)


_BEGINNING = b'{"key":"'


class AnswerCache:
    """Answers by the `key` of their request, in memory and in a JSON-lines file. Any number of threads may use it.

    Only answers are kept, never a failure. A line that a crash tore is dropped when the file is opened; a disk that
    cannot be written costs the later runs, not this one.

    Args:
        path: the file, made where it is missing; None keeps the answers in memory alone.

    Raises:
        RunError: the file cannot be opened, or holds something else than answers; it is left as it is.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._answers = {} if path is None else _read(path)
        self._lines = JsonLines(path) if path is not None else None

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


def _read(path: Path) -> dict[str, str]:
    """The answers of a file, without the line that a crash tore; none where there is no file."""
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}. Name another file as the cache.") from None
    answers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match _record(line):
            case {"key": str(key), "answer": str(answer)}:
                answers[key] = answer
            case _ if not (number >= len(lines) - 1 and _is_torn(line)):
                raise RunError(
                    f"{path}:{number} is no answer of a server, so this is no cache of answers, or a damaged one. "
                    "Delete that line, or name another file as cache."
                )
    return answers


def _record(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of an answer, or zeros, which a crash of the machine leaves."""
    is_whole = _record(line) is not None
    return not line.strip(b"\0") or (line.startswith(_BEGINNING[: len(line)]) and not is_whole)


def key(request: Mapping[str, JSON]) -> str:
    """32 hexadecimal digits: a hash of all that a request says (model, messages, temperature, limit of tokens, ...)."""
    text = canonical_json(dict(request))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
