"""The fields of a simulator: written, read back, and true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from triangles import RIGHT, called, failure, in_a_world

from fissile.calls import ToolCall
from fissile.errors import ErrorKind
from fissile.feedback import Failure
from fissile.simulator.typed import MAX_FIELD, Fields, field_text, is_like_fields, read_fields, truths


@pytest.mark.parametrize(
    ("failed", "line"),
    [
        (called({"base": 10, "unit": "cm"}), "missing_argument | calculate_area | height | required"),
        (called({"base": 10, "height": 5}), "missing_argument | calculate_area | unit | request"),
        (called({**RIGHT, "colour": 1}), "unexpected_argument | calculate_area | colour | properties"),
        (called({**RIGHT, "base": "10"}), "wrong_type | calculate_area | base | type integer"),
        (called({**RIGHT, "height": 7}), "wrong_value | calculate_area | height | request"),
        (called({**RIGHT, "unit": "mile"}), "wrong_value | calculate_area | unit | enum"),
        (called({**RIGHT, "unit": "m"}), "wrong_value | calculate_area | unit | request"),
        (called({**RIGHT, "base": 0}), "wrong_value | calculate_area | base | minimum 1"),
        (called({**RIGHT, "owner": "ann"}), "wrong_value | calculate_area | owner | pattern"),
        (called({**RIGHT, "labels": ["a", 1]}), "wrong_type | calculate_area | labels | type string"),
        (called(RIGHT, "area"), "unknown_tool | area | - | tools"),
        (called(RIGHT, "a|b\u2028\x00" + "c" * 99), f"unknown_tool | a/b {'c' * 56}... | - | tools"),
        (called({"side": 1}, "calculate_length"), "wrong_tool | calculate_length | - | request"),
        (failure("The area is 25."), "missing_call | - | - | request"),
        (
            failure('<tool_call>\n{"name": "calculate_area", "arguments": {\n</tool_call>'),
            "malformed_call | - | - | syntax",
        ),
    ],
)
def test_what_is_to_be_said_is_the_error_that_the_judge_set(failed: Failure, line: str) -> None:
    first = truths(failed)[0]
    assert first.line == line
    assert read_fields(line) == first
    assert is_like_fields(line)


def test_each_error_may_be_said() -> None:
    both = called({"height": "x", "colour": 1})
    assert {(one.kind.value, one.argument) for one in truths(both)} >= {
        ("wrong_type", "height"),
        ("missing_argument", "base"),
        ("unexpected_argument", "colour"),
    }


def test_of_a_call_that_should_not_be_there_no_argument_is_wrong() -> None:
    failed = called({"side": "x"}, "calculate_length")
    assert ErrorKind.WRONG_TYPE in failed.attempt.error_kinds
    assert {one.argument for one in truths(failed)} == {""}


def test_a_world_says_that_a_call_failed_and_the_truth_says_why() -> None:
    failed = in_a_world(ToolCall("calculate_area", {**RIGHT, "height": 7}, ""))
    assert [one.line for one in truths(failed)] == [
        "domain_error | calculate_area | height | world",
        "domain_error | calculate_area | - | world",
        "wrong_value | calculate_area | height | request",
    ]
    silent = in_a_world(ToolCall("calculate_area", {**RIGHT, "height": 7}, ""), silent=True)
    assert truths(silent)[0].line == "wrong_state | calculate_area | height | world"


def test_a_turn_that_goes_on_lacks_no_call() -> None:
    kinds = {one.kind for one in truths(in_a_world(ToolCall("calculate_length", {"side": 1}, "")))}
    assert kinds == {ErrorKind.DOMAIN_ERROR, ErrorKind.WRONG_TOOL}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "wrong_type",
        "wrong_type | book | city",
        "wrong_type | book | city | type string | more",
        "WrongType | book | city | type string",
        " | | | ",
        "The city | is | of the | wrong type",
        "wrong_type - book - city - type",
    ],
)
def test_what_is_no_line_of_fields(line: str) -> None:
    assert read_fields(line) is None


def test_spaces_are_free_and_nothing_else() -> None:
    assert read_fields("wrong_type|book |city|  type string ") == Fields(
        ErrorKind.WRONG_TYPE, "book", "city", "type string"
    )
    assert read_fields("timeout|||") == read_fields("timeout | - | - | -") == Fields(ErrorKind.TIMEOUT)


@pytest.mark.parametrize(
    ("line", "is_like"),
    [
        ("wrong_type | book | city", True),
        ("wrongtype | book | city | type string", True),
        ("Supported: cm | m | inch | foot", False),
        ("TypeError: 'city' must be one of a | b", False),
        ("wrong_type", False),
    ],
)
def test_a_line_that_looks_like_fields_is_no_sentence(line: str, is_like: bool) -> None:
    assert is_like_fields(line) is is_like


@given(st.text(max_size=300))
def test_any_text_can_be_read_and_any_name_can_stand_in_a_field(text: str) -> None:
    read_fields(text)
    is_like_fields(text)
    name = field_text(text)
    assert len(name) <= MAX_FIELD + 3
    assert name.isprintable()
    fields = Fields(ErrorKind.UNKNOWN_TOOL, name if name != "-" else "", "", "tools")
    assert read_fields(fields.line) == fields


@pytest.mark.parametrize("text", ["|" * 1_000_000, " " * 1_000_000, "wrong_type |" * 100_000, "\x00" * 1_000_000])
def test_a_huge_line_is_no_fields(text: str) -> None:
    assert read_fields(text) is None
    assert len(field_text(text)) <= MAX_FIELD + 3
