import json

from fissile.calls import Attempt, FailedTurn, ToolCall
from fissile.corrections import Correction
from fissile.errors import ErrorKind, ToolError


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
