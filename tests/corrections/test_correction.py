import json

from fissile.calls import Attempt, FailedTurn, ToolCall
from fissile.corrections import Correction
from fissile.contexts import Exchange, current_turn
from fissile.errors import ErrorKind, ToolError
from tally_world import LIVE


def turn(arguments: dict, text: str = "", feedback: str = "error") -> FailedTurn:
    errors = (ToolError(ErrorKind.WRONG_VALUE, "wrong", 0, "area", "base"),)
    return FailedTurn(Attempt(text, (ToolCall("area", arguments, text),), errors), feedback)


def test_round_trip_through_json():
    one = Correction("t", (1, 2), (turn({"base": 1}), turn({"base": "\ud800"})), 7, "rules", "value")
    assert Correction.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert one.depth == 2


def test_the_id_is_that_of_the_failure_not_of_its_spelling_feedback_or_step():
    one = Correction("t", (1,), (turn({"base": 1, "height": 2}, "one spelling"),), 1, "rules")
    same = Correction("t", (9,), (turn({"height": 2, "base": 1}, "another", "other words"),), 5, "service", "value")
    assert one.id == same.id


def test_the_id_is_stable_across_processes():
    assert Correction("t", (), (turn({"base": 1}),), 0, "rules").id == "e8dd53fa2cd94139"


def test_other_task_call_or_history_other_id():
    ids = {
        Correction("t", (), (turn({"base": 1}),), 0, "rules").id,
        Correction("u", (), (turn({"base": 1}),), 0, "rules").id,
        Correction("t", (), (turn({"base": 2}),), 0, "rules").id,
        Correction("t", (), (turn({"base": 1}), turn({"base": 1})), 0, "rules").id,
    }
    assert len(ids) == 4


def test_a_live_correction_carries_its_turn_dialogue_and_state_through_json():
    call = ToolCall("area", {"base": 1}, "text")
    said = (
        Exchange("one", (call,), ("1",), (), failed=True),
        Exchange("done", (), (), ({"role": "user", "content": "Next."},)),
    )
    for state in (0, {"calls": [["area", {"base": 1}, None]], "ends": [1]}):
        live = Correction("t", (1, 2), (turn({"base": 1}),), 7, "environment", "", 1, said, state)
        assert Correction.from_dict(json.loads(json.dumps(live.to_dict()))) == live
        assert live.context(LIVE).dialogue == said
        assert Correction.of(live.context(LIVE), 7, "environment").state == state


def test_a_single_step_correction_is_written_as_before_there_were_worlds():
    assert {"turn", "dialogue", "state"}.isdisjoint(Correction("t", (), (turn({}),), 0, "rules").to_dict())


def test_where_turns_end_and_what_reached_the_world():
    call = ToolCall("area", {}, "")
    asked = ({"role": "user", "content": "Next."},)
    assert not Exchange("", (call,), ("1",)).ends_turn
    assert Exchange("", (), (), asked).ends_turn
    assert Exchange("", ()).ends_turn  # nobody answered
    assert Exchange("", (call,), ("1",)).executed == (call,)
    assert Exchange("", (call,), ("no",), failed=True).executed == ()
    assert Exchange("", (call, call), ("1", "no"), failed=True).executed == (call, call)
    assert Exchange("", (call, call), ("a diagnosis",), failed=True).executed == ()


def test_the_exchanges_of_the_current_turn():
    call, asked = ToolCall("area", {}, ""), ({"role": "user", "content": "Next."},)
    before, end, after = Exchange("a", (call,), ("1",)), Exchange("b", (), (), asked), Exchange("c", (call,), ("2",))
    assert current_turn([before, before]) == (before, before)
    assert current_turn([before, end, after, after]) == (after, after)
    assert current_turn([before, end]) == current_turn([]) == ()
