import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_listing_of_choices_is_no_pick():
    assert check("view is one of garden, sea, none") == ""


HIDDEN = Task(
    "h",
    ({"role": "user", "content": "Book the usual trip of our club, with a view of the water."},),
    (
        Tool(
            "book_trip",
            "",
            {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "start": {"type": "string"},
                    "passengers": {"type": "integer"},
                    "budget": {"type": "number"},
                    "voucher": {"type": ["string", "null"]},
                    "mode": {"type": "string"},
                    "room": {
                        "type": "object",
                        "properties": {"view": {"type": "string", "enum": ["garden", "sea", "none"]}},
                    },
                },
            },
        ),
    ),
    (
        ExpectedCall.exactly("book_trip", {"city": "Rome", "start": "2023-05-01"}),
        ExpectedCall.exactly(
            "book_trip",
            {
                "city": "San Francisco, CA",
                "passengers": 21,
                "budget": -12500.0,
                "voucher": None,
                "mode": "all",
                "room": {"view": "sea"},
            },
        ),
    ),
)


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("Rome", Leak.VALUE),
        ("R-o-m-e", Leak.VALUE),
        ("passengers: twenty-one", Leak.VALUE),
        ("12.5k is the budget", Leak.VALUE),
        ("start on the 1st of May", Leak.VALUE),
        ("UmVtZSA= or Um9tZQ==", Leak.ENCODED),
        ("emoR", Leak.ENCODED),
        ("R\u200bоme", Leak.VALUE),
        ("it starts with 'San F'", Leak.PART),
        ("city: San F********, CA", Leak.PART),
        ("First San. Then Francisco.", Leak.PART),
        ("voucher must be null", Leak.TIED),
        ("the mode is all", Leak.TIED),
        ("room.view must be sea", Leak.PICK),
        ("view: the second option", Leak.PICK),
        ("neither garden nor none as a view", Leak.PICK),
    ],
)
def test_values_of_every_call_and_depth_are_guarded_in_every_spelling(text, leak):
    assert LeakGuard().check(text, Failure(HIDDEN, Attempt("no idea"))) == leak


@pytest.mark.parametrize(
    "text",
    [
        "21 errors were found at character 21",
        "voucher must be a string or null",
        "mode and all the others are missing",
        "view must be one of: garden; sea; none",
        "the city is not the one that the user wants; its name has thirteen letters",
        "start must be a date such as 1999-12-31",
        "passengers must be an integer",
    ],
)
def test_what_resembles_a_leak(text):
    assert LeakGuard().check(text, Failure(HIDDEN, Attempt("no idea"))) == ""


@pytest.mark.parametrize(
    "text",
    ["a*" * 2000, "1,000," * 600, "starts with " * 330, "<a" * 2000, "view garden " * 330, "(" * 4000, "x" * 10**6],
)
def test_hostile_text_takes_no_longer_than_its_length(text):
    began = time.process_time()
    LeakGuard().check(text, Failure(HIDDEN, Attempt("no idea")))
    assert time.process_time() - began < 1


@given(st.text())
def test_any_text_can_be_checked(text):
    assert LeakGuard().check(text, Failure(HIDDEN, Attempt("no idea"))) in {"", *Leak}


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


@pytest.mark.parametrize(
    "text",
    [
        '{"arguments": {"city": "Paris", "unit": "celsius"}, "name": "get_weather"}',
        "city=Paris, unit=celsius: that is what get_weather needs",
    ],
)
def test_a_call_whose_tool_is_named_last(text):
    assert LeakGuard().check(text, Failure(VISIBLE, Attempt("no idea"))) == Leak.CALL


def test_the_arguments_of_the_called_tool_are_a_call_without_its_name():
    wrong = ToolCall("get_weather", {"city": "Rome"}, "{...}")
    assert LeakGuard().check("city: Paris, unit: celsius", Failure(VISIBLE, Attempt("", (wrong,)))) == Leak.CALL


def test_the_sign_of_a_number_makes_another_call():
    tool = Tool("f", "", {"type": "object", "properties": {"a": {}, "b": {}}})
    task = Task(
        "s", ({"role": "user", "content": "5 and -4"},), (tool,), (ExpectedCall.exactly("f", {"a": 5, "b": -4}),)
    )
    wrong = ToolCall("f", {"a": 5, "b": 4}, "{...}")
    assert LeakGuard().check("f(a=5, b=-4)", Failure(task, Attempt("", (wrong,)))) == Leak.CALL


def test_the_worlds_own_words_may_be_repeated_even_if_they_spell_a_call():
    answer = "get_weather: city Paris has no unit celsius"
    assert LeakGuard().check(answer, Failure(VISIBLE, Attempt("no idea"))) == Leak.CALL
    assert LeakGuard().check(f"RuntimeError: {answer}", Failure(VISIBLE, Attempt("no idea"), answers=(answer,))) == ""
    error = ToolError(ErrorKind.DOMAIN_ERROR, answer, 0, "get_weather")
    assert LeakGuard().check(f'{{"error": "{answer}"}}', Failure(VISIBLE, Attempt("no idea", (), (error,)))) == ""
