"""The leak guard on its labelled set: leaks caught, clean messages blocked, and the time that it takes.

python -m benchmarks.guard

The set is `tests/feedback/leaks/leak_cases.jsonl`, written and labelled by the guard's definition. The first half was
written before this guard. Three parts were written without looking at what the guard says and scored once: it was made
better with the misses of the first two, which belong to "dev" since then; the third is "held_out" and decided nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import machine
from fissile.feedback import Failure, LeakGuard
from fissile.serial import from_json
from fissile.statistics import Ratio, proportion

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests" / "feedback" / "leaks" / "leak_cases.jsonl"
FAILURES = ROOT / "tests" / "feedback" / "leaks" / "leak_failures.jsonl"
RESULT = ROOT / "docs" / "results" / "leak-guard.json"

ROUNDS = 5
"""Times that every message is checked for the timing; the fastest counts."""


@dataclass(frozen=True, slots=True)
class Case:
    """A message with its label.

    Attributes:
        id: unique.
        split: "dev", which the guard was made with, or "held_out".
        leak: the label.
        family: the way of leaking, or what makes it look like a leak.
        failure: id of the failure that the message answers.
        text: the message.
        why: a note on the label.
    """

    id: str
    split: str
    leak: bool
    family: str
    failure: str
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A case and what the guard said.

    Attributes:
        case: the case.
        reason: the `Leak`, "" for none.
        milliseconds: of processor time for one check.
    """

    case: Case
    reason: str
    milliseconds: float

    @property
    def is_wrong(self) -> bool:
        """True for a missed leak and for a blocked clean message."""
        return bool(self.reason) != self.case.leak


def load() -> tuple[list[Case], dict[str, Failure]]:
    """The labelled set, and the failures that it refers to by their ids."""
    cases = [Case(**json.loads(line)) for line in CASES.read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in FAILURES.read_text(encoding="utf-8").splitlines()]
    return cases, {row["id"]: from_json(Failure, row["failure"]) for row in rows}


def check(cases: Sequence[Case], failures: dict[str, Failure], rounds: int = ROUNDS) -> Iterator[Checked]:
    """Every case under the guard."""
    guard = LeakGuard()
    for case in cases:
        reason = guard.check(case.text, failures[case.failure])
        times = [_milliseconds(guard, case.text, failures[case.failure]) for _ in range(rounds)]
        yield Checked(case, reason, min(times, default=0.0))


def _milliseconds(guard: LeakGuard, text: str, failure: Failure) -> float:
    began = time.process_time_ns()
    guard.check(text, failure)
    return (time.process_time_ns() - began) / 1e6


def figures(checked: Sequence[Checked]) -> dict[str, Any]:
    """Leaks caught and clean messages blocked, with Wilson's 95 % interval."""
    leaks = [(one.case.id, bool(one.reason), 1) for one in checked if one.case.leak]
    clean = [(one.case.id, bool(one.reason), 1) for one in checked if not one.case.leak]
    told = {"leaks_caught": (leaks, proportion(leaks)), "clean_blocked": (clean, proportion(clean))}
    return {name: share(ratio) for name, (cases, ratio) in told.items() if cases}


def share(ratio: Ratio) -> dict[str, Any]:
    """A share, JSON-ready."""
    low, high = ratio.low, ratio.high
    return {"count": ratio.num, "of": ratio.den, "share": ratio.rate, "low": low, "high": high}


def report(checked: Sequence[Checked]) -> dict[str, Any]:
    """All figures: by split, by family and split, the wrong cases, the time."""
    families = sorted({one.case.family for one in checked}, key=lambda name: (name.startswith("clean"), name))
    splits = ("dev", "held_out")
    times = sorted(one.milliseconds for one in checked)
    return {
        "all": figures(checked),
        **{split: figures([one for one in checked if one.case.split == split]) for split in splits},
        "families": {
            family: {
                split: figures([one for one in checked if (one.case.family, one.case.split) == (family, split)])
                for split in splits
            }
            for family in families
        },
        "wrong": [{**asdict(one.case), "guard": one.reason} for one in checked if one.is_wrong],
        "milliseconds": {
            "median": statistics.median(times),
            "mean": statistics.fmean(times),
            "p99": times[int(0.99 * (len(times) - 1))],
            "most": times[-1],
        },
    }


def table(told: dict[str, Any]) -> Iterator[str]:
    """The report as lines of text."""
    for part in ("all", "dev", "held_out"):
        yield f"{part:<10}" + "   ".join(f"{name} {_line(value)}" for name, value in told[part].items())
    yield ""
    for family, splits in told["families"].items():
        cells = [f"{split} {_line(value)}" for split, values in splits.items() for value in values.values()]
        yield f"{family:<22}" + "   ".join(cells)
    yield ""
    for case in told["wrong"]:
        verdict = f"blocked as {case['guard']}" if case["guard"] else "missed"
        yield f"{verdict}: {case['id']} ({case['split']}, {case['failure']}) {case['text']!r}: {case['why']}"
    yield "milliseconds a message: " + ", ".join(f"{name} {value:.2f}" for name, value in told["milliseconds"].items())


def _line(value: dict[str, Any]) -> str:
    if value["of"] < 30:
        return f"{value['count']}/{value['of']}"
    return f"{value['count']}/{value['of']} = {value['share']:.1%} [{value['low']:.1%}, {value['high']:.1%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    told = report(list(check(*load())))
    RESULT.write_text(
        json.dumps({"table": "guard", **told, "machine": machine([], "benchmarks.guard")}, indent=2, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )
    print(*table(told), sep="\n")


if __name__ == "__main__":
    main()
