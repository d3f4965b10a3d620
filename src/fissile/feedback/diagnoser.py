"""`Diagnoser`: a feedback source under the leak guard, with what stands in where the source fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fissile.errors import InfrastructureError, InputError
from fissile.feedback.base import Failure, Feedback, FeedbackSource
from fissile.feedback.fixed import FIXED_MESSAGE
from fissile.feedback.guard import LeakGuard


class Diagnoser:
    """Diagnoses failures with a source, and never fails.

    Attributes:
        source: writes the diagnoses.
        guard: checks every one of them.
        leaks: blocked texts by `Leak`.
        fallbacks: failures that got the fixed message because their source failed, by reason: that of an
            `InfrastructureError`, "wrong_count", or the name of the exception.
    """

    def __init__(self, source: FeedbackSource) -> None:
        self.source = source
        self.guard = LeakGuard()
        self.leaks: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()

    def diagnose(self, failures: Sequence[Failure]) -> list[Feedback]:
        """The source's diagnoses, in order, each replaced by the fixed message if it leaks or the source fails.

        Raises:
            InputError: the source says that the user must change something.
        """
        try:
            texts = self.source.diagnose(failures)
        except InputError:
            raise
        except InfrastructureError as error:
            return self._fall_back(error.reason, failures)
        except Exception as error:  # whatever a source does, training goes on
            return self._fall_back(type(error).__name__, failures)
        if len(texts) != len(failures):
            return self._fall_back("wrong_count", failures)
        return [self._guarded(text, failure) for text, failure in zip(texts, failures, strict=True)]

    def _guarded(self, text: str, failure: Failure) -> Feedback:
        leak = self.guard.check(text, failure)
        if not leak:
            return Feedback(text, self.source.name)
        self.leaks[leak] += 1
        return Feedback(FIXED_MESSAGE, self.source.name, leak)

    def _fall_back(self, reason: str, failures: Sequence[Failure]) -> list[Feedback]:
        self.fallbacks[reason] += len(failures)
        return [Feedback(FIXED_MESSAGE, "fixed")] * len(failures)
