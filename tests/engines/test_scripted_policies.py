"""Scripted policies through the real loop, in a world that counts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange
from fissile.corrections.branch import corrective_context
from fissile.dialects import DIALECTS, HermesDialect
from fissile.dialects.base import Dialect
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.plausible_values import Borrowed, plausible_arguments
from fissile.engines.scripted_policies import (
    CorruptedOraclePolicy,
    OraclePolicy,
    RandomPolicy,
    ScriptedPolicy,
    StubbornPolicy,
)
from fissile.errors import ErrorKind, ToolError
from fissile.rollouts import End, Limits, OpenRollout, Rollout
from fissile.tasks import Task
from fissile.tools import Tool
from tally_world import ADD, DOUBLE, LIVE, Tally, add, says

HERMES = HermesDialect()
SAMPLING = Sampling()
SINGLE = Task("single", says("Add 1 and 2."), (ADD, DOUBLE), (add(1), add(2)))


def run(policy: ScriptedPolicy, task: Task = LIVE, **limits: int) -> Rollout:
    rollout = OpenRollout(Tally(), policy, limits=Limits(**limits))
    rollout.begin(task)
    roll_out(policy, [rollout], SAMPLING)
    return rollout.record()


def calls_made(rollout: Rollout) -> list[int]:
    """Number of calls of each step."""
    return [len(step.attempt.calls) for step in rollout.steps]


@pytest.mark.parametrize("dialect", {id(dialect): dialect for dialect in map(DIALECTS.made, DIALECTS)}.values())
@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_oracle_is_right_in_every_dialect(dialect: Dialect, one_by_one: bool) -> None:
    rollout = run(OraclePolicy(dialect, one_call_a_response=one_by_one))
    assert rollout.correct
    assert rollout.end is End.DONE
    assert not any(step.attempt.failed for step in rollout.steps)
    assert calls_made(rollout) == ([1, 1, 1, 0, 0, 1, 1, 0] if one_by_one else [3, 0, 0, 2, 0])


@pytest.mark.parametrize("seed", range(12))
def test_the_corrupted_oracle_errs_once_a_turn_and_is_right_in_the_end(seed: int) -> None:
    rollout = run(CorruptedOraclePolicy(HERMES, seed=seed))
    assert rollout.correct
    assert calls_made(rollout) == [1, 1, 2, 0, 0, 1, 1, 1, 0]
    assert [step.attempt.failed for step in rollout.steps] == [at in (0, 5) for at in range(9)]
    assert not rollout.steps[0].changed


def test_the_corrupted_oracle_draws_each_explicit_error() -> None:
    steps = [step for seed in range(12) for step in run(CorruptedOraclePolicy(HERMES, seed=seed)).steps]
    kinds = {error.kind for step in steps for error in step.attempt.errors}
    assert kinds == {ErrorKind.UNKNOWN_TOOL, ErrorKind.UNEXPECTED_ARGUMENT, ErrorKind.MISSING_ARGUMENT}


def test_errors_in_the_first_turn_only() -> None:
    quiet_first = replace(LIVE, ground_truth=(), start=1)
    policy = CorruptedOraclePolicy(HERMES, errors_in="first_turn")
    assert [step.attempt.failed for step in run(policy).steps] == [True, *[False] * 6]
    turns = [Context(quiet_first, (), (Exchange(Attempt("")),) * turn) for turn in range(3)]
    assert [context.turn for context in turns] == [0, 1, 2]
    errs = [response.text for response in policy.respond(turns, SAMPLING)]
    rights = [response.text for response in OraclePolicy(HERMES).respond(turns, SAMPLING)]
    assert [text == right for text, right in zip(errs, rights, strict=True)] == [True, True, False]


@pytest.mark.parametrize("policy", [OraclePolicy(HERMES), CorruptedOraclePolicy(HERMES)])
def test_a_recovery_begins_before_its_failed_attempt(policy: ScriptedPolicy) -> None:
    """The world was restored: what the failed attempt called has to be called again."""
    step = run(OraclePolicy(HERMES)).steps[0]
    blamed = replace(step.attempt, errors=(ToolError(ErrorKind.WRONG_STATE, "wrong"),))
    context = corrective_context(step, blamed, "Something is wrong.", policy)
    rollout = OpenRollout(Tally(), policy)
    rollout.resume(context)
    roll_out(policy, [rollout], SAMPLING)
    assert rollout.record().verdicts[0].valid


def test_a_single_step_task_gets_all_calls_every_time() -> None:
    explore = Context(SINGLE, ())
    failed = Attempt("x", (ToolCall("add", {"n": 1}, ""),), (ToolError(ErrorKind.MISSING_CALL, "no"),))
    again = [explore.after(Exchange(failed, ("no",))), explore.after(Exchange(replace(failed, errors=()), ("no",)))]
    truth = HERMES.render_calls(SINGLE.oracle_calls())
    for policy in (OraclePolicy(HERMES, one_call_a_response=True), CorruptedOraclePolicy(HERMES)):
        assert [response.text for response in policy.respond(again, SAMPLING)] == [truth, truth]
    (corrupted,) = CorruptedOraclePolicy(HERMES).respond([explore], SAMPLING)
    assert len(corrupted.parsed.calls) == 2
    assert corrupted.text != truth


def test_the_stubborn_policy() -> None:
    cut = run(StubbornPolicy(HERMES), steps_per_turn=5)
    assert (cut.end, len(cut.steps)) == (End.STEP_LIMIT, 5)
    assert len({step.attempt.text for step in cut.steps}) == 1
    assert {error.kind for step in cut.steps for error in step.attempt.errors} == {ErrorKind.UNKNOWN_TOOL}
    ended = run(StubbornPolicy(HERMES, give_up_after=2))
    assert calls_made(ended) == [1, 1, 0] * 3
    assert not ended.correct
    hidden = replace(SINGLE, tools=(ADD, DOUBLE, Tool("no_such_tool", "", {"type": "object"})))
    (response,) = StubbornPolicy(HERMES).respond([Context(hidden, ())], SAMPLING)
    assert hidden.tool(response.parsed.calls[0].name) is None


def test_the_random_policy_is_wild_and_repeatable() -> None:
    runs = [run(RandomPolicy(HERMES, seed=seed)) for seed in range(40)]
    assert runs == [run(RandomPolicy(HERMES, seed=seed)) for seed in range(40)]
    steps = [step for rollout in runs for step in rollout.steps]
    kinds = {error.kind for step in steps for error in step.attempt.errors}
    assert ErrorKind.MALFORMED_CALL in kinds
    assert any(step.changed for step in steps)
    assert {call.name for step in steps for call in step.attempt.calls} == {"add", "double", None}
    (response,) = RandomPolicy(HERMES, ends=0.0).respond(
        [Context(replace(SINGLE, tools=(), ground_truth=()), ())], SAMPLING
    )
    assert not response.parsed.calls


def test_plausible_arguments_fit_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "side": {"type": "integer"},
            "unit": {"type": "string", "enum": ["cm", "m"]},
            "scale": {"type": "number"},
            "flag": {"type": "boolean"},
            "none": {"type": "null"},
            "either": {"type": ["string", "null"]},
            "names": {"type": "array", "items": {"type": "string"}},
            "box": {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "number"}}}},
            "any": {},
        },
        "required": ["side", "names", "box"],
    }
    tool = Tool("measure", "", schema)
    borrowed = Borrowed.among(["A square of 12 cm, report.txt"], [{"accepted": [True, 2.5]}])
    rng = random.Random(0)
    drawn = [plausible_arguments(tool, borrowed, rng) for _ in range(200)]
    assert not any(tool.validate(arguments) for arguments in drawn)
    assert {12, 1} >= {arguments["side"] for arguments in drawn}
    assert any("report.txt" in arguments["names"] for arguments in drawn)


def test_open_and_reply_hold_no_tokens() -> None:
    policy = OraclePolicy(HERMES)
    (response,) = policy.respond([Context(LIVE, ())], SAMPLING)
    assert policy.open(LIVE) == policy.reply(response.completion, ["4"]) == policy.completion("4").ids == ()
    assert policy.concurrency is None
