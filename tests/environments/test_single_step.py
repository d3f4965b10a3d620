import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import ToolCall
from fissile.dialects import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind, ToolError
from fissile.serial import to_json
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

BOOK = Tool(
    "book",
    "Book a room.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer"},
            "view": {"type": "string", "enum": ["sea", "street"]},
            "guests": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city", "nights"],
    },
)
CANCEL = Tool("cancel", "Cancel a room.", {"type": "object", "properties": {"id": {"type": "integer"}}})
PAY = Tool("pay", "Pay.", {"type": "object", "properties": {}})
USER = ({"role": "user", "content": "Book two nights in Wroclaw under the name zeta-77, then cancel 41."},)
BOOKED = ExpectedCall(
    "book", {"city": ["Wroclaw"], "nights": [2], "guests": [["zeta-77"]], "view": ["sea"]}, frozenset({"view"})
)
CANCELLED = ExpectedCall.exactly("cancel", {"id": 41})
ONE = Task("one", USER, (BOOK, CANCEL, PAY), (BOOKED,))
TWO = Task("two", USER, (BOOK, CANCEL, PAY), (BOOKED, CANCELLED))
NONE = Task("none", USER, (BOOK, CANCEL, PAY), ())
RIGHT = {"city": "Wroclaw", "nights": 2, "guests": ["zeta-77"]}

ROOM = SingleStep(HermesDialect())


def text(*calls: tuple[str, dict]) -> str:
    return HermesDialect().render_calls([ToolCall(name, arguments, "") for name, arguments in calls])


def errors(task: Task, response: str, truncated: bool = False) -> tuple[ToolError, ...]:
    return ROOM.attempt(task, response, truncated).errors


def found(task: Task, response: str, truncated: bool = False) -> list[tuple[str, int | None, str | None]]:
    return [(error.kind, error.call_index, error.argument) for error in errors(task, response, truncated)]


@pytest.mark.parametrize("extra", [{}, {"view": "sea"}, {"nights": 2.0}])
def test_a_right_call_has_no_errors(extra):
    attempt = ROOM.attempt(ONE, f"Sure. {text(('book', RIGHT | extra))}")
    assert not attempt.failed
    assert attempt.calls[0].name == "book"
    assert attempt.text.startswith("Sure.")


def test_the_order_of_calls_is_free():
    assert found(TWO, text(("cancel", {"id": 41}), ("book", RIGHT))) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (RIGHT | {"city": "Lodz"}, [("wrong_value", 0, "city")]),
        (RIGHT | {"nights": "2"}, [("wrong_type", 0, "nights")]),
        (RIGHT | {"view": "garden"}, [("wrong_value", 0, "view")]),
        (RIGHT | {"view": "street"}, [("wrong_value", 0, "view")]),
        (RIGHT | {"guests": [7]}, [("wrong_type", 0, "guests.0")]),
        (RIGHT | {"stars": 5}, [("unexpected_argument", 0, "stars")]),
        ({"nights": 2, "guests": ["zeta-77"]}, [("missing_argument", 0, "city")]),
        ({"city": "Wroclaw", "nights": 2}, [("missing_argument", 0, "guests")]),
        (
            {"city": "Lodz", "nights": "2"},
            [("wrong_type", 0, "nights"), ("missing_argument", 0, "guests"), ("wrong_value", 0, "city")],
        ),
    ],
)
def test_each_argument_is_blamed_once(arguments, expected):
    assert found(ONE, text(("book", arguments))) == expected


def test_an_offered_argument_that_the_truth_does_not_accept():
    bare = Task("bare", USER, (BOOK,), (ExpectedCall.exactly("book", {"city": "Wroclaw", "nights": 2}),))
    assert found(bare, text(("book", RIGHT))) == [("unexpected_argument", 0, "guests")]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (text(("pay", {})), [("wrong_tool", 0, None)]),
        (text(("bok", {})), [("unknown_tool", 0, None)]),
        (text(("book", RIGHT), ("pay", {})), [("extra_call", 1, None)]),
        (text(("book", RIGHT), ("book", RIGHT)), [("extra_call", 1, None)]),
        ("I cannot do that.", [("missing_call", None, None)]),
        ("", [("missing_call", None, None)]),
        ("<tool_call>{'name': 'book'}</tool_call>", [("malformed_call", 0, None)]),
        (f"<tool_call>{{</tool_call>{text(('book', RIGHT))}", [("malformed_call", 0, None)]),
    ],
)
def test_wrong_calls(response, expected):
    assert found(ONE, response) == expected


