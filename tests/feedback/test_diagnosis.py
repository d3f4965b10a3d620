import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import Attempt, ParseError, ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import SingleStep, judge
from fissile.errors import ConfigError, ErrorKind, ToolError
from fissile.faults import Fault, corrupt
from fissile.feedback import FIXED_MESSAGE, Failure, LeakGuard, get_source
from fissile.feedback.phrasebooks import PYTHON, SERVICE
from fissile.feedback.rules import BOUNDS, Hint, find
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl_single_turn import CATEGORIES, load_bfcl
from fissile.tools import Tool

AREA = Tool(
    "calculate_area",
    "Area of a triangle.",
    {
        "type": "object",
        "properties": {
            "base": {"type": "integer", "minimum": 1},
            "height": {"type": "integer"},
            "unit": {"type": "string", "enum": ["cm", "m"]},
            "labels": {"type": "array", "items": {"type": "string"}},
            "owner": {"type": "string"},
            "exact": {"type": "boolean"},
            "scale": {"type": "number"},
        },
        "required": ["base", "height"],
    },
)
LENGTH = Tool("calculate_length", "", {"type": "object", "properties": {}})
TASK = Task(
    "t",
    ({"role": "user", "content": "Area of a triangle of base 10 and height 5 in cm, labelled a and b, for Ann Lee"},),
    (AREA, LENGTH),
    (
        ExpectedCall(
            "calculate_area",
            {
                "base": [10],
                "height": [5],
                "unit": ["cm"],
                "labels": [["a", "b"]],
                "owner": ["Ann Lee, Dr"],
                "exact": [True],
                "scale": [0.25],
            },
            frozenset({"unit", "labels", "owner", "exact"}),
        ),
    ),
)
RIGHT = {"base": 10, "height": 5, "scale": 0.25}
HERMES, ENVIRONMENT = HermesDialect(), SingleStep()


def failure(arguments: dict, name: str = "calculate_area", task: Task = TASK) -> Failure:
    text = HermesDialect().render_calls([ToolCall(name, arguments, "")])
    return Failure(task, ENVIRONMENT.attempt(task, text, HERMES))


def said(source: str, failed: Failure) -> str:
    (text,) = get_source(source).diagnose([failed])
    return text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"base": 10}, "TypeError: calculate_area() missing 1 required argument: 'height'."),
        ({}, "TypeError: calculate_area() missing 2 required arguments: 'base' and 'height'."),
        ({"base": 10, "height": 5}, "TypeError: calculate_area() cannot do what the user asked for without 'scale'."),
        (
            {**RIGHT, "colour": 1},
            "TypeError: calculate_area() got an unexpected argument 'colour'.",
        ),
        (
            {**RIGHT, "label": 1},
            "TypeError: calculate_area() got an unexpected argument 'label'. Did you mean 'labels'?",
        ),
        ({**RIGHT, "base": "10"}, "TypeError: argument 'base' must be an integer, not a string."),
        ({**RIGHT, "labels": ["a", 1, 2]}, "TypeError: argument 'labels.1' must be a string, not an integer."),
        ({**RIGHT, "unit": "inch"}, "ValueError: argument 'unit' must be one of ['cm', 'm']."),
        ({**RIGHT, "base": 0}, "ValueError: argument 'base' must be at least 1."),
        ({**RIGHT, "unit": "m"}, "ValueError: argument 'unit' must be the one of ['cm', 'm'] that the user asked for."),
        (
            {**RIGHT, "base": 12},
            "ValueError: the value of 'base' does not agree with the request; take it from the user's message.",
        ),
        (
            {**RIGHT, "scale": 0.5},
            "ValueError: the value of 'scale' does not agree with the request; write it in the form that the tool "
            "describes.",
        ),
        (
            {**RIGHT, "owner": "Bob"},
            "ValueError: the value of 'owner' does not agree with the request; take it from the user's message or "
            "leave it out.",
        ),
    ],
)
def test_rules_read_like_python_errors(arguments, text):
    failed = failure(arguments)
    assert said("rules", failed).startswith(text)
    assert LeakGuard().check(said("rules", failed), failed) == ""


def with_truth(**accepted) -> Task:
    """The task with all of `accepted` required and nothing else."""
    truth = (ExpectedCall("calculate_area", {"base": [10], "height": [5], **accepted}),)
    return Task("t", TASK.messages, TASK.tools, truth)


