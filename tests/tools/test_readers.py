"""One notion of arguments for all who read a schema: the judge, rules, faults, prompts and drafts of arguments."""

import random
from typing import Any

import pytest

from fissile.calls import ToolCall
from fissile.dialects import HermesDialect
from fissile.engines.plausible_values import Borrowed, plausible_arguments
from fissile.environments import SingleStep
from fissile.faults import Fault, corrupt
from fissile.feedback.base import Failure
from fissile.feedback.phrasebooks import RULES, SERVICE_RULES
from fissile.simulator.prompt import SimulatorPrompt
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

BOOK = Tool.from_schema(
    {
        "name": "book",
        "inputSchema": {
            "allOf": [
                {"$ref": "#/$defs/Trip"},
                {
                    "properties": {
                        "nights": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
                        "guest": {"anyOf": [{"$ref": "#/$defs/Guest"}, {"type": "null"}]},
                    }
                },
            ],
            "$defs": {
                "Trip": {"properties": {"city": {"$ref": "#/$defs/City"}}, "required": ["city"]},
                "City": {"enum": ["Oslo", "Rome"]},
                "Guest": {"type": "object", "properties": {"mail": {"type": "string"}}, "required": ["mail"]},
            },
        },
    }
)
RIGHT: dict[str, Any] = {"city": "Oslo", "nights": 3, "guest": {"mail": "ada@x.org"}}
SAID = ({"role": "user", "content": "Three nights in Oslo for ada@x.org, please."},)
TASK = Task("t", SAID, (BOOK,), (ExpectedCall.exactly("book", RIGHT),))


def failure(task: Task, arguments: dict[str, Any]) -> Failure:
    dialect = HermesDialect()
    attempt = SingleStep().attempt(task, dialect.render_calls([ToolCall.of("book", arguments)]), dialect)
    return Failure(task, attempt)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (RIGHT | {"nights": "3"}, "TypeError: argument 'nights' must be an integer or null, not a string."),
        (RIGHT | {"nights": 0}, "ValueError: argument 'nights' must be at least 1."),
        (RIGHT | {"city": "Bonn"}, "ValueError: argument 'city' must be one of ['Oslo', 'Rome']."),
        (RIGHT | {"guest": {"mail": 4}}, "TypeError: argument 'guest.mail' must be a string, not an integer."),
        (RIGHT | {"guest": {}}, "TypeError: book() missing 1 required argument: 'guest.mail'."),
        (RIGHT | {"citys": 1}, "TypeError: book() got an unexpected argument 'citys'."),
        (RIGHT | {"": 1}, "TypeError: book() got an argument without a name."),
    ],
)
def test_rules_explain_what_the_schema_says_in_another_place(arguments, said):
    assert RULES.diagnose([failure(TASK, arguments)]) == [said]


def test_rules_about_a_whole_call_quote_them():
    either = Tool(
        "book",
        "",
        {
            "type": "object",
            "anyOf": [{"required": ["mail"]}, {"required": ["phone"]}],
            "properties": {"mail": {}, "phone": {}},
        },
    )
    task = Task("t", SAID, (either,), (ExpectedCall.exactly("book", {"mail": "ada@x.org"}),))
    (python,), (service,) = (source.diagnose([failure(task, {})]) for source in (RULES, SERVICE_RULES))
    assert python.splitlines()[0] == "TypeError: the call of book() must have 'mail', or 'phone'."
    assert "''" not in python
    assert "must have 'mail', or 'phone'" in service


@pytest.mark.parametrize(
    "fault",
    [Fault.DROPPED_ARGUMENT, Fault.RENAMED_ARGUMENT, Fault.EXTRA_ARGUMENT, Fault.WRONG_TYPE, Fault.WRONG_VALUE],
)
def test_faults_apply_to_arguments_that_stand_elsewhere(fault):
    wrong = corrupt(TASK, HermesDialect(), random.Random(0), fault)
    assert wrong is not None
    errors = SingleStep().attempt(TASK, wrong.text, HermesDialect()).errors
    assert errors
    assert all(error.argument for error in errors)


def test_an_open_tool_has_no_unexpected_argument():
    anything = Tool("book", "", {"type": "object", "additionalProperties": {"type": "integer"}})
    task = Task("t", SAID, (anything,), (ExpectedCall.exactly("book", {"a": 1}),))
    wrong = corrupt(task, HermesDialect(), random.Random(0), Fault.RENAMED_ARGUMENT)
    assert wrong is None


def test_prompts_and_drafts_know_the_arguments():
    (_, user) = SimulatorPrompt.named("learned").messages(failure(TASK, {"city": "Rome"}))
    assert 'book(city: "Oslo" | "Rome", nights?: integer | null, guest?: object | null)' in user["content"]
    drafts = [plausible_arguments(BOOK, Borrowed.among(["Oslo"]), random.Random(seed)) for seed in range(8)]
    assert {name for draft in drafts for name in draft} == {"city", "nights", "guest"}
    assert all(draft["city"] in ("Oslo", "Rome") for draft in drafts)
