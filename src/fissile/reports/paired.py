"""The same held-out episodes before and after a stage: what was gained and what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fissile.reports.run_lines import EpisodeOutcome

Episodes = Mapping[tuple[str, int], EpisodeOutcome]
"""(task id, number among the task's episodes) to what came of it."""


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """Episodes by whether they were right before and after.

    Attributes:
        title: which attempt is compared.
        both: right before and after.
        gained: wrong before, right after.
        lost: right before, wrong after.
        neither: wrong before and after.
    """

    title: str
    both: int
    gained: int
    lost: int
    neither: int


def numbered(outcomes: Sequence[EpisodeOutcome]) -> Episodes:
    """Outcomes by task, numbered in the order in which they stand, which is the same in every stage."""
    met: dict[str, int] = {}
    episodes: dict[tuple[str, int], EpisodeOutcome] = {}
    for outcome in outcomes:
        number = met.get(outcome.task_id, 0)
        met[outcome.task_id] = number + 1
        episodes[outcome.task_id, number] = outcome
    return episodes


def pairings(before: Episodes, after: Episodes) -> list[BeforeAfter]:
    """First and last attempts of the episodes that are in both; none if there is no such episode."""
    common = [(before[key], after[key]) for key in before.keys() & after.keys()]
    if not common:
        return []
    return [
        _pairing("First attempt", [(one.first_right, other.first_right) for one, other in common]),
        _pairing("Last attempt", [(one.final_right, other.final_right) for one, other in common]),
    ]


def _pairing(title: str, pairs: Sequence[tuple[bool, bool]]) -> BeforeAfter:
    return BeforeAfter(
        title, *(pairs.count(pair) for pair in ((True, True), (False, True), (True, False), (False, False)))
    )
