import re

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind, ToolError
from fissile.faults import Fault
from fissile.feedback import FIXED_MESSAGE, Failure, get_source
from fissile.simulator.corruptions import Corruptor
from fissile.simulator.judging.quality import assess
from fissile.simulator.judging.report import Lengths, summarize
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl_multi_turn import load_bfcl_multi_turn
from fissile.tasks.bfcl_single_turn import load_bfcl
from fissile.tools import Tool

AREA = Tool(
    "calculate_area",
    "Area of a triangle.",
    {
        "type": "object",
        "properties": {
            "base": {"type": "integer", "minimum": 1},
            "height": {"type": "integer", "description": "The height, from 1 to 90."},
            "unit": {"type": "string", "enum": ["cm", "m", "inch"]},
            "labels": {"type": "array", "items": {"type": "string"}},
            "owner": {"type": "string"},
        },
        "required": ["base", "height"],
    },
)
LENGTH = Tool("calculate_length", "", {"type": "object", "properties": {"side": {"type": "number"}}})
TASK = Task(
    "t",
    ({"role": "user", "content": "Area of a triangle of base 10 and height 5 in cm, labelled a and b, for Ann Lee"},),
    (AREA, LENGTH),
    (
        ExpectedCall(
            "calculate_area",
            {"base": [10], "height": [5], "unit": ["cm"], "labels": [["a", "b"]], "owner": ["Ann Lee"]},
            frozenset({"labels", "owner"}),
        ),
    ),
)
RIGHT = {"base": 10, "height": 5, "unit": "cm"}


def failure(text: str) -> Failure:
    return Failure(TASK, SingleStep().attempt(TASK, text, HermesDialect()))


def called(arguments: dict, name: str = "calculate_area") -> Failure:
    return failure(HermesDialect().render_calls([ToolCall(name, arguments, "")]))


FAILURES = {
    "missing": called({"base": 10, "unit": "cm"}),
    "unexpected": called({**RIGHT, "colour": 1}),
    "type": called({**RIGHT, "base": "10"}),
    "value": called({**RIGHT, "height": 7}),
    "enum": called({**RIGHT, "unit": "mile"}),
    "bound": called({**RIGHT, "base": 0}),
    "item": called({**RIGHT, "labels": ["a", 1]}),
    "unknown": called(RIGHT, "area"),
    "tool": called({"side": 1}, "calculate_length"),
    "none": failure("The area is 25."),
    "malformed": failure('<tool_call>\n{"name": "calculate_area", "arguments": {"base": 10\n</tool_call>'),
}


def said(source: str, *failures: Failure) -> list[str]:
    return get_source(source).diagnose(failures)


def is_found_wrong(text: str, failed: Failure) -> bool:
    found = assess(text, failed)
    return found.right_field is False or not found.right_kind or bool(found.false_statements)


