"""A truth that is replayed turn by turn, and the one order in which a turn is compared with it."""

import gc
from collections import Counter

import pytest

from fissile.environments.base import MISSING_RESULT, NO_CALL, WRONG_STATE
from fissile.environments.replay import AfterTurn, PerTask, Words, replayed
from fissile.errors import ErrorKind
from tiny import squares

WORDS = Words("nothing was called.", "it is not as wanted.", "something is missing.")
TRUTH = AfterTurn(Counter({"read a": 2}), "right")


def test_a_truth_leaves_its_results_and_a_state_after_each_turn():
    log: list[str] = []

    def run(call: str) -> str:
        log.append(call)
        return f"did {call}"

    turns = replayed([["a", "a"], [], ["b"]], run, lambda: tuple(log))
    assert [turn.results for turn in turns] == [Counter({"did a": 2}), Counter(), Counter({"did b": 1})]
    assert [turn.state for turn in turns] == [("a", "a"), ("a", "a"), ("a", "a", "b")]


@pytest.mark.parametrize(
    ("called", "state", "given", "reason", "kind", "message"),
    [
        (False, "wrong", {}, NO_CALL, ErrorKind.MISSING_CALL, "nothing was called."),
        (True, "wrong", {"read a": 2}, WRONG_STATE, ErrorKind.WRONG_STATE, "it is not as wanted."),
        (True, "right", {"read a": 1}, MISSING_RESULT, ErrorKind.MISSING_CALL, "something is missing."),
    ],
)
def test_a_turn_is_wrong_in_one_of_three_ways(called, state, given, reason, kind, message):
    verdict = WORDS.judge(TRUTH, called, Counter(given), state.__eq__)
    assert (verdict.reason, [(error.kind, error.message) for error in verdict.errors]) == (reason, [(kind, message)])


def test_more_results_than_the_truths_are_right():
    assert WORDS.judge(TRUTH, True, Counter({"read a": 3, "read b": 1}), "right".__eq__).valid


def test_what_is_made_of_a_task_is_kept_for_as_long_as_the_task():
    made: list[str] = []
    per_task = PerTask(lambda task: made.append(task.id) or len(made))
    (first, second) = squares(2)
    assert [per_task(first), per_task(second), per_task(first)] == [1, 2, 1]
    del first
    gc.collect()
    assert len(per_task._made) == 1