def test_too_few_calls():
    assert found(TWO, text(("book", RIGHT))) == [("missing_call", None, None)]
    assert found(TWO, text(("cancel", {"id": 41}), ("pay", {}))) == [("wrong_tool", 1, None)]


def test_a_task_without_calls_wants_none():
    assert found(NONE, "There is nothing to do.") == []
    assert found(NONE, text(("pay", {}))) == [("extra_call", 0, None)]


def test_truncated_responses():
    cut = text(("book", RIGHT))[:-30]
    assert found(ONE, cut, truncated=True) == [("truncated", 0, None)]
    assert found(ONE, cut) == [("malformed_call", 0, None)]
    assert found(ONE, "I am thinking", truncated=True) == [("truncated", None, None)]
    assert found(TWO, text(("book", RIGHT)), truncated=True) == [("truncated", None, None)]
    assert found(ONE, f"{text(('book', RIGHT))} and so on and so", truncated=True) == []
    broken_early = f"<tool_call>{{'a'}}</tool_call>{cut}"
    assert found(TWO, broken_early, truncated=True) == [("malformed_call", 0, None), ("truncated", 1, None)]


def test_errors_of_the_parser_point_into_the_response():
    response = 'Ok <tool_call>{"name": "book" "arguments": {}}</tool_call>'
    (error,) = errors(ONE, response)
    assert error.position == response.index('"arguments"')
    assert error.message == f"the tool call cannot be parsed: Expecting ',' delimiter (character {error.position})."


def test_messages_shorten_what_the_model_wrote():
    (error,) = errors(ONE, text(("x" * 10_000, {})))
    assert len(error.message) < 100


values = st.sampled_from(["Lodz", 3, None, ["a"], {"b": 1}, True, 2, "sea", ""])
arguments = st.dictionaries(st.sampled_from(["city", "nights", "view", "guests", "id", "stars"]), values)
wrong_calls = st.lists(st.tuples(st.sampled_from(["book", "cancel", "pay", "bok"]), arguments), max_size=3)


@given(wrong_calls, st.sampled_from([ONE, TWO]), st.booleans())
def test_messages_never_hold_the_truth(calls, task, truncated):
    for error in errors(task, text(*calls), truncated):
        assert not any(secret in error.message for secret in ("Wroclaw", "zeta", "41"))
        json.dumps(to_json(error))


# --- official checkers ---

OFFICIAL = Task("official", USER, (BOOK, CANCEL), (BOOKED,), source="bfcl")


@pytest.mark.parametrize("task", [OFFICIAL, ONE], ids=["bfcl", "other"])
def test_the_official_checker_decides_its_own_tasks(task):
    lenient = SingleStep(HermesDialect(), official=lambda task, calls: True)
    strict = SingleStep(HermesDialect(), official=lambda task, calls: False)
    right, wrong = text(("book", RIGHT)), text(("book", RIGHT | {"nights": "2"}))
    is_official = task is OFFICIAL
    assert lenient.attempt(task, wrong).failed is not is_official
    assert strict.attempt(task, right).failed is is_official
    assert strict.attempt(task, wrong).errors == errors(task, wrong)


def test_an_official_rejection_that_nothing_explains_is_a_wrong_value():
    strict = SingleStep(HermesDialect(), official=lambda task, calls: False)
    (error,) = strict.attempt(OFFICIAL, text(("book", RIGHT))).errors
    assert (error.kind, error.call_index, error.tool) == (ErrorKind.WRONG_VALUE, 0, "book")


def test_the_official_checker_never_sees_malformed_calls():
    seen = []
    room = SingleStep(HermesDialect(), official=lambda task, calls: not seen.append(calls))
    assert room.attempt(OFFICIAL, f"<tool_call>{{</tool_call>{text(('book', RIGHT))}").failed
    assert seen == []
