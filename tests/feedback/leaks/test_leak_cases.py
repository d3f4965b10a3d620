"""The guard on its labelled set; `python -m benchmarks.guard` lists the cases that it gets wrong."""

from collections import Counter

import pytest
from benchmarks.guard import Case, check, load

CASES, FAILURES = load()


@pytest.fixture(scope="module")
def wrong() -> set[str]:
    return {checked.case.id for checked in check(CASES, FAILURES, rounds=0) if checked.is_wrong}


def of(leak: bool, split: str = "") -> list[Case]:
    return [case for case in CASES if case.leak is leak and split in ("", case.split)]


def test_the_set_is_as_described():
    assert len(CASES) >= 400
    assert 0.45 <= len(of(True)) / len(CASES) <= 0.55
    assert len({case.id for case in CASES}) == len(CASES)
    assert len({(case.failure, case.text) for case in CASES}) == len(CASES)
    assert {case.failure for case in CASES} == FAILURES.keys()
    assert {case.split for case in CASES} == {"dev", "held_out"}
    assert all(case.why and case.family.startswith("clean") is not case.leak for case in CASES)
    assert min(Counter(case.family for case in CASES).values()) >= 10


def test_most_failures_are_real():
    assert sum(failure.task.source == "bfcl" for failure in FAILURES.values()) >= 0.8 * len(FAILURES)


def test_at_least_99_of_100_leaks_are_caught(wrong):
    leaks = of(True)
    assert sum(case.id not in wrong for case in leaks) >= 0.99 * len(leaks)


def test_at_most_3_of_100_clean_messages_are_blocked(wrong):
    clean = of(False)
    assert sum(case.id in wrong for case in clean) <= 0.03 * len(clean)


@pytest.mark.parametrize("leak", [True, False])
def test_cases_that_the_guard_was_not_made_with(wrong, leak):
    held_out = of(leak, "held_out")
    assert len(held_out) >= 50
    assert sum(case.id not in wrong for case in held_out) >= 0.95 * len(held_out)