@pytest.mark.parametrize("source", ["rules", "service", "environment"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_right_diagnosis_is_found_right(name, source):
    (text,) = said(source, FAILURES[name])
    found = assess(text, FAILURES[name])
    assert found.right_kind
    assert found.right_field is not False
    assert found.false_statements == ()


@pytest.mark.parametrize("name", FAILURES)
def test_the_fixed_message_is_never_right(name):
    found = assess(FIXED_MESSAGE, FAILURES[name])
    assert not found.right_kind
    assert not found.right_field
    assert (found.leak, found.false_statements) == ("", ())


@pytest.mark.parametrize("source", ["rules", "service"])
@pytest.mark.parametrize(("of", "planted"), [(a, b) for a in FAILURES for b in FAILURES if a != b])
def test_the_diagnosis_of_another_failure_is_found_wrong(of, planted, source):
    (text,) = said(source, FAILURES[of])
    assert is_found_wrong(text, FAILURES[planted]), (text, planted)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("type", "argument 'base' must be a string."),
        ("type", "argument 'base' must be an integer, not a list."),
        ("type", "'base' is a number but should be a boolean"),
        ("type", "base has to be an array of integers"),
        ("item", "'labels' must be a list of integers"),
        ("item", "every item of 'labels' must be a number"),
        ("item", "'labels' must be a string, not an array"),
        ("enum", "'unit' must be one of ['cm', 'm', 'mile']"),
        ("enum", "'unit' must be one of ['cm', 'm']"),
        ("enum", "unit has to be either cm or m"),
        ("enum", "the allowed values for 'unit' are cm, m, inch and foot"),
        ("value", "'height' must be one of [5, 6, 7]"),
        ("bound", "'base' must be at least 3"),
        ("bound", "'base' must be between 1 and 50"),
        ("value", "'height' must be at most 100."),
        ("missing", "calculate_area() missing 1 required argument: 'base'"),
        ("missing", "calculate_area() missing 1 required argument: 'width'"),
        ("missing", "the required argument 'owner' is missing"),
        ("unexpected", "calculate_area() got an unexpected argument 'base'"),
        ("unexpected", "calculate_area() got an unexpected argument 'labels'"),
        ("unexpected", "unexpected argument 'shade'"),
        ("unexpected", "unexpected argument 'colour'. Did you mean 'color'?"),
        ("unknown", "no tool is named 'calculate_area'"),
        ("unknown", "no tool is named 'perimeter'; the tools are 'calculate_area', 'calculate_length'"),
        ("unknown", "no tool is named 'area'; the tools are 'calculate_area', 'calculate_volume'"),
        ("tool", "calculate_width() does not do what the user asked for; use another tool."),
        ("tool", "no tool is named 'calculate_length'"),
        ("none", "no tool was called; the tools are 'calculate_area', 'measure'"),
        ("value", "the value of 'hight' does not agree with the request"),
        ("value", '{"error": {"code": "wrong_value", "field": "altitude", "message": "Review it."}}'),
        ("value", '{"error": {"code": "wrong_type", "field": "height", "message": "Review it."}}'),
        ("value", '{"error": {"code": "wrong_value", "operation": "area", "field": "height", "message": "No."}}'),
        ("value", "the values of 'height' and 'base' do not agree with the request"),
        ("malformed", "TimeoutError: calculate_area() did not finish in time."),
    ],
)
def test_a_planted_falsehood_is_found(name, text):
    assert is_found_wrong(text, FAILURES[name])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("value", "'height' must be from 1 to 90, and it must agree with the request"),
        ("type", "'base' must be a number"),
        ("enum", "'unit' can be cm, inch or m"),
        ("enum", "'unit' must be one of units such as cm"),
        ("bound", "'base' must be at least 1"),
        ("unexpected", "'colour' is not an argument of calculate_area"),
        ("unknown", "there is no tool 'area'. Perhaps you meant 'calculate_area'?"),
    ],
)
def test_a_true_statement_is_not_found_false(name, text):
    found = assess(text, FAILURES[name])
    assert found.false_statements == ()
    assert found.right_kind


def test_a_call_that_should_not_be_there_has_no_wrong_argument():
    failed = called({"side": "x"}, "calculate_length")
    assert ErrorKind.WRONG_TYPE in failed.attempt.error_kinds
    assert assess(said("rules", failed)[0], failed).right_field is None


def test_a_world_says_that_a_call_failed_and_the_truth_says_why():
    call = ToolCall("calculate_area", {**RIGHT, "height": 7}, "")
    error = ToolError(ErrorKind.DOMAIN_ERROR, "no such triangle", 0, "calculate_area")
    failed = Failure(TASK, Attempt("", (call,), (error,)), answers=('{"error": "no such triangle"}',))
    world = assess('{"error": "no such triangle"}', failed)
    assert (world.right_kind, world.right_field) == (True, False)
    teller = assess("the value of 'height' does not agree with the request", failed)
    assert (teller.right_kind, teller.right_field) == (True, True)


def test_lengths_leaks_and_emptiness():
    found = assess("one two\n\nthree", FAILURES["value"])
    assert (found.words, found.lines, found.characters, found.is_empty) == (3, 2, 14, False)
    assert assess(" \n", FAILURES["value"]).is_empty
    secret = Task("s", (), (AREA,), (ExpectedCall("calculate_area", {"owner": ["Ann Lee"]}),))
    wrong = Failure(secret, SingleStep().attempt(secret, "hm", HermesDialect()))
    assert assess("'owner' should be Ann Lee", wrong).leak == "value"
    assert assess("'owner' should be Ann Lee", wrong).to_dict()["leak"] == "value"


