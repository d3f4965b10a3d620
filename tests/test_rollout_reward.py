"""The reward of a turn in a live world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fissile.calls import ParsedResponse, ToolCall
from fissile.contexts import Context
from fissile.corrections.branch import corrective_context
from fissile.dialects import HermesDialect
from fissile.engines.scripted_policies import OraclePolicy
from fissile.rewards import Reward, RewardConfig, rollout_reward
from fissile.rollouts import Completion, OpenRollout, Response, Rollout, StopReason
from tally_world import LIVE, Tally

HERMES = HermesDialect()
TURN = replace(LIVE, later=())
MALFORMED = '<tool_call>{"name": </tool_call>'
STOP = "Done."


def calls(*numbers: object) -> str:
    return HERMES.render_calls([ToolCall("add", {"n": number}, "") for number in numbers])


def run(*texts: str, context: Context | None = None) -> Rollout:
    rollout = OpenRollout(Tally(), OraclePolicy(HERMES))
    if context is None:
        rollout.begin(TURN)
    else:
        rollout.resume(context)
    for text in texts:
        rollout.answer(Response(text, HERMES.parse(text), Completion((1, 2, 3))))
    return rollout.record()


def reward(record: Rollout, **config: Any) -> Reward:
    found = rollout_reward(record, progress=0.0, reference_length=6, config=RewardConfig(**config))
    assert found is not None
    return found


def after(*texts: str) -> Context:
    """The corrective context of the one failure among some responses."""
    ((step, attempt),) = run(*texts).failures
    return corrective_context(step, attempt, "Something is wrong.", OraclePolicy(HERMES))


@pytest.mark.parametrize("texts", [(calls(1, 2, 1), STOP), (calls(4), STOP), (calls("x"), calls(1, 3), STOP)])
def test_what_the_judge_accepts_is_right(texts: tuple[str, ...]) -> None:
    assert reward(run(*texts)).corr == 2.0
    assert reward(run(*texts)).fmt == 1.0


@pytest.mark.parametrize(
    "texts", [(STOP,), (calls(1, 2, 2), STOP), (calls(1), STOP), (calls("x"), STOP), (calls(1, 2, 1, 0, 1), STOP)]
)
def test_what_it_does_not_accept_is_less(texts: tuple[str, ...]) -> None:
    assert 0.0 <= reward(run(*texts)).corr < 2.0


def test_all_the_right_calls_and_a_wrong_world_are_less_than_right() -> None:
    assert reward(run(calls(1, 2, 1), calls(1), calls(-2), STOP)).corr < 2.0


def test_nearer_is_more() -> None:
    earned = [reward(run(text, STOP)).corr for text in (calls(9), calls(1, 9, 9), calls(1, 2, 9))]
    assert earned == sorted(earned)
    assert earned[0] < earned[1] < earned[2]


def test_one_malformed_response_makes_the_format_wrong() -> None:
    record = run(MALFORMED, calls(1, 2, 1), STOP)
    assert (reward(record).fmt, reward(record).corr) == (0.0, 2.0)
    cut = OpenRollout(Tally(), OraclePolicy(HERMES))
    cut.begin(TURN)
    cut.answer(Response("So", ParsedResponse(()), Completion((1,), stop=StopReason.LENGTH)))
    assert reward(cut.record()).fmt == 0.0


def test_the_length_is_that_of_what_the_policy_wrote() -> None:
    assert reward(run(calls(1, 2, 1), STOP)).length == 1.0
    assert reward(run(calls(1), calls(2), calls(1), STOP)).length < 1.0


@pytest.mark.parametrize("tries", [("x",), ("x", "y"), ("x", "x", "y")])
def test_to_try_again_costs_nothing_and_is_worth_as_much_as_to_be_right_at_once(tries: tuple[str, ...]) -> None:
    failed = [calls(number) for number in tries]
    given_up = reward(run(*failed, STOP))
    assert reward(run(*failed, calls("z"), STOP)) == given_up
    repaired = reward(run(*failed, calls(4), STOP))
    assert repaired == reward(run(calls(4), STOP))
    assert repaired.total > given_up.total


def test_a_failed_call_stands_until_its_function_is_called_again() -> None:
    unknown = HERMES.render_calls([ToolCall("sub", {"n": 1}, "")])
    record = run(calls(1, "x"), unknown, calls(9), STOP)
    assert [(call.name, call.arguments) for call in record.standing_calls] == [
        ("add", {"n": 1}),
        ("sub", {"n": 1}),
        ("add", {"n": 9}),
    ]
    assert [len(step.attempt.calls) for step in record.kept] == [1, 0], "the closing words are kept too"
    assert run(calls("x"), unknown, STOP).standing_calls[0].arguments == {"n": "x"}


def test_an_exact_repeat_earns_nothing_even_where_it_is_repaired_later() -> None:
    context = after(calls("x"))
    record = run(calls("x"), calls(4), STOP, context=context)
    assert record.correct
    assert reward(record, repeat_earns_nothing=True).corr == 0.0
    assert reward(record).corr == 2.0
    other = run(calls("y"), calls(4), STOP, context=context)
    assert reward(other, repeat_earns_nothing=True).corr == 2.0


def test_improvement_is_measured_from_the_failed_attempt() -> None:
    context = after(calls(1, 9, "x"))
    same = run(calls(1, 9, 8), STOP, context=context)
    nearer = run(calls(1, 2, 8), STOP, context=context)
    right = run(calls(1, 2, 1), STOP, context=context)
    earned = [reward(record, recovery_credit="improvement").corr for record in (same, nearer, right)]
    assert earned[0] == 0.0
    assert 0.0 < earned[1] < 2.0
    assert earned[2] == 2.0


def test_only_what_the_turn_still_needs_is_compared() -> None:
    """The first step of the turn was right; its calls are no longer asked for."""
    context = after(calls(1, 2), calls("x"))
    assert context.state == 3
    assert reward(run(calls(2), STOP, context=context)).corr == reward(run(calls(3), STOP, context=context)).corr
    assert reward(run(calls(1), STOP, context=context)).corr == 2.0
    assert reward(run(calls(1, 2, 1), STOP, context=context)).corr < 2.0


def test_a_failed_engine_has_no_reward() -> None:
    rollout = OpenRollout(Tally(), OraclePolicy(HERMES))
    rollout.begin(TURN)
    rollout.answer(Response("", ParsedResponse(()), Completion((), stop=StopReason.INFRASTRUCTURE)))
    assert rollout_reward(rollout.record(), progress=0.0, reference_length=6, config=RewardConfig()) is None
