import json

import pytest

from fissile.calls import Attempt, FailedTurn, ToolCall
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import FIXED_MESSAGE, Failure, Leak, LeakGuard
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

BOOK = Tool(
    "book_hotel",
    "Book a room. The city is written as 'City, ST'.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer"},
            "budget": {"type": "number"},
            "view": {"type": "string", "enum": ["sea", "garden", "none"]},
            "refundable": {"type": "boolean"},
            "note": {"type": "string"},
        },
        "required": ["city", "nights"],
    },
)
TASK = Task(
    "t",
    ({"role": "user", "content": "I want to sleep in Frisco for two nights, for 1,500 dollars, with a sea view."},),
    (BOOK,),
    (
        ExpectedCall(
            "book_hotel",
            {
                "city": ["San Francisco, CA", "SF"],
                "nights": [2],
                "budget": [1500],
                "view": ["sea"],
                "refundable": [True],
                "note": ["please leave the key under the mat"],
            },
        ),
    ),
)
WRONG = ToolCall("book_hotel", {"city": "Frisco", "nights": 3}, "{...}")


def failure(*calls: ToolCall, history: tuple[FailedTurn, ...] = ()) -> Failure:
    attempt = Attempt(
        "my try", calls or (WRONG,), (ToolError(ErrorKind.WRONG_VALUE, "wrong", 0, "book_hotel", "city"),)
    )
    return Failure(TASK, attempt, history)


def check(text: str, *calls: ToolCall) -> str:
    return LeakGuard().check(text, failure(*calls))


@pytest.mark.parametrize(
    "text",
    [
        FIXED_MESSAGE,
        "TypeError: book_hotel() missing 2 required arguments: 'city' and 'nights'.",
        "ValueError: argument 'view' must be one of ['sea', 'garden', 'none'].",
        "argument 'refundable' must be true or false",
        "the budget is the 1500 dollars that the user wrote",
        "city is not 'Frisco'; write it as 'City, ST'",
        "ValueError: the value of 'nights' does not agree with the request.",
        "there are 2 errors. nights: must be an integer",
        "leave a note",
        "error " * 600,
    ],
)
def test_what_may_be_said(text):
    assert check(text) == ""


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("use San Francisco, CA", Leak.VALUE),
        ("use SANFRANCISCO CA", Leak.VALUE),
        ("use san-francisco (ca)!", Leak.VALUE),
        ("city must be SF", Leak.TIED),
        ("nights=2", Leak.TIED),
        ('{"nights": 2.0}', Leak.TIED),
        ("the argument nights should have been 2", Leak.TIED),
        ("refundable must be true", Leak.TIED),
        ("tell them to leave the key under it", Leak.PART),
        ("error " * 1000, Leak.LENGTH),
    ],
)
def test_what_may_not_be_said(text, leak):
    assert check(text) == leak


def test_a_value_that_the_policy_has_seen_in_earlier_feedback_is_no_secret():
    turn = FailedTurn(Attempt("first try"), "is it San Francisco, CA?")
    assert LeakGuard().check("San Francisco, CA it is", failure(history=(turn,))) == ""


def test_the_policys_own_short_value_may_be_repeated():
    right_nights = ToolCall("book_hotel", {"city": "Frisco", "nights": 2}, "{...}")
    assert check("nights=2 is an integer", right_nights) == ""


def test_one_choice_picked_from_a_schema_is_visible_but_a_listing_that_ends_in_it_is_no_pick():
    assert check("one of garden, sea") == ""


VISIBLE = Task(
    "v",
    ({"role": "user", "content": "The weather in Paris in celsius, please"},),
    (
        Tool(
            "get_weather",
            "",
            {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                },
                "required": ["city", "unit"],
            },
        ),
    ),
    (ExpectedCall.exactly("get_weather", {"city": "Paris", "unit": "celsius"}),),
)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}),
        "get_weather(unit='celsius', city='PARIS')",
        "call get_weather('Paris', 'celsius')",
        "get_weather with the city set to Paris and the unit set to celsius",
    ],
)
def test_a_whole_call_is_a_leak_even_if_its_values_can_be_seen(text):
    assert LeakGuard().check(text, Failure(VISIBLE, Attempt("no idea"))) == Leak.CALL


def test_the_parts_of_a_call_that_can_be_seen_are_none():
    may_be_said = "get_weather(): city must be Paris; unit must be one of ['celsius', 'kelvin']"
    assert LeakGuard().check(may_be_said, Failure(VISIBLE, Attempt("no idea"))) == ""


def test_a_call_that_the_policy_made_itself_may_be_repeated():
    right = ToolCall("get_weather", {"city": "paris", "unit": "celsius"}, "{...}")
    answer = Failure(VISIBLE, Attempt("twice", (right, right)))
    assert LeakGuard().check("get_weather(city='Paris', unit='celsius') was called twice", answer) == ""
