"""The protocol, with real children that only sleep or fail."""

import sys
from pathlib import Path

import pytest
from benchmarks.arms import Arm, in_turn, measure

ROOT = Path(__file__).parents[2]

CHILD = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.arms import Channel, Stopped
channel = Channel.claim()
print("a library prints")
try:
    {{body}}
except Stopped:
    channel.finish()
"""

STEADY = "channel.repeat(lambda: None, threads=1)"
ALTERNATING = """channel.ready()
    for number in range(99):
        channel.wait()
        channel.report(1.0 + number % 2, kind=["explore", "fission"][number % 2])"""
FAILS_AT_ONCE = "raise SystemExit('no memory')"
FAILS_LATER = """channel.ready()
    channel.wait()
    channel.report(1.0)
    channel.wait()
    raise SystemExit('no memory')"""


def arm(name: str, body: str, *kinds: str) -> Arm:
    return Arm(name, (sys.executable, "-c", CHILD.format(body=body)), kinds or ("",))


def test_every_arm_runs_once_a_round_after_a_warm_up() -> None:
    said: list[str] = []
    found = measure([arm("a", STEADY), arm("b", ALTERNATING, "explore", "fission")], 3, 60, said.append)
    assert {label: len(replies) for label, replies in found.rounds.items()} == {"a": 3, "b explore": 3, "b fission": 3}
    assert [reply["seconds"] for reply in found.rounds["b fission"]] == [2.0, 2.0, 2.0]
    assert sum("warm-up" in text for text in said) == 3
    assert found.facts["a"] == {"threads": 1}
    assert min(found.peaks["a"], found.peaks["b"]) > 1e6
    assert found.notes == []


@pytest.mark.parametrize(("body", "rounds"), [(FAILS_AT_ONCE, 0), (FAILS_LATER, 0)])
def test_an_arm_that_fails_is_named_and_the_others_go_on(body: str, rounds: int) -> None:
    found = measure([arm("bad", body), arm("good", STEADY)], 2, 60)
    assert len(found.rounds["good"]) == 2
    assert len(found.rounds["bad"]) == rounds
    assert "bad" not in found.peaks
    (note,) = found.notes
    assert "bad failed" in note
    assert "no memory" in note


def test_a_round_goes_on_until_each_kind_was_done() -> None:
    found = measure([arm("a", ALTERNATING, "fission", "explore")], 2, 60)
    assert [reply["kind"] for reply in found.rounds["a fission"]] == ["fission"] * 2
    assert [reply["kind"] for reply in found.rounds["a explore"]] == ["explore"] * 2


def test_a_kind_that_never_comes_is_a_failure() -> None:
    found = measure([arm("a", STEADY, "fission")], 1, 60)
    assert found.rounds == {"a fission": []}
    assert "where ['fission'] were due" in found.notes[0]


def test_a_spent_budget_leaves_one_counted_round_and_a_note() -> None:
    found = measure([arm("a", STEADY)], 5, 0)
    assert len(found.rounds["a"]) == 1
    assert "1 of 5 rounds" in found.notes[0]


def test_another_arm_begins_each_round() -> None:
    arms = [arm(name, STEADY) for name in "abc"]
    assert ["".join(each.name for each in in_turn(arms, number)) for number in range(4)] == ["abc", "bca", "cab", "abc"]
    assert in_turn([], 3) == []
