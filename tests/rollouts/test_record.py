"""What a rollout's record says about itself."""

from __future__ import annotations

from dataclasses import replace

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange
from fissile.environments.base import Verdict
from fissile.errors import ErrorKind, ToolError
from fissile.rollouts import Completion, End, Rollout, Step
from tally_world import LIVE

ERROR = ToolError(ErrorKind.DOMAIN_ERROR, "no", 0)
WRONG = Verdict((ToolError(ErrorKind.WRONG_STATE, "wrong"),), "state")
FAILED = Attempt("f", (ToolCall("add", {}, "f"),), (ERROR,))
FINE = Attempt("g", (ToolCall("add", {"n": 1}, "g"),))
LAST = replace(LIVE, later=(), start=0)


def step(attempt: Attempt, turn: int = 0, task: object = LAST) -> Step:
    ended = tuple(Exchange(Attempt("")) for _ in range(turn))
    return Step(Context(task, (1,), ended), Completion((2,)), attempt)  # type: ignore[arg-type]


def test_a_single_step_rollout_is_its_attempt() -> None:
    single = replace(LAST, world=None)
    for attempt in (FINE, FAILED):
        record = Rollout((step(attempt, task=single),), verdicts=(Verdict(attempt.errors),), judged_at_once=True)
        assert record.correct is not attempt.failed
        assert record.outcome == record.attempt == attempt
        assert [pair[1] for pair in record.failures] == ([FAILED] if attempt.failed else [])


def test_a_right_outcome_has_no_errors_whatever_went_wrong_on_the_way() -> None:
    record = Rollout((step(FAILED), step(FINE)), verdicts=(Verdict(),))
    assert record.correct
    assert record.outcome == Attempt("f\ng", (*FAILED.calls, *FINE.calls))
    assert [attempt for _, attempt in record.failures] == [FAILED]


def test_a_wrong_outcome_has_those_of_the_judge_and_of_the_way() -> None:
    record = Rollout((step(FAILED), step(FINE)), verdicts=(WRONG,))
    assert record.outcome.errors == (*WRONG.errors, ERROR)


def test_a_rollout_that_was_cut_is_wrong_even_without_an_error() -> None:
    record = Rollout((step(FINE), step(FINE)), End.STEP_LIMIT)
    assert not record.correct
    assert record.outcome.error_kinds == (ErrorKind.TRUNCATED,)


def test_verdicts_are_counted_from_the_turn_in_which_it_began() -> None:
    late = Rollout((step(FINE, 2, LIVE),), verdicts=(Verdict(),))
    assert late.correct
    assert not Rollout((step(FINE, 1, LIVE),), verdicts=(Verdict(),)).correct
    blamed = Rollout((step(FINE, 1, LIVE), step(FINE, 2, LIVE)), verdicts=(Verdict(), WRONG), silent=(1,))
    ((at, attempt),) = blamed.failures
    assert at is blamed.steps[1]
    assert attempt == replace(FINE, errors=WRONG.errors)
