"""Judging feedback sources: what each says of the same failures on unseen functions, without the guard and with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fissile.calls import JSON
from fissile.feedback import Diagnoser, EnvironmentMessage, Failure, FeedbackSource, LeakGuard, NoDiagnosis
from fissile.simulator.quality import assess
from fissile.simulator.quality_report import summarize
from fissile.simulator.record import DiagnosedFailure
from fissile.statistics import proportion

BATCH = 16
"""Failures that a source is given at once, as many as a training step may intercept."""

CountTokens = Callable[[str], int]
"""A text's length in tokens."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A source that says again what was said; in the order in which it was."""

    name: str
    texts: Mapping[int, str | NoDiagnosis]

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        return [self.texts[id(failure)] for failure in failures]


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
    said: list[str | NoDiagnosis] = []
    progress(0, len(failures))
    started = time.perf_counter()
    for start in range(0, len(failures), BATCH):
        said += source.diagnose(failures[start : start + BATCH])
        progress(len(said), len(failures))
    seconds = time.perf_counter() - started
    replay = _Said(source.name, {id(failure): text for failure, text in zip(failures, said, strict=True)})
    diagnoser = Diagnoser(replay)
    shown = diagnoser.diagnose(failures)
    guard = LeakGuard()
    leaking = [bool(guard.check(feedback.text, failure)) for feedback, failure in zip(shown, failures, strict=True)]
    given = [(text, row) for text, row in zip(said, rows, strict=True) if not isinstance(text, NoDiagnosis)]
    texts = [text for text, _ in given]
    summary = summarize(texts, [row.failure for _, row in given], real_messages(rows), [row.fault for _, row in given])
    report: dict[str, JSON] = {
        "source": source.name,
        **summary.to_dict(),
        "non_leaking_after_guard": proportion(
            (row.failure.task.id, not leaks, 1) for row, leaks in zip(rows, leaking, strict=True)
        ).to_dict(),
        "missing": dict(Counter(text.reason for text in said if isinstance(text, NoDiagnosis))),
        "leaks": dict(diagnoser.leaks),
        "diagnoses_per_second": len(said) / max(seconds, 1e-9) if is_timed else None,
        "tokens_per_second": sum(map(count_tokens, texts)) / max(seconds, 1e-9) if is_timed else None,
    }
    records = [
        {
            "row": row.id,
            "task_id": row.failure.task.id,
            "fault": row.fault,
            "kinds": [kind.value for kind in row.failure.attempt.error_kinds],
            "text": None if isinstance(text, NoDiagnosis) else text,
            "missing": text.reason if isinstance(text, NoDiagnosis) else "",
            "assessment": None if isinstance(text, NoDiagnosis) else assess(text, row.failure).to_dict(),
            "shown": feedback.text,
            "shown_source": feedback.source,
            "taught": row.diagnosis,
        }
        for row, text, feedback in zip(rows, said, shown, strict=True)
    ]
    return report, records


def real_messages(rows: Sequence[DiagnosedFailure]) -> list[str]:
    """What live worlds really said of the failures to which they objected."""
    objected = [row.failure for row in rows if row.failure.answers and not row.failure.silent]
    return EnvironmentMessage().diagnose(objected)


def unseen_only(tasks: Sequence[Any], rows: Sequence[DiagnosedFailure]) -> list[Any]:
    """The tasks that call no function which a training row's task calls."""
    seen = {name for row in rows if row.side == "train" for name in row.failure.task.functions}
    return [task for task in tasks if not task.functions & seen]
