"""`Diagnoser`: a feedback source under the leak guard, with what stands in where the source fails.

A source may be a model in this process or behind a network, and may do whatever it likes: raise, hang up, answer with
nothing, with too little, with something else. No failure of it stops or spoils what it diagnoses for. A failure
without a usable text of the source is diagnosed by `rules`; where these have nothing to say, by the fixed message.
Both ways are counted by reason, and told in the log: the first time, and when nothing but failures comes.

What the user must change before anything can work (a missing file, table or adapter) is an `InputError` where a source
is *made*, before any diagnosis. Here even that is a reason like any other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fissile.calls import JSON, shorten
from fissile.errors import InfrastructureError, RunError
from fissile.feedback.base import Failure, Feedback, FeedbackSource, NoDiagnosis
from fissile.feedback.fixed import FIXED_MESSAGE, FixedMessage
from fissile.feedback.leaks.guard import MAX_CHARACTERS, LeakGuard
from fissile.feedback.phrasebooks import RULES
from fissile.feedback.source_names import get_source

logger = logging.getLogger(__name__)

LOUD = 10
"""After so many diagnoses in a row without a text of the source's own, the log says so."""

MAX_REASON = 60
"""Longest reason that is counted, in characters."""


MAX_WORDS = 300
"""Longest message of a failed source that the log repeats, in characters."""


class Diagnoser:
    """Diagnoses failures with a source, and never fails.

    Attributes:
        source: is asked for every diagnosis; given as an object or by its name.
        stand_in: diagnoses what the source does not; behind it stands the fixed message.
        guard: checks every text but the fixed message, which depends on nothing.
        diagnosed: failures so far.
        leaks: those for which the guard blocked the source's text, by `Leak`.
        fallbacks: those for which the source gave no text, by reason: that of its `NoDiagnosis` or
            `InfrastructureError`, the name of another exception, "wrong_count", "not_a_text", "empty" or "too_long".
        seconds: spent on all of them.
    """

    def __init__(self, source: FeedbackSource | str, stand_in: FeedbackSource = RULES) -> None:
        self.source = source = get_source(source)
        self.stand_in = FixedMessage() if stand_in.name == source.name else stand_in
        self.guard = LeakGuard()
        self.diagnosed = 0
        self.leaks: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.seconds = 0.0
        self._failing = 0
        self._lock = threading.Lock()

    def diagnose(self, failures: Sequence[Failure]) -> list[Feedback]:
        """One diagnosis for each failure, in order: the source's, or what stands in for it. Never raises."""
        if not failures:
            return []
        began = time.perf_counter()
        said = self._ask(failures)
        with self._lock:  # the rollouts of an endpoint's policy ask from threads of their own
            made = [self._checked(text, failure) for text, failure in zip(said, failures, strict=True)]
            self.seconds += time.perf_counter() - began
        return made

    def report(self) -> dict[str, JSON]:
        """What became of all diagnoses, JSON-ready: the source's name, their number, leaks and fallbacks by reason."""
        return {"source": self.source.name, **self.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        return {"diagnosed": self.diagnosed, "leaks": dict(self.leaks), "fallbacks": dict(self.fallbacks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`. Raises RunError: these are no counts."""
        try:
            self.diagnosed = int(state["diagnosed"])
            self.leaks = Counter({str(reason): int(count) for reason, count in state["leaks"].items()})
            self.fallbacks = Counter({str(reason): int(count) for reason, count in state["fallbacks"].items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"The checkpoint's counts of diagnoses cannot be read ({error!r}). Resume from another one."
            ) from error

    def _ask(self, failures: Sequence[Failure]) -> list[Any]:
        """What the source says to each failure: whatever it gave for it, or why it gave nothing for any."""
        try:
            said: list[Any] = list(self.source.diagnose(failures))
            if len(said) == len(failures):
                return said
            nothing = NoDiagnosis("wrong_count", f"{len(said)} texts for {len(failures)} failures")
        except InfrastructureError as error:
            nothing = NoDiagnosis(error.reason, str(error))
        except Exception as error:  # whatever a source does, the training goes on
            nothing = NoDiagnosis(type(error).__name__, str(error))
            logger.debug("The source '%s' failed.", self.source.name, exc_info=True)
        return [nothing] * len(failures)

    def _checked(self, said: Any, failure: Failure) -> Feedback:
        """The source's text if it may be shown, otherwise what stands in for it."""
        self.diagnosed += 1
        if unusable := _unusable(said):
            self._count(self.fallbacks, unusable, said.words if isinstance(said, NoDiagnosis) else "")
            return self._stand_in_for(failure, fallback=unusable)
        if leak := self._leak(said, failure):
            self._count(self.leaks, leak)
            return self._stand_in_for(failure, leaked=leak)
        self._failing = 0
        return Feedback(said, self.source.name)

    def _leak(self, text: str, failure: Failure) -> str:
        """Why the guard blocks `text`, "" if it does not. What it cannot read it does not let pass."""
        if text == FIXED_MESSAGE:
            return ""
        try:
            return self.guard.check(text, failure)
        except Exception as error:
            logger.warning("The leak guard failed on a text of %d characters: %r", len(text), error)
            return type(error).__name__

    def _stand_in_for(self, failure: Failure, leaked: str = "", fallback: str = "") -> Feedback:
        """The diagnosis of `stand_in` if it has one that may be shown, otherwise the fixed message."""
        try:
            (said,) = self.stand_in.diagnose([failure])
        except Exception as error:
            logger.warning("The source '%s', which stands in, failed: %r", self.stand_in.name, error)
            said = FIXED_MESSAGE
        if isinstance(said, NoDiagnosis) or said == FIXED_MESSAGE or _unusable(said) or self._leak(said, failure):
            return Feedback(FIXED_MESSAGE, FixedMessage.name, leaked, fallback)
        return Feedback(said, self.stand_in.name, leaked, fallback)

    def _count(self, counts: Counter[str], reason: str, words: str = "") -> None:
        """Count a failure of the source, and say so the first time, with its words, and when nothing else comes."""
        counts[reason] += 1
        self._failing += 1
        if counts is self.fallbacks and counts[reason] == 1:
            logger.warning(
                "The feedback source '%s' gave no diagnosis (%s); '%s' stands in.",
                self.source.name,
                f"{reason}: {shorten(said, MAX_WORDS)}" if (said := " ".join(words.split())) else reason,
                self.stand_in.name,
            )
        if self._failing == LOUD:
            logger.warning(
                "The last %d diagnoses were not those of the feedback source '%s' (the latest reason: %s). What is "
                "learned is what '%s' says.",
                LOUD,
                self.source.name,
                reason,
                self.stand_in.name,
            )


def stood_in(report: Mapping[str, Any]) -> tuple[int, int]:
    """(diagnoses that were not the source's own, all of them) in what `Diagnoser.report` gave; (0, 0) in none."""
    missing = sum(count for kind in ("leaks", "fallbacks") for count in report.get(kind, {}).values())
    return missing, report.get("diagnosed", 0)


def _unusable(said: Any) -> str:
    """Why what a source gave is no diagnosis, "" if it is one."""
    match said:
        case NoDiagnosis(reason):
            return str(reason)[:MAX_REASON] or "no_reason"
        case str() if len(said) > MAX_CHARACTERS:
            return "too_long"
        case str():
            return "" if said.strip() else "empty"
        case _:
            return "not_a_text"