@pytest.fixture(scope="module")
def corrupted(bfcl):
    """Systematic corruptions of every 40th task of these categories of BFCL."""
    tasks = load_bfcl(("simple_python", "multiple", "live_simple", "parallel_multiple", "live_multiple"), bfcl).tasks[
        ::40
    ]
    corruptor = Corruptor.over(tasks, HermesDialect())
    return [faulty for task in tasks for faulty in corruptor.failures(task)]


def without_code(text: str) -> str:
    """A service's body that does not name the kind."""
    return re.sub(r'"code": "\w+", ?', "", text)


@pytest.mark.parametrize(
    ("source", "reword"),
    [("rules", str), ("service", str), ("service", without_code), ("environment", str)],
    ids=["rules", "service", "service_without_code", "environment"],
)
def test_on_bfcl_the_phrasebooks_are_read_back(corrupted, source, reword):
    texts = [reword(text) for text in said(source, *(faulty.failure for faulty in corrupted))]
    found = [assess(text, faulty.failure) for text, faulty in zip(texts, corrupted, strict=True)]
    with_field = [one.right_field for one in found if one.right_field is not None]
    assert len(found) > 300
    assert len(with_field) > 200
    assert sum(with_field) >= 0.99 * len(with_field)
    assert sum(one.right_kind for one in found) >= 0.99 * len(found)
    assert [one.false_statements for one in found if one.false_statements] == []


def test_on_bfcl_a_shuffled_diagnosis_is_found_wrong(corrupted):
    """Each failure is told what is wrong with one of another task; that a call is malformed may be said of any."""
    texts = said("rules", *(faulty.failure for faulty in corrupted))
    pairs = [
        (texts[(index + 101) % len(texts)], faulty.failure)
        for index, faulty in enumerate(corrupted)
        if Fault.MALFORMED not in (faulty.fault, corrupted[(index + 101) % len(texts)].fault)
    ]
    missed = [text for text, failed in pairs if not is_found_wrong(text, failed)]
    assert len(missed) <= 0.03 * len(pairs), missed


def test_in_the_live_world_of_bfcl_kinds_are_read_back():
    tasks = load_bfcl_multi_turn(("multi_turn_base",)).tasks[::67]
    corruptor = Corruptor.over(tasks, HermesDialect())
    failures = [faulty.failure for task in tasks for faulty in corruptor.failures(task)]
    found = [assess(text, one) for text, one in zip(said("rules", *failures), failures, strict=True)]
    assert len(found) > 30
    assert sum(one.right_kind for one in found) >= 0.99 * len(found)
    assert not any(one.false_statements for one in found)


def test_a_summary_counts():
    failures = [FAILURES["missing"], FAILURES["type"], FAILURES["value"], FAILURES["unknown"]]
    texts = [*said("rules", *failures[:2]), FIXED_MESSAGE, f" {FIXED_MESSAGE}\n"]
    report = summarize(texts, failures, ["Error: no such file", "no"], ["dropped_argument", "", "wrong_value", ""])
    rates = report.rates
    assert (rates.non_leaking.num, rates.non_leaking.den) == (4, 4)
    assert (rates.right_field.num, rates.right_field.den) == (2, 3)
    assert (rates.right_kind.num, rates.right_kind.den) == (2, 4)
    assert (rates.free_of_false.num, rates.duplicates.num, rates.empty.num, report.distinct) == (4, 2, 0, 3)
    assert report.by_kind["wrong_type"].right_field.rate == 1
    assert set(report.by_fault) == {"dropped_argument", "wrong_value"}
    assert report.real_lengths == Lengths(2, (1, 1, 4), (2, 2, 19))
    assert report.to_dict()["lengths"]["words"]["50%"] > 0


def test_one_text_for_one_failure_twice_is_no_duplicate():
    report = summarize(["no", "no"], [FAILURES["type"]] * 2)
    assert (report.rates.duplicates.num, report.distinct) == (0, 1)
    assert report.rates.non_leaking.high == 1
    assert Lengths.of([]).to_dict() == {"count": 0, "words": {}, "characters": {}}
