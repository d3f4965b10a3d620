"""Which fissions are worth a reader's time, and how a group of recoveries folds into branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fissile.calls import Attempt
from fissile.reports.run_lines import Fission, Recovery, RecoveryStep

TREES = 8
"""Fissions shown on a page."""


class RecoveryVerdict(StrEnum):
    """What a recovery came to; the value is the word on the page."""

    RIGHT = "right"
    WRONG = "wrong"
    REPEAT = "same call again"
    UNSCORED = "no reward"

    @property
    def sign(self) -> str:
        """One character, so that colour is never the only sign."""
        return {"right": "✓", "wrong": "✗", "same call again": "↻", "no reward": "?"}[self.value]


@dataclass(frozen=True, slots=True)
class FoldedRecovery:
    """Recoveries of one group with the same texts, and the same answers of the world.

    Attributes:
        attempt: of the first of them.
        steps: its responses.
        verdict: what they came to.
        reward: of each of them; None where the engine failed.
        count: how many they are.
    """

    attempt: Attempt
    steps: tuple[RecoveryStep, ...]
    verdict: RecoveryVerdict
    reward: float | None
    count: int


def choose_trees(fissions: Sequence[Fission], limit: int = TREES) -> list[Fission]:
    """At most `limit` informative fissions, newest first.

    Always in it, where there is one: the newest, the newest with both right and wrong recoveries, the newest with a
    right one, the newest without. The rest have the widest spread of rewards, other tasks before tasks that are in
    already, newer before older.
    """
    newest = sorted(range(len(fissions)), key=lambda index: (-fissions[index].step, -index))
    demanded: tuple[Callable[[Fission], bool], ...] = (
        lambda fission: True,
        lambda fission: 0 < fission.right < len(fission.recoveries),
        lambda fission: fission.right > 0,
        lambda fission: fission.right == 0,
    )
    firsts = (next((index for index in newest if is_wanted(fissions[index])), None) for is_wanted in demanded)
    chosen = dict.fromkeys(index for index in firsts if index is not None)
    widest = sorted(newest, key=lambda index: -fissions[index].spread)  # stable: newer before older
    tasks = {fissions[index].task_id for index in chosen}
    for index in widest:
        if fissions[index].task_id not in tasks:
            tasks.add(fissions[index].task_id)
            chosen.setdefault(index)
    ranked = list(chosen | dict.fromkeys(widest))
    return [fissions[index] for index in newest if index in ranked[:limit]]


def branches(fission: Fission) -> list[FoldedRecovery]:
    """The recoveries of a fission, equal ones folded, the highest reward first and unscored ones last."""
    groups: dict[tuple[RecoveryVerdict, tuple[tuple[str, tuple[str, ...]], ...]], list[Recovery]] = {}
    for recovery in fission.recoveries:
        said = tuple((step.attempt.text, step.results) for step in recovery.responses)
        groups.setdefault((verdict(recovery), said), []).append(recovery)
    folded = [
        FoldedRecovery(members[0].attempt, members[0].responses, group_verdict, members[0].reward, len(members))
        for (group_verdict, _), members in groups.items()
    ]
    return sorted(folded, key=lambda branch: (branch.reward is None, -(branch.reward or 0.0)))


def verdict(recovery: Recovery) -> RecoveryVerdict:
    """What a recovery came to."""
    if recovery.reward is None:
        return RecoveryVerdict.UNSCORED
    if not recovery.attempt.failed:
        return RecoveryVerdict.RIGHT
    return RecoveryVerdict.REPEAT if recovery.repeat else RecoveryVerdict.WRONG