@pytest.mark.parametrize(
    ("truth", "given_value", "hint"),
    [
        ({"labels": [["a", "b"]]}, ["a"], Hint.COUNT),
        ({"labels": [["a", "b"]]}, ["a", "c"], Hint.IN_MESSAGE),
        ({"labels": [["a", "q"]]}, ["a", "c"], Hint.FORM),
        ({"owner": ["Ann Lee, Dr"]}, "Ann Lee", Hint.FORM),
        ({"owner": ["Ann Lee"]}, "Bob", Hint.IN_MESSAGE),
        ({"owner": ["Lee, A."]}, "Bob", Hint.FORM),
        ({"exact": [True]}, False, Hint.DISAGREES),
    ],
)
def test_hints_at_a_wrong_value(truth, given_value, hint):
    (name,) = truth
    (finding,) = find(failure({"base": 10, "height": 5, name: given_value}, task=with_truth(**truth)))
    assert (finding.kind, finding.hint, finding.arguments) == (ErrorKind.WRONG_VALUE, hint, (name,))


def test_an_argument_that_nobody_asked_for():
    failed = failure({"base": 10, "height": 5, "owner": "Ann Lee"}, task=with_truth())
    assert said("rules", failed) == (
        "ValueError: argument 'owner' is not part of what the user asked for; leave it out."
    )


def test_service_words_the_same_findings_otherwise():
    assert json.loads(said("service", failure({"base": 10, "scale": 0.25}))) == {
        "error": {
            "code": "missing_argument",
            "operation": "calculate_area",
            "field": "height",
            "message": "A mandatory field is absent.",
        }
    }


def test_unknown_and_wrong_tools():
    unknown = failure(RIGHT, "area")
    assert said("rules", unknown) == (
        "NameError: no tool is named 'area'; the tools are 'calculate_area', 'calculate_length'."
    )
    wrong = failure({"base": 1}, "calculate_length")
    assert said("rules", wrong) == (
        "RuntimeError: calculate_length() does not do what the user asked for; use another tool."
    )
    assert json.loads(said("service", wrong))["error"]["code"] == "wrong_tool"


def test_of_many_tools_only_the_closest_are_named():
    tools = tuple(Tool(f"tool_{n}", "", {"type": "object"}) for n in range(40))
    task = Task("t", (), tools, (ExpectedCall("tool_7", {}),))
    text = said("rules", failure({}, "tools_33", task))
    assert "'tool_33'" in text
    assert text.count("tool_") == 3


def test_a_malformed_call_names_reason_and_place():
    text = '<tool_call>\n{"name": "calculate_area" "arguments": {}}\n</tool_call>'
    failed = Failure(TASK, ENVIRONMENT.attempt(TASK, text, HERMES))
    position = text.index('"arguments"')
    assert said("rules", failed).startswith(
        f"SyntaxError: the tool call cannot be parsed (Expecting ',' delimiter at character {position})."
    )
    assert "offset" in json.loads(said("service", failed))["error"]["message"]


def test_no_call_too_few_and_too_many():
    none = Failure(TASK, ENVIRONMENT.attempt(TASK, "Hello!", HERMES))
    assert said("rules", none).startswith("RuntimeError: no tool was called; the tools are 'calculate_area'")
    twice = HermesDialect().render_calls([ToolCall("calculate_area", RIGHT, "")] * 2)
    many = Failure(TASK, ENVIRONMENT.attempt(TASK, twice, HERMES))
    assert said("rules", many).endswith("call: RuntimeError: more tools were called than the user asked for.")
    pair = Task("t", TASK.messages, TASK.tools, TASK.ground_truth * 2)
    few = failure(RIGHT, task=pair)
    assert said("rules", few) == "RuntimeError: fewer tools were called than the user asked for."
    nothing_asked = Task("t", TASK.messages, TASK.tools, ())
    assert "do not call any" in said("rules", failure(RIGHT, task=nothing_asked))


def test_at_most_three_findings():
    failed = failure({"base": "x", "height": "y", "unit": "z", "scale": "w", "a": 1, "b": 2})
    assert len(said("rules", failed).splitlines()) == 3
    assert len(json.loads(said("service", failed))["errors"]) == 3


def test_an_attempt_without_errors_gets_the_fixed_message():
    assert said("rules", Failure(TASK, Attempt("hm"))) == FIXED_MESSAGE


def test_an_unknown_source_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="Choose one of fixed, rules, service"):
        get_source("oracle")


