"""What a feedback source is: it turns a failed attempt into the text that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fissile.calls import Attempt, FailedTurn
from fissile.tasks import Task, said


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt and what a diagnosis may be made of.

    Attributes:
        task: the task with its ground truth; in a live world what the turn at hand poses (`Task.at_turn`).
        attempt: what the policy wrote, with its errors.
        history: the failed attempts before it, oldest first.
        answers: what the world answered to each call of the attempt; empty where nothing was executed.
        shown: everything else that the policy was shown or wrote before, one text each.
        silent: no tool objected; the judge found the errors at the end of the turn.
    """

    task: Task
    attempt: Attempt
    history: tuple[FailedTurn, ...] = ()
    answers: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    silent: bool = False

    @property
    def visible_text(self) -> str:
        """All text that the policy has been shown or wrote, apart from the tools; the world's answers among it."""
        turns = [f"{turn.attempt.text}\n{turn.feedback}" for turn in self.history]
        return "\n".join([*map(said, self.task.messages), *self.shown, *turns, self.attempt.text, *self.answers])


@dataclass(frozen=True, slots=True)
class NoDiagnosis:
    """What a source gives for a failure that it has no text for; the other failures keep theirs.

    Attributes:
        reason: a short key for counting ("timeout", "budget", ...).
        words: what was said of it, for the log: the message of an exception, or of a server.
    """

    reason: str
    words: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A diagnosis.

    Attributes:
        text: what the policy reads.
        source: the source that wrote it ("fixed", "rules", ...): the one that was asked, or what stood in for it.
        leaked: why the leak guard blocked the text of the source that was asked, "" if it did not.
        fallback: why the source that was asked gave no text, "" if it did.
    """

    text: str
    source: str
    leaked: str = ""
    fallback: str = ""


@runtime_checkable
class FeedbackSource(Protocol):
    """Where a diagnosis comes from. It may see the ground truth; what it writes must not hand it over."""

    @property
    def name(self) -> str:
        """Unique among the sources; it stands in every record and table that the feedback enters."""
        ...

    def diagnose(self, failures: Sequence[Failure]) -> Sequence[str | NoDiagnosis]:
        """One text for each failure, in order; `NoDiagnosis` where there is none."""
        ...
