"""What became of the intercepted failures, and how old the used ones were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fissile.reports.run_lines import Fission
from fissile.reports.run_record import RunRecord

FATES = (
    ("deduplicated", "met before in this run, left out"),
    ("used", "fissioned: recoveries were sampled from it"),
    ("stale", "grew older than the staleness limit, dropped"),
    ("evicted", "pushed out of a full buffer"),
)
"""Keys of the buffer's counts, and what they mean; with those still waiting they add up to "intercepted"."""


@dataclass(frozen=True, slots=True)
class Fate:
    """How many intercepted failures met it."""

    name: str
    meaning: str
    count: int


def correction_counts(run: RunRecord) -> dict[str, int]:
    """The buffer's counts at the end: of the summary, and of the last step that logged them."""
    logged = (
        {key.removeprefix("corrections/"): int(value)}
        for step in run.steps
        for key, value in step.figures.items()
        if key.startswith("corrections/")
    )
    counts: dict[str, int] = {}
    for entry in logged:
        counts |= entry
    summary = run.summary.get("corrections")
    if isinstance(summary, Mapping):
        counts |= {str(name): int(count) for name, count in summary.items() if isinstance(count, int | float)}
    return counts


def fates(counts: Mapping[str, int]) -> list[Fate]:
    """Where the intercepted failures went; those that are still waiting last."""
    known = [Fate(name, meaning, counts[name]) for name, meaning in FATES if name in counts]
    if "intercepted" in counts and len(known) == len(FATES):
        waiting = counts["intercepted"] - sum(fate.count for fate in known)
        known.append(Fate("waiting", "still in the buffer at the end", waiting))
    return known


def staleness_counts(fissions: tuple[Fission, ...]) -> list[int]:
    """How many corrections were used at a staleness of 0, 1, 2, ... steps."""
    counted = Counter(max(0, fission.staleness) for fission in fissions)
    return [counted[age] for age in range(max(counted, default=-1) + 1)]


def feedback_counts(run: RunRecord) -> dict[str, int]:
    """Diagnoses by source, most frequent first."""
    return dict(Counter(interception.source for interception in run.interceptions).most_common())


def fallback_counts(run: RunRecord) -> dict[str, int]:
    """Failures that the run's source gave no diagnosis for, by reason; empty while the run is not finished."""
    feedback = run.summary.get("feedback")
    counted = feedback.get("fallbacks") if isinstance(feedback, Mapping) else None
    if not isinstance(counted, Mapping):
        return {}
    return {str(reason): count for reason, count in counted.items() if isinstance(count, int)}