def test_both_phrasebooks_word_everything_and_never_alike():
    assert PYTHON.keys() == SERVICE.keys()
    assert not set(PYTHON.values()) & set(SERVICE.values())
    assert {kind for kind, hint in PYTHON if hint is Hint.NONE} == set(ErrorKind)


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": 5},
        {"maximum": -5},
        {"exclusiveMinimum": 5},
        {"exclusiveMaximum": -5},
        {"multipleOf": 7},
        {"minLength": 5},
        {"maxLength": 0},
        {"minItems": 5},
        {"maxItems": 0},
        {"uniqueItems": True},
        {"pattern": "^z{2}$"},
    ],
)
def test_every_bound_of_a_schema_has_words(schema):
    (keyword,) = schema
    assert keyword in BOUNDS
    value = "x" if "Length" in keyword or keyword == "pattern" else [1, 1] if "Items" in keyword else 3
    tool = Tool("f", "", {"type": "object", "properties": {"a": schema}})
    task = Task("t", (), (tool,), (ExpectedCall("f", {"a": ["right"]}),))
    failed = failure({"a": value}, "f", task)
    assert find(failed)[0].bound == (keyword, schema[keyword])
    assert said("rules", failed).startswith("ValueError: argument 'a' must ")
    assert keyword in said("service", failed)


def test_an_environments_own_words_are_kept_short_and_on_one_line():
    error = ToolError(ErrorKind.EXCEPTION, "boom\n" * 1000, 0, "calculate_area")
    call = ToolCall("calculate_area", RIGHT, "")
    text = said("rules", Failure(TASK, Attempt("", (call,), (error,))))
    assert text.startswith("RuntimeError: calculate_area() raised an exception: boom boom")
    assert len(text) < 400
    assert "\n" not in text


ERRORS = st.builds(
    ToolError,
    st.sampled_from(ErrorKind),
    st.text(max_size=20),
    st.none() | st.integers(0, 3),
    st.none() | st.text(max_size=8) | st.just("calculate_area"),
    st.none() | st.sampled_from(["base", "labels.0", "labels.9", "{x}", "a.b.c", "", "unit.0.q"]),
    st.none() | st.integers(0, 99),
)
CALLS = st.builds(
    ToolCall,
    st.none() | st.text(max_size=8) | st.just("calculate_area"),
    st.none()
    | st.dictionaries(st.sampled_from(["base", "labels", "unit", "{x}"]), st.integers() | st.lists(st.none())),
    st.text(max_size=8),
    parse_error=st.none() | st.builds(ParseError, st.text(max_size=9), st.integers(0, 99)),
)


@given(st.lists(CALLS, max_size=3), st.lists(ERRORS, min_size=1, max_size=5))
def test_any_record_can_be_diagnosed(calls, errors):
    failed = Failure(TASK, Attempt("text", tuple(calls), tuple(errors)))
    assert said("rules", failed)
    assert json.loads(said("service", failed))
    LeakGuard().check(said("rules", failed), failed)


def assert_harmless_and_to_the_point(task: Task, fault: Fault, seed: int, guard: LeakGuard) -> None:
    faulty = corrupt(task, HermesDialect(), random.Random(seed), fault)
    if faulty is None:
        return
    failed = Failure(task, ENVIRONMENT.attempt(task, faulty.text, HERMES))
    right = HermesDialect().parse(HermesDialect().render_calls(task.oracle_calls()))
    for source in ("rules", "service"):
        text = said(source, failed)
        assert guard.check(text, failed) == "", (task.id, fault, text)
        if faulty.argument and not judge(task, right):  # a truth that violates its own schema has other errors first
            assert faulty.argument in text, (task.id, fault, text)


def test_on_bfcl_the_diagnosis_names_the_field_and_does_not_leak(bfcl):
    guard = LeakGuard()
    for seed, task in enumerate(load_bfcl(CATEGORIES, bfcl).tasks):
        assert_harmless_and_to_the_point(task, list(Fault)[seed % len(Fault)], seed, guard)


@pytest.mark.slow
def test_on_bfcl_no_fault_of_any_task_leaks(bfcl):
    guard = LeakGuard()
    for seed, task in enumerate(load_bfcl(CATEGORIES, bfcl).tasks):
        for fault in Fault:
            assert_harmless_and_to_the_point(task, fault, seed, guard)


def test_on_bfcl_right_calls_and_hidden_values_are_blocked(bfcl):
    guard, dialect = LeakGuard(), HermesDialect()
    for task in load_bfcl(("simple_python", "live_multiple"), bfcl).tasks[::3]:
        failed = Failure(task, Attempt("I do not know."))
        calls = task.oracle_calls()
        if any(call.arguments for call in calls):
            assert guard.check(dialect.render_calls(calls), failed), task.id
