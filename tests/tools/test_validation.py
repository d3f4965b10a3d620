"""Typed errors of arguments: the kind is true, the argument is named, the message states the rule."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.serial import to_json
from fissile.tools import Tool

SHAPE = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
            "required": ["kind", "r"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "line"}, "to": {"type": "integer"}},
            "required": ["kind", "to"],
        },
    ]
}
LISTS = {"anyOf": [{"type": "array", "items": {"type": name}} for name in ("integer", "string")]}
OPTIONAL = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
CONTACT = {
    "type": "object",
    "properties": {"mail": {"type": "string"}, "phone": {"type": "string"}},
    "anyOf": [{"required": ["mail"]}, {"required": ["phone"]}],
}


def found(schema: dict[str, Any], arguments: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    errors = Tool("f", "", schema).validate(arguments)
    return [(error.kind.value, error.argument, error.message) for error in errors]


def of(schema: Any, value: Any) -> list[tuple[str, str | None, str]]:
    return found({"type": "object", "properties": {"x": schema}}, {"x": value})


@pytest.mark.parametrize(
    ("schema", "value", "kind", "argument", "message"),
    [
        (OPTIONAL, "5", "wrong_type", "x", "argument 'x' must be of type integer or null, not string."),
        (OPTIONAL, 5.5, "wrong_type", "x", "argument 'x' must be of type integer or null, not number."),
        (OPTIONAL, True, "wrong_type", "x", "argument 'x' must be of type integer or null, not boolean."),
        ({"anyOf": [OPTIONAL, {"type": "array"}]}, "5", "wrong_type", "x", "must be of type integer or null or array"),
        ({"type": ["integer", "null"]}, "5", "wrong_type", "x", "must be of type integer or null, not string"),
        ({"type": "string", "nullable": True}, 5, "wrong_type", "x", "must be of type string or null, not integer"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, 0, "wrong_value", "x", "'minimum': 1"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "c", "wrong_value", "x", "one of ['a', 'b', null]"),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 3, "wrong_value", "x", "must be one of [1, 2]."),
        ({"const": "5"}, 5, "wrong_value", "x", "argument 'x' must be '5'."),
        ({"not": {"type": "string"}}, "a", "wrong_value", "x", "argument 'x' violates 'not': {\"type\": \"string\"}."),
        (
            {"oneOf": [{"type": "number"}, {"type": "integer"}]},
            5,
            "wrong_value",
            "x",
            "must fit one form of its schema",
        ),
        (SHAPE, {"kind": "circle"}, "missing_argument", "x.r", "missing the required argument 'x.r'"),
        (
            SHAPE,
            {"kind": "line", "to": "9"},
            "wrong_type",
            "x.to",
            "argument 'x.to' must be of type integer, not string",
        ),
        (SHAPE, {"kind": "dot"}, "wrong_value", "x.kind", "argument 'x.kind' must be one of ['circle', 'line']."),
        (SHAPE, {}, "missing_argument", "x.kind", "missing the required argument 'x.kind'"),
        (SHAPE, "circle", "wrong_type", "x", "argument 'x' must be of type object, not string."),
        ({"type": "array", "items": OPTIONAL}, [1, None, "2"], "wrong_type", "x.2", "must be of type integer or null"),
        (LISTS, [None], "wrong_type", "x.0", "argument 'x.0' must be of type integer or string, not null."),
        (LISTS, [1, "a"], "wrong_value", "x", "argument 'x' fits none of the forms that its schema allows."),
        (LISTS, 1, "wrong_type", "x", "argument 'x' must be of type array, not integer."),
        (CONTACT, {}, "wrong_value", "x", "argument 'x' must have 'mail', or 'phone'."),
        (
            {"type": "array", "prefixItems": [{}], "items": False},
            [1, 2],
            "wrong_value",
            "x",
            "must not have so many items",
        ),
        ({"type": "object", "minProperties": 1}, {}, "wrong_value", "x", "must have at least 1 entries"),
        ({"type": "object", "additionalProperties": False}, {"y": 1}, "unexpected_argument", "x.y", "argument 'x.y'"),
        ({"type": "object", "properties": {"y": False}}, {"y": 1}, "unexpected_argument", "x.y", "argument 'x.y'"),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, {"b": 1}, "unexpected_argument", "x.b", "'x.b'"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, {"a": 1}, "missing_argument", "x.b", "which 'a' needs"),
        (False, 1, "unexpected_argument", "x", "got an unexpected argument 'x'"),
    ],
)
def test_each_violation_is_one_true_error(schema, value, kind, argument, message):
    ((seen_kind, seen_argument, seen_message),) = of(schema, value)
    assert (seen_kind, seen_argument) == (kind, argument)
    assert message in seen_message


@pytest.mark.parametrize(
    ("schema", "arguments", "expected"),
    [
        (CONTACT, {}, ("missing_argument", None, "the call of f() must have 'mail', or 'phone'.")),
        (
            CONTACT | {"oneOf": CONTACT["anyOf"]},
            {"mail": "a", "phone": "b"},
            ("wrong_value", None, "the call of f() must fit one form of its schema, not several."),
        ),
        (
            {"type": "object", "not": {"required": ["a"]}, "properties": {"a": {}}},
            {"a": 1},
            ("wrong_value", None, 'the call of f() violates \'not\': {"required": ["a"]}.'),
        ),
        (
            {"type": "object", "additionalProperties": True, "minProperties": 2},
            {"a": 1},
            ("wrong_value", None, "the call of f() must have at least 2 entries."),
        ),
        (
            {"type": "object", "properties": {"a": {}}},
            {"": 1},
            ("unexpected_argument", "", "f() got an argument without a name."),
        ),
        (
            {"type": "object", "propertyNames": {"maxLength": 2}},
            {"abc": 1},
            ("unexpected_argument", "abc", "f() got an unexpected argument 'abc'."),
        ),
        (
            {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
            {"b": 1},
            ("unexpected_argument", "b", "f() got an unexpected argument 'b'."),
        ),
        (
            {"properties": {"a": {}}, "if": {"required": ["a"]}, "then": {"properties": {"b": {}}, "required": ["b"]}},
            {"a": 1},
            ("missing_argument", "b", "f() is missing the required argument 'b'."),
        ),
    ],
)
def test_a_rule_about_the_whole_call_names_the_call_and_never_an_empty_argument(schema, arguments, expected):
    assert found(schema, arguments) == [expected]


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ({"multipleOf": 0.01}, [19.99, 0.07, 1e300, 5, 10**400], [19.999]),
        ({"multipleOf": 0.1}, [0.1 + 0.2, 1.1], [0.15]),
        ({"maximum": 0.3}, [0.1 + 0.2], [0.31]),
        ({"exclusiveMaximum": 0.3}, [0.2], [0.1 + 0.2]),
        ({"minimum": 2**53 + 1}, [2**53 + 1], [2**53]),
        ({"type": "integer"}, [1e3, 2.0, 10**30], [True, 0.5]),
        ({"enum": [1, 0.3]}, [1.0, 0.1 + 0.2], [True, "1"]),
        ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}]),
        (
            {"uniqueItems": True},
            [[1, True, "1", [1], {"a": 1}, {"a": True}]],
            [[1, 1.0], [{"a": 1}, {"a": 1.0}], [0.3, 0.1 + 0.2]],
        ),
        ({"type": "number"}, [0.5], [float("nan"), float("inf")]),
        ({}, [None], [float("nan"), [float("-inf")], {"a": 10**5000}]),
    ],
)
def test_numbers_are_compared_as_people_write_them(rule, right, wrong):
    assert [value for value in right if of(rule, value)] == []
    assert [value for value in wrong if not of(rule, value)] == []


SLOW = "^(a|aa)+$"


@pytest.mark.parametrize(
    ("schema", "arguments", "argument"),
    [
        ({"properties": {"x": {"pattern": SLOW}}}, {"x": "a" * 60 + "!"}, "x"),
        ({"properties": {"x": {"items": {"pattern": SLOW}}}}, {"x": ["a", "a" * 60 + "!"]}, "x.1"),
        ({"properties": {"x": {"not": {"pattern": SLOW}}}}, {"x": "a" * 60 + "!"}, "x"),
        ({"patternProperties": {SLOW: {}}}, {"a" * 60 + "!": 1}, None),
        ({"propertyNames": {"pattern": SLOW}}, {"a" * 60 + "!": 1}, None),
        ({"patternProperties": {SLOW: {}}, "unevaluatedProperties": False}, {"a" * 60 + "!": 1}, None),
        ({"properties": {"x": {"type": "array", "items": {"enum": list(range(1000))}}}}, {"x": [7.5] * 10_000}, None),
    ],
)
def test_what_takes_too_long_to_check_is_a_timeout_of_the_call(schema, arguments, argument):
    begin = time.process_time()
    errors = found({"type": "object", **schema}, arguments)
    assert time.process_time() - begin < 10  # it would be minutes
    assert [(kind, where) for kind, where, _ in errors] == [("timeout", argument)]
    assert "takes too long to check against" in errors[0][2]


def test_alternatives_of_alternatives_end_in_time():
    node = {"anyOf": [{"items": {"$ref": "#/$defs/N"}, "minItems": size, "type": "array"} for size in (1, 1, 1)]}
    value: Any = []
    for _ in range(40):
        value = [value]
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/N"}}, "$defs": {"N": node}}
    assert [kind for kind, _, _ in found(schema, {"x": value})] == ["timeout"]


def test_long_lists_of_objects_are_compared_in_time():
    assert of({"uniqueItems": True}, [{"a": number} for number in range(20_000)]) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "kind", "r", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
schemas = st.recursive(
    st.sampled_from(
        [
            True,
            False,
            {},
            {"type": "integer"},
            {"const": 1},
            {"pattern": "^a"},
            {"multipleOf": 0.1},
            {"required": ["x"]},
            SHAPE,
            OPTIONAL,
            {"type": "OBJECT", "nullable": True},
            {"$ref": "#/$defs/N"},
            {"additionalProperties": False},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
        st.builds(lambda one, two: {"oneOf": [one, two]}, inner, inner),
        st.builds(lambda one, two: {"allOf": [one], "unevaluatedProperties": two}, inner, inner),
        st.builds(lambda one, two: {"if": one, "then": two}, inner, inner),
        st.builds(lambda one, two: {"properties": {"x": one}, "patternProperties": {"^k": two}}, inner, inner),
        st.builds(lambda one: {"items": one, "uniqueItems": True}, inner),
        st.builds(lambda one: {"propertyNames": one}, inner),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(schemas, json_values)
def test_validation_never_raises_and_names_what_it_blames(schema, value):
    tool = Tool(
        "f", "", {"type": "object", "properties": {"x": schema}, "$defs": {"N": {"items": {"$ref": "#/$defs/N"}}}}
    )
    json.dumps(tool.properties)
    for error in tool.validate({"x": value}):
        assert "''" not in error.message or error.argument in (None, "") or value != ""
        assert error.message.endswith(".")
        json.dumps(to_json(error))
