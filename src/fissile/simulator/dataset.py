"""The data of an error simulator: failures from corruption and from policies, diagnosed, balanced and split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.feedback import FIXED_MESSAGE, Diagnoser, FeedbackSource
from fissile.simulator.diagnosed_failure import DiagnosedFailure, FoundFailure, Side
from fissile.tasks import Task
from fissile.tasks.splits import components

FAILED = "failed: "
"""What the reasons begin with for which a teacher gave no diagnosis."""


def assign_sides(
    tasks: Sequence[Task], seen: frozenset[str], held_out: frozenset[str], seed: int = 0, test: float = 0.2
) -> dict[str, Side]:
    """Task id to side, so that no function of the test side is called in the training side.

    Args:
        tasks: all of them.
        seen: functions that belong to the training side.
        held_out: functions that belong to the test side.
        seed: of the draw for tasks that call neither.
        test: share of those for the test side.

    Returns:
        Tasks that call both, directly or through other tasks, are on no side and left out.
    """
    plain = [task for task in tasks if not (task.functions & seen and task.functions & held_out)]
    sides: dict[str, Side] = {}
    for group in components(plain):
        functions = frozenset[str]().union(*(task.functions for task in group))
        touches_seen, touches_held_out = bool(functions & seen), bool(functions & held_out)
        if touches_seen and touches_held_out:  # linked through a task of neither: keep what is clear
            sides |= {task.id: "train" for task in group if task.functions & seen}
            sides |= {task.id: "test" for task in group if task.functions & held_out}
        elif touches_seen or touches_held_out:
            sides |= {task.id: "train" if touches_seen else "test" for task in group}
        else:
            drawn = int(hashlib.sha256(f"{seed}/{min(task.id for task in group)}".encode()).hexdigest()[:8], 16)
            sides |= {task.id: "test" if drawn / 0x100000000 < test else "train" for task in group}
    return sides


def unseen_functions_only(found: Iterable[FoundFailure], left_out: Counter[str] | None = None) -> list[FoundFailure]:
    """No function that a test task must call is one that a training task must call, or that a training failure calls.

    Left out, and counted in `left_out`, are test failures of tasks that share a function with a training task, then
    training failures whose wrong call is one of a function of the test side.
    """
    listed = list(found)
    seen = {name for one in listed if one.side != "test" for name in one.failure.task.functions}
    apart = [one for one in listed if one.side != "test" or not one.failure.task.functions & seen]
    tested = {name for one in apart if one.side == "test" for name in one.failure.task.functions}
    kept = [
        one for one in apart if one.side == "test" or not tested & {call.name for call in one.failure.attempt.calls}
    ]
    if left_out is not None:
        left_out["a test failure at a function of the training side"] += len(listed) - len(apart)
        left_out["a training failure that calls a function of the test side"] += len(apart) - len(kept)
    return kept


def shortfalls(statistics: Mapping[str, Any]) -> list[str]:
    """One sentence for each side with fewer rows than were asked for; none in older data, which does not say."""
    asked: Mapping[str, int] = statistics.get("asked", {})
    made = {side: statistics["sides"].get(side, {}).get("rows", 0) for side in asked}
    return [
        f"{side}: {made[side]:,} of the {count:,} rows that were asked for. There were no more failures; see what was "
        "left out, or give more tasks or faults."
        for side, count in asked.items()
        if made[side] < count
    ]


def balanced(found: Iterable[FoundFailure], count: int) -> list[FoundFailure]:
    """At most `count` distinct failures, as even over their kinds as they allow; a draw that is always the same."""
    by_kind: defaultdict[str, dict[str, FoundFailure]] = defaultdict(dict)
    for one in found:
        by_kind[one.kind].setdefault(one.key, one)
    waiting = {kind: [group[key] for key in sorted(group)] for kind, group in sorted(by_kind.items())}
    chosen: list[FoundFailure] = []
    depth = 0
    while len(chosen) < count:
        round_ = [group[depth] for group in waiting.values() if depth < len(group)]
        if not round_:
            break
        chosen += round_[: count - len(chosen)]
        depth += 1
    return chosen


Choice = Callable[[FoundFailure], str]
"""Name of the teacher that diagnoses a failure."""


def diagnose_all(
    found: Sequence[FoundFailure],
    teachers: Mapping[str, FeedbackSource],
    choose: Choice,
    progress: Callable[[int, int], None] = lambda done, total: None,
    batch: int = 256,
) -> tuple[list[DiagnosedFailure], Counter[str]]:
    """Every failure with the diagnosis of its teacher, and how many got none, by reason.

    What the guard blocks, what its teacher failed on, and what nobody could tell from the fixed message teaches
    nothing and is left out, counted as "leak: ...", "failed: ..." or "nothing to say".
    """
    left_out: Counter[str] = Counter()
    rows: dict[int, DiagnosedFailure] = {}
    done = 0
    progress(done, len(found))
    chosen_by: defaultdict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        chosen_by[choose(one)].append(index)
    for name, source in teachers.items():
        diagnoser = Diagnoser(source)
        chosen = chosen_by[name]
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            said = diagnoser.diagnose([found[index].failure for index in part])
            for index, feedback in zip(part, said, strict=True):
                if feedback.leaked:
                    left_out[f"leak: {feedback.leaked}"] += 1
                elif feedback.fallback:
                    left_out[FAILED + feedback.fallback] += 1
                elif feedback.text == FIXED_MESSAGE:
                    left_out["nothing to say"] += 1
                else:
                    rows[index] = _diagnosed(found[index], feedback.text, name)
            done += len(part)
            progress(done, len(found))
    return [rows[index] for index in sorted(rows)], left_out


def _diagnosed(found: FoundFailure, diagnosis: str, teacher: str) -> DiagnosedFailure:
    held = {field.name: getattr(found, field.name) for field in fields(found)}
    return DiagnosedFailure(**held, diagnosis=diagnosis, teacher=teacher)


def statistics(rows: Sequence[DiagnosedFailure], left_out: Mapping[str, int]) -> dict[str, JSON]:
    """What the data holds, JSON-ready: counts by side, kind, origin, fault and teacher; functions and domains."""
    sides: dict[str, JSON] = {}
    for side in ("train", "validation", "test"):
        members = [row for row in rows if row.side == side]
        if members:
            sides[side] = {
                "rows": len(members),
                "tasks": len({row.failure.task.id for row in members}),
                "functions": len({name for row in members for name in row.failure.task.functions}),
                "kinds": _counted(row.failure.attempt.error_kinds[0].value for row in members),
                "faults": _counted(row.fault or "(a policy's own)" for row in members),
                "origins": _counted(row.origin.value for row in members),
                "teachers": _counted(row.teacher for row in members),
                "domains": _counted(row.domain or "(single step)" for row in members),
            }
    return {"rows": len(rows), "sides": sides, "left_out": dict(left_out)}


def read_rows(lines: Iterable[Mapping[str, JSON]], origin: str) -> list[DiagnosedFailure]:
    """The rows of a file.

    Raises:
        DataError: a line is no row.
    """
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(DiagnosedFailure.from_row(line))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{origin}:{number} is no row of simulator data ({error!r}). Make it with `fissile simulate data`."
            ) from None
    return rows


def _counted(values: Iterable[str]) -> dict[str, JSON]:
    return dict(Counter(values).most_common())
