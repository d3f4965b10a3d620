"""Judging feedback sources: what each says of the same failures on unseen functions, without the guard and with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from fissile.calls import JSON
from fissile.feedback import Diagnoser, EnvironmentMessage, Failure, Feedback, FeedbackSource, LeakGuard, NoDiagnosis
from fissile.serial import to_json
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.simulator.quality import assess
from fissile.simulator.quality_report import summarize
from fissile.simulator.reply import Said
from fissile.statistics import proportion

BATCH = 16
"""Failures that a source is given at once, as many as a training step may intercept."""

CountTokens = Callable[[str], int]
"""A text's length in tokens."""


@runtime_checkable
class ExplainingSource(FeedbackSource, Protocol):
    """A source that says fields, too."""

    def explain(self, failures: Sequence[Failure]) -> Sequence[Said | NoDiagnosis]:
        """For each failure, in order, what `diagnose` gives the sentence of."""
        ...


@dataclass(frozen=True, slots=True)
class _Again:
    """A source that gives again what was said, all of it in the same order."""

    name: str
    said: Sequence[Said | NoDiagnosis]

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        return [one if isinstance(one, NoDiagnosis) else one.sentence for one in self.said]


def _explained(source: FeedbackSource, failures: Sequence[Failure]) -> Sequence[Said | NoDiagnosis]:
    if isinstance(source, ExplainingSource):
        return source.explain(failures)
    return [one if isinstance(one, NoDiagnosis) else Said(one) for one in source.diagnose(failures)]


def judge_source(
    source: FeedbackSource,
    rows: Sequence[DiagnosedFailure],
    count_tokens: CountTokens,
    progress: Callable[[int, int], None] = lambda done, total: None,
    is_timed: bool = True,
) -> tuple[dict[str, JSON], list[dict[str, JSON]]]:
    """What a source says of the rows' failures.

    Args:
        source: diagnoses them, `BATCH` at a time.
        rows: of the test side.
        count_tokens: for the speed.
        progress: called with (diagnosed, all) at first and after each batch.
        is_timed: report the speed, too; not that of a source that remembers its answers.

    Returns:
        The report, JSON-ready, and one record for each failure: its row's id, the text, what it is worth, and what the
        guard and the fallbacks made of it.
    """
    failures = [row.failure for row in rows]
    said: list[Said | NoDiagnosis] = []
    progress(0, len(failures))
    started = time.perf_counter()
    for start in range(0, len(failures), BATCH):
        said += _explained(source, failures[start : start + BATCH])
        progress(len(said), len(failures))
    seconds = time.perf_counter() - started
    diagnoser = Diagnoser(_Again(source.name, said))
    shown = diagnoser.diagnose(failures)
    guard = LeakGuard()
    leaking = [bool(guard.check(feedback.text, failure)) for feedback, failure in zip(shown, failures, strict=True)]
    given = [(one, row) for one, row in zip(said, rows, strict=True) if not isinstance(one, NoDiagnosis)]
    written = [one.sentence if one.fields is None else f"{one.fields.line}\n{one.sentence}" for one, _ in given]
    summary = summarize(
        [one for one, _ in given],
        [row.failure for _, row in given],
        real_messages(rows),
        [row.fault for _, row in given],
    )
    report: dict[str, JSON] = {
        "source": source.name,
        **summary,
        "non_leaking_after_guard": to_json(
            proportion((row.failure.task.id, not leaks, 1) for row, leaks in zip(rows, leaking, strict=True))
        ),
        "missing": dict(Counter(one.reason for one in said if isinstance(one, NoDiagnosis))),
        "leaks": dict(diagnoser.leaks),
        "diagnoses_per_second": len(said) / max(seconds, 1e-9) if is_timed else None,
        "tokens_per_second": sum(map(count_tokens, written)) / max(seconds, 1e-9) if is_timed else None,
    }
    records = [_record(*one) for one in zip(rows, said, shown, strict=True)]
    return report, records


def _record(row: DiagnosedFailure, said: Said | NoDiagnosis, shown: Feedback) -> dict[str, JSON]:
    """One failure, what was said of it, and what that is worth."""
    fields = None if isinstance(said, NoDiagnosis) else said.fields
    return {
        "row": row.id,
        "task_id": row.failure.task.id,
        "fault": row.fault,
        "kinds": [kind.value for kind in row.failure.attempt.error_kinds],
        "fields": fields and fields.line,
        "text": None if isinstance(said, NoDiagnosis) else said.sentence,
        "missing": said.reason if isinstance(said, NoDiagnosis) else "",
        "assessment": None if isinstance(said, NoDiagnosis) else asdict(assess(said, row.failure)),
        "shown": shown.text,
        "shown_source": shown.source,
        "taught": row.written,
    }


def real_messages(rows: Sequence[DiagnosedFailure]) -> list[str]:
    """What live worlds really said of the failures to which they objected."""
    objected = [row.failure for row in rows if row.failure.answers and not row.failure.silent]
    return EnvironmentMessage().diagnose(objected)


def unseen_only(tasks: Sequence[Any], rows: Sequence[DiagnosedFailure]) -> list[Any]:
    """The tasks that call no function which a training row's task calls."""
    seen = {name for row in rows if row.side == "train" for name in row.failure.task.functions}
    return [task for task in tasks if not task.functions & seen]
