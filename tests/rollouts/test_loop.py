"""The state machine between policy and world, one response at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from fissile.calls import JSON, ParsedResponse, ToolCall, ToolResult
from fissile.contexts import Context
from fissile.corrections import corrective_context
from fissile.engines.token_policy import TokenWriter
from fissile.environments.base import Answer, Environment, Verdict
from fissile.environments.single_step import SingleStep
from fissile.errors import ErrorKind, InfrastructureError, ToolError
from fissile.rollouts import Completion, End, OpenRollout, Response, Rollout, StopReason
from fissile.tasks import Task
from rollouts.playing import (
    CHAT,
    CUT,
    DOUBLE,
    FOUR,
    LOST,
    MALFORMED,
    OFFICIAL,
    RECOVERY,
    STOP,
    begun,
    calls,
    length,
    run,
    said,
)
from tally_world import LIVE, Tally


def kinds(record: Rollout) -> list[list[str]]:
    return [[kind.value for kind in step.attempt.error_kinds] for step in record.steps]


def test_a_right_episode() -> None:
    rollout = begun()
    record = run(FOUR, STOP, STOP, DOUBLE, calls(5), STOP, rollout=rollout)
    assert rollout.context is None
    assert (record.correct, record.end, record.silent) == (True, End.DONE, ())
    assert [step.context.turn for step in record.steps] == [0, 0, 1, 2, 2, 2]
    assert [step.context.state for step in record.steps] == [0, 4, 4, 4, 8, 13]
    assert [step.changed for step in record.steps] == [True, False, False, True, True, False]
    assert [result.content for result in record.steps[0].results] == ["1", "3", "4"]
    assert not record.outcome.failed
    with pytest.raises(ValueError, match="is over"):
        rollout.answer(said(STOP))


def test_a_malformed_call_is_answered_or_ends_the_turn() -> None:
    record = run(MALFORMED)
    (step,) = record.steps
    assert kinds(record) == [["malformed_call"]]
    assert "cannot be parsed" in step.results[0].content
    rollout = begun(errors=OFFICIAL)
    record = run(MALFORMED, rollout=rollout)
    assert kinds(record) == [["malformed_call"]]
    assert record.steps[0].results == ()
    assert rollout.context is not None
    assert (rollout.context.turn, len(record.verdicts)) == (1, 1)


def test_the_well_formed_calls_beside_a_malformed_one() -> None:
    both = f"{calls(1)}\n{MALFORMED}"
    rollout = begun()
    (step,) = run(both, rollout=rollout).steps
    assert [result.error is None for result in step.results] == [True, False]
    assert [error.call_index for error in step.attempt.errors] == [1]
    assert (step.changed, rollout.environment.snapshot()) == (True, 1)
    rollout = begun(errors=OFFICIAL)
    run(both, rollout=rollout)
    assert rollout.environment.snapshot() == 0


@pytest.mark.parametrize(("text", "index"), [(CUT, 0), ("I think", None), (f"{calls(1)}\n{CUT}", 1)])
def test_a_cut_response(text: str, index: int | None) -> None:
    rollout = begun()
    (step,) = run(said(text, StopReason.LENGTH), rollout=rollout).steps
    assert [(error.kind, error.call_index) for error in step.attempt.errors] == [(ErrorKind.TRUNCATED, index)]
    assert step.attempt.truncated
    assert "length limit" in step.results[-1].content
    assert rollout.context is not None
    assert (rollout.context.turn, rollout.context.depth) == (0, 1)
    official = begun(errors=OFFICIAL)
    assert kinds(run(said(text, StopReason.LENGTH), rollout=official)) == [["truncated"]]
    assert official.context is not None
    assert official.context.turn == 1


def test_a_cut_response_whose_calls_are_complete_is_executed() -> None:
    (step,) = run(said(FOUR, StopReason.LENGTH)).steps
    assert (step.attempt.failed, step.attempt.truncated, step.changed) == (False, True, True)


def test_a_held_out_tool_is_refused_until_it_is_revealed() -> None:
    rollout = begun()
    (step,) = run(DOUBLE, rollout=rollout).steps
    assert [(error.kind, error.tool) for error in step.attempt.errors] == [(ErrorKind.UNKNOWN_TOOL, "double")]
    assert step.results[0].content == "Error: no tool is named 'double'."
    assert run(FOUR, STOP, STOP, DOUBLE, calls(5), STOP, rollout=rollout).correct
    permissive = begun(errors=OFFICIAL)
    assert not run(calls(2), DOUBLE, rollout=permissive).steps[-1].attempt.failed
    assert permissive.environment.snapshot() == 4


def test_a_long_name_is_shortened_in_its_message() -> None:
    (step,) = run(calls(1, name="x" * 10_000)).steps
    assert len(step.results[0].content) < 100


def test_too_many_calls_in_one_response() -> None:
    rollout = begun(errors=replace(RECOVERY, calls_per_response=2))
    (step,) = run(calls(1, 2, 1), rollout=rollout).steps
    assert [result.call_index for result in step.results] == [0, 1, 2]
    assert [(error.kind, error.call_index) for error in step.attempt.errors] == [(ErrorKind.EXTRA_CALL, 2)]
    assert "at most 2 calls" in step.results[2].content
    assert rollout.environment.snapshot() == 3


def test_results_stand_in_the_order_of_the_calls() -> None:
    text = f"{calls(1)}\n{DOUBLE}\n{calls(2)}\n{calls('x')}"
    (step,) = run(text).steps
    assert [result.content[:5] for result in step.results] == ["1", "Error", "3", "argum"]
    assert [(error.kind.value, error.call_index) for error in step.attempt.errors] == [
        ("unknown_tool", 1),
        ("wrong_type", 3),
    ]


def test_the_step_limit_in_the_middle() -> None:
    rollout = begun(steps_per_turn=2)
    record = run(calls(1), calls(3), rollout=rollout)
    assert (rollout.context, record.end, record.verdicts, record.correct) == (None, End.STEP_LIMIT, (), False)
    assert record.outcome.failed


def test_the_step_limit_counts_anew_in_each_turn_and_the_last_turn_is_judged() -> None:
    right = run(calls(3), calls(1), STOP, rollout=begun(steps_per_turn=3))
    assert right.verdicts == (Verdict(),)
    record = run(FOUR, STOP, STOP, DOUBLE, calls(5), rollout=begun(steps_per_turn=2))
    assert (record.end, len(record.verdicts), record.correct) == (End.STEP_LIMIT, 3, True)
    wrong = run(FOUR, STOP, STOP, DOUBLE, calls(6), rollout=begun(steps_per_turn=2))
    assert (wrong.end, wrong.correct, wrong.silent) == (End.STEP_LIMIT, False, (4,))


def test_right_calls_that_the_step_limit_cuts_are_not_blamed() -> None:
    first = run(calls(1), rollout=begun(steps_per_turn=1))
    assert (first.end, first.verdicts, first.silent) == (End.STEP_LIMIT, (), ())
    last = run(FOUR, STOP, STOP, DOUBLE, rollout=begun(steps=4))
    assert (last.end, len(last.verdicts), last.correct, last.silent) == (End.STEP_LIMIT, 3, False, ())


@pytest.mark.parametrize("limits", [{"steps_per_turn": 1}, {"steps": 1}, {"context_tokens": 1}, {}])
def test_the_outcome_fails_exactly_where_the_rollout_is_not_correct(limits: dict[str, int]) -> None:
    for responses in ((FOUR,), (FOUR, STOP), (FOUR, STOP, STOP), (FOUR, STOP, STOP, DOUBLE, calls(5), STOP), (STOP,)):
        rollout = begun(**limits)
        for response in responses:
            if rollout.context is not None:
                rollout.answer(said(response))
        record = rollout.record()
        if record.steps:
            assert record.outcome.failed == (not record.correct)


def test_the_context_limit_at_the_beginning() -> None:
    rollout = begun(context_tokens=length() - 1)
    record = rollout.record()
    assert (rollout.context, record.end, len(record.steps), record.verdicts) == (None, End.CONTEXT_LIMIT, 1, ())
    assert (record.completion_ids, record.correct) == ((), False)
    assert begun(context_tokens=length()).context is not None


@pytest.mark.parametrize(
    ("before", "last", "verdicts"),
    [
        ((), FOUR, 0),  # inside the first turn
        ((FOUR,), STOP, 1),  # on the way into the second
        ((FOUR, STOP, STOP), DOUBLE, 3),  # inside the last, which is judged
        ((FOUR, STOP), STOP, 2),  # on the way into the last, in which nothing was done
    ],
)
def test_the_context_limit_later(before: tuple[str, ...], last: str, verdicts: int) -> None:
    rollout = begun(context_tokens=length(*before, last) - 1)
    record = run(*before, last, rollout=rollout)
    assert (rollout.context, record.end) == (None, End.CONTEXT_LIMIT)
    assert len(record.steps) == len(before) + 1
    assert (len(record.verdicts), record.correct) == (verdicts, False)


def test_an_engine_that_fails() -> None:
    rollout = begun()
    record = run(FOUR, LOST, rollout=rollout)
    assert (rollout.context, record.end, record.correct) == (None, End.INFRASTRUCTURE, False)
    assert len(record.steps) == 2
    assert not record.steps[1].attempt.failed


@dataclass
class Frail(Tally):
    """A world whose machinery fails when asked for one thing."""

    fails_at: str = ""

    def restore(self, state: object) -> None:
        self._fail("restore")
        super().restore(state)

    def execute(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        self._fail("execute")
        return super().execute(calls)

    def judge(self, turn: int) -> Verdict:
        self._fail("judge")
        return super().judge(turn)

    def _fail(self, at: str) -> None:
        if at == self.fails_at:
            raise InfrastructureError("worker", "no worker")


@pytest.mark.parametrize(("fails_at", "responses"), [("execute", [FOUR]), ("judge", [FOUR, STOP])])
def test_a_world_that_fails_ends_the_rollout_without_a_word_on_the_policy(
    fails_at: str, responses: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rollout = begun(world=Frail(fails_at=fails_at))
    record = run(*responses, rollout=rollout)
    assert (rollout.context, record.end, len(record.steps)) == (None, End.INFRASTRUCTURE, len(responses))
    assert not any(step.attempt.failed for step in record.steps)
    assert "is lost (worker)" in caplog.text


def test_a_world_that_cannot_be_restored_loses_its_rollout() -> None:
    rollout = OpenRollout(Frail(fails_at="restore"), TokenWriter(CHAT))
    rollout.resume(Context(LIVE, (1, 2), state=3))
    assert (rollout.context, rollout.record().end) == (None, End.INFRASTRUCTURE)


def test_a_later_start_replays_the_truth_and_leaves_no_step() -> None:
    rollout = begun(replace(LIVE, start=2))
    assert rollout.context is not None
    assert (rollout.context.turn, rollout.context.state, rollout.context.history) == (2, 4, ())
    assert [exchange.text for exchange in rollout.context.dialogue] == [FOUR, STOP, STOP]
    whole = begun()
    run(FOUR, STOP, STOP, rollout=whole)
    assert whole.context is not None
    assert rollout.context.prompt_ids == whole.context.prompt_ids
    record = run(DOUBLE, calls(5), STOP, rollout=rollout)
    assert (record.correct, len(record.verdicts), len(record.steps)) == (True, 1, 3)


# --- blame -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("responses", "blamed"),
    [
        ((calls(1), calls(7), calls(1), STOP), (1,)),  # the first strange call that changed the world
        ((calls(7), calls(-3), calls(1), STOP), (0,)),
        ((calls(1), STOP), (1,)),  # something was left out: who ended the turn
        ((STOP,), (0,)),
        ((calls(7), calls("x"), STOP), ()),  # an error ended it
        ((calls("x"), calls(7), STOP), (1,)),
        ((FOUR, STOP), ()),
    ],
)
def test_who_is_blamed_for_a_silent_failure(responses: tuple[str, ...], blamed: tuple[int, ...]) -> None:
    record = run(*responses)
    assert record.silent == blamed
    failed = [index for index, step in enumerate(record.steps) if step.attempt.failed]
    assert [record.steps.index(step) for step, _ in record.failures] == sorted([*failed, *blamed])
    for step, attempt in record.failures:
        assert attempt.failed
        assert step.attempt.text == attempt.text


def test_a_world_that_is_wrong_stays_wrong_and_is_blamed_once() -> None:
    record = run(calls(7), STOP, STOP, DOUBLE, STOP)
    assert [verdict.valid for verdict in record.verdicts] == [False] * 3
    assert record.silent == (0,)


# --- other worlds, and other histories ---------------------------------------------------------------------------


class Mute(Tally):
    """Answers nothing, whatever it is told."""

    def answer(self, parsed: ParsedResponse, truncated: bool, goal: Task) -> Answer:
        return Answer()


def test_a_world_that_answers_nothing_ends_each_turn() -> None:
    record = run(FOUR, FOUR, FOUR, rollout=begun(world=Mute()))
    assert (record.end, len(record.steps), len(record.verdicts)) == (End.DONE, len(LIVE.turns), len(LIVE.turns))
    assert not record.correct


class Grader(Environment):
    """Judges at once; right is an answer of one call. Its state is what it was told so far."""

    judges_at_once = True

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[str] = []
        self.fails = fails

    def reset(self, task: Task) -> None:
        self.told = []

    def answer(self, parsed: ParsedResponse, truncated: bool, goal: Task) -> Answer:
        errors = () if len(parsed.calls) == 1 else (ToolError(ErrorKind.MISSING_CALL, "one call is wanted."),)
        self.told.append(f"{len(parsed.calls)} calls")
        return Answer(errors=errors, changed=True)

    def judge(self, turn: int) -> Verdict:
        return Verdict() if self.told in ([], ["1 calls"]) else Verdict.against("told", ErrorKind.WRONG_STATE, "wrong")

    def snapshot(self) -> JSON:
        return list(self.told)

    def restore(self, state: JSON) -> None:
        if self.fails:
            raise InfrastructureError("worker", "no worker")
        self.told = list(state)


ONCE = replace(LIVE, later=())


@pytest.mark.parametrize("world", [Grader(), SingleStep()])
def test_a_task_without_room_for_its_response_is_not_right(world: Environment) -> None:
    record = begun(ONCE, world=world, context_tokens=length() - 1).record()
    assert (record.end, len(record.steps), record.completion_ids) == (End.CONTEXT_LIMIT, 1, ())
    assert (record.correct, record.outcome.failed) == (False, True)
    no_room = Response("", ParsedResponse(()), Completion((), stop=StopReason.NO_ROOM))
    assert not run(no_room, rollout=begun(ONCE, world=world)).correct


def diagnosed(rollout: OpenRollout) -> None:
    assert rollout.awaiting is not None
    rollout.recover(corrective_context(rollout.awaiting, rollout.awaiting.attempt, "Try again.", rollout.writer))


def test_a_retry_goes_on_in_the_world_of_before() -> None:
    rollout = begun(ONCE, world=Grader(), retries=1)
    run(STOP, rollout=rollout)
    diagnosed(rollout)
    record = run(calls(1), rollout=rollout)
    assert (record.correct, [step.attempt.failed for step in record.steps]) == (True, [True, False])


def test_a_world_that_cannot_go_back_loses_the_retry_and_keeps_the_attempt() -> None:
    rollout = begun(ONCE, world=Grader(fails=True), retries=1)
    run(STOP, rollout=rollout)
    diagnosed(rollout)
    record = rollout.record()
    assert (rollout.is_over, record.end, record.lost) == (True, End.INFRASTRUCTURE, "worker: no worker")
    assert [step.attempt.failed for step in record.steps] == [True, False]
