import json

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange, current_turn
from fissile.corrections import Correction, failure_id
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Feedback
from fissile.serial import from_json, to_json
from tally_world import LIVE

ASKED = ({"role": "user", "content": "Next."},)
CALL = ToolCall("area", {}, "")


def failed(arguments: dict, text: str = "") -> Attempt:
    errors = (ToolError(ErrorKind.WRONG_VALUE, "wrong", 0, "area", "base"),)
    return Attempt(text, (ToolCall("area", arguments, text),), errors)


def turn(arguments: dict, text: str = "", feedback: str = "error") -> Exchange:
    return Exchange(failed(arguments, text), (feedback,), wrote=(3, 4), read=(5,))


def said(text: str, *calls: ToolCall, wrong: bool = False) -> Attempt:
    return Attempt(text, calls, (ToolError(ErrorKind.WRONG_VALUE, "wrong"),) if wrong else ())


def again(correction: Correction) -> Correction:
    return from_json(Correction, json.loads(json.dumps(to_json(correction))))


def test_round_trip_through_json():
    one = Correction("1", "t", 7, "rules", (1, 2), (turn({"base": 1}), turn({"base": "\ud800"})), None, "value")
    assert again(one) == one
    assert len(one.history) == 2
    assert one.context(LIVE).depth == 2
    assert one.context(LIVE).prompt_ids == (1, 2, 3, 4, 5, 3, 4, 5)


def test_the_id_is_that_of_the_failure_not_of_its_spelling():
    one = failed({"base": 1, "height": 2}, "one spelling")
    same = failed({"height": 2, "base": 1}, "another")
    assert failure_id("t", (), one) == failure_id("t", (), same)


def test_nor_of_what_was_said_to_the_failures_before():
    before, same = turn({"base": 3}, "one spelling"), turn({"base": 3}, "another", "other words")
    assert failure_id("t", (before,), failed({"base": 1})) == failure_id("t", (same,), failed({"base": 1}))


def test_the_id_is_stable_across_processes():
    assert failure_id("t", (), failed({"base": 1})) == "e8dd53fa2cd94139"


def test_other_task_call_or_history_other_id():
    ids = {
        failure_id("t", (), failed({"base": 1})),
        failure_id("u", (), failed({"base": 1})),
        failure_id("t", (), failed({"base": 2})),
        failure_id("t", (turn({"base": 1}),), failed({"base": 1})),
        failure_id("t", (Exchange(said("", CALL), ("1",)),), failed({"base": 1})),
    }
    assert len(ids) == 5


def test_calls_of_an_earlier_turn_do_not_enter_the_id():
    ended = (Exchange(said("", CALL), ("1",)), Exchange(said("done"), (), ASKED))
    assert failure_id("t", ended, failed({"base": 1})) == failure_id("t", (), failed({"base": 1}))


@pytest.mark.parametrize("state", [0, {"calls": [["area", {"base": 1}, None]], "ends": [1]}])
def test_a_correction_carries_its_dialogue_and_state_through_json(state):
    dialogue = (
        Exchange(said("one", ToolCall("area", {"base": 1}, "text"), wrong=True), ("1",)),
        Exchange(said("done"), (), ASKED),
        turn({"base": 1}),
    )
    made = Correction.of("1", Context(LIVE, (1, 2), dialogue, state), 7, Feedback("error", "environment"))
    assert again(made) == made
    assert made.context(LIVE).dialogue == dialogue
    assert made.context(LIVE).turn == 1
    assert [one.attempt for one in made.history] == [failed({"base": 1})]
    assert made.state == state


def test_what_has_its_default_is_not_written():
    plain = Correction("1", "t", 0, "rules", (), (turn({}),))
    assert {"state", "leaked", "fallback"}.isdisjoint(to_json(plain))


def test_where_turns_end_and_what_reached_the_world():
    assert not Exchange(said("", CALL), ("1",)).ends_turn
    assert Exchange(said(""), (), ASKED).ends_turn
    assert Exchange(said("")).ends_turn  # nobody answered
    assert Exchange(said("", CALL), ("1",)).executed == (CALL,)
    assert Exchange(said("", CALL, wrong=True), ("no",)).executed == ()
    assert Exchange(said("", CALL, CALL, wrong=True), ("1", "no")).executed == (CALL, CALL)
    assert Exchange(said("", CALL, CALL, wrong=True), ("a diagnosis",)).executed == ()


def test_the_exchanges_of_the_current_turn():
    before, after = Exchange(said("a", CALL), ("1",)), Exchange(said("c", CALL), ("2",))
    end = Exchange(said("b"), (), ASKED)
    assert current_turn([before, before]) == (before, before)
    assert current_turn([before, end, after, after]) == (after, after)
    assert current_turn([before, end]) == current_turn([]) == ()
