"""What a schema says of its arguments, wherever it says it; and what is refused when a tool is made."""

import copy
import json
import pickle
from typing import Any

import pytest

from fissile.errors import DataError
from fissile.tools import Tool, part

CITY = {"type": "string", "enum": ["Oslo", "Rome"]}


def tool(**parameters: Any) -> Tool:
    return Tool("book", "Book.", {"type": "object", **parameters})


def of(value: Any, **parameters: Any) -> dict[str, Any]:
    """The readable schema of one argument."""
    return tool(properties={"x": value}, **parameters).properties["x"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"city": CITY}, "required": ["city"]},
        {"allOf": [{"properties": {"city": CITY}, "required": ["city"]}]},
        {
            "allOf": [{"$ref": "#/$defs/Place"}],
            "$defs": {"Place": {"properties": {"city": CITY}, "required": ["city"]}},
        },
        {"$ref": "#/definitions/P", "definitions": {"P": {"properties": {"city": CITY}, "required": ["city"]}}},
        {
            "$ref": "#/components/schemas/P",
            "components": {
                "schemas": {
                    "P": {"allOf": [{"$ref": "#/components/schemas/Q"}]},
                    "Q": {"properties": {"city": CITY}, "required": ["city"]},
                }
            },
        },
        {"$ref": "#place", "$defs": {"P": {"$anchor": "place", "properties": {"city": CITY}, "required": ["city"]}}},
        {
            "$id": "https://x.org/book",
            "$ref": "place",
            "$defs": {"P": {"$id": "place", "properties": {"city": CITY}, "required": ["city"]}},
        },
        {"anyOf": [{"properties": {"city": CITY}, "required": ["city"]}]},
        {"properties": {"city": {"$ref": "#/$defs/City"}}, "$defs": {"City": CITY}, "required": ["city"]},
        {"properties": {"city": {"allOf": [{"type": "string"}, {"enum": CITY["enum"]}]}}, "required": ["city"]},
        {
            "properties": {"city": {"type": "string"}},
            "allOf": [{"properties": {"city": {"enum": CITY["enum"]}}, "required": ["city"]}],
        },
    ],
)
def test_arguments_are_known_wherever_the_schema_describes_them(parameters):
    book = tool(**parameters)
    assert book.properties == {"city": CITY}
    assert book.required == ("city",)
    assert book.validate({"city": "Oslo"}) == ()
    assert [(error.kind, error.argument) for error in book.validate({"city": "Bonn", "town": 1})] == [
        ("wrong_value", "city"),
        ("unexpected_argument", "town"),
    ]
    assert [(error.kind, error.argument) for error in book.validate({})] == [("missing_argument", "city")]


@pytest.mark.parametrize(
    ("parameters", "taken", "refused"),
    [
        ({"patternProperties": {"^x-": {}}}, ["x-a"], ["a"]),
        ({"additionalProperties": {"type": "integer"}}, ["a"], []),
        ({"additionalProperties": True}, ["a"], []),
        ({"additionalProperties": False}, [], ["a"]),
        ({"unevaluatedProperties": {"type": "integer"}}, ["a"], []),
        ({"propertyNames": {"pattern": "^[a-z]+$"}}, ["a"], []),
        ({"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, ["a", "b"], ["c"]),
        (
            {
                "if": {"properties": {"a": {"const": 1}}},
                "then": {"properties": {"b": {}}},
                "else": {"properties": {"c": {}}},
            },
            ["a", "b", "c"],
            ["d"],
        ),
        ({"dependentSchemas": {"a": {"properties": {"b": {}}}}, "properties": {"a": {}}}, ["a", "b"], ["c"]),
        ({"required": ["a"]}, ["a"], ["b"]),
        ({"properties": {"b": {"properties": {"a": {}}}}}, ["b"], ["a"]),
    ],
)
def test_what_a_tool_takes(parameters, taken, refused):
    book = tool(**parameters)
    assert [name for name in [*taken, *refused] if book.takes(name)] == taken


@pytest.mark.parametrize(
    ("schema", "readable"),
    [
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, {"type": ["integer", "null"], "minimum": 1}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"type": ["integer", "string"]}),
        (
            {"anyOf": [{"enum": ["a"]}, {"const": "b"}, {"type": "null"}]},
            {"type": ["string", "null"], "enum": ["a", "b", None]},
        ),
        ({"const": 3}, {"const": 3, "enum": [3]}),
        ({"type": "number", "allOf": [{"type": "integer"}, {"minimum": 1}]}, {"type": "integer", "minimum": 1}),
        ({"$ref": "#/$defs/Size", "description": "Mine."}, {"description": "Mine.", "type": "integer"}),
        (True, {}),
        ({"type": "array", "items": {"$ref": "#/$defs/Size"}}, {"type": "array", "items": {"type": "integer"}}),
    ],
)
def test_what_is_said_of_one_value_stands_in_one_place(schema, readable):
    assert of(schema, **{"$defs": {"Size": {"type": "integer", "description": "A size."}}}) in (
        readable,
        {**readable, "items": {"type": "integer", "description": "A size."}},
    )


def test_a_plain_schema_is_read_as_it_is_written():
    book = tool(properties={"x": {"type": "object", "properties": {"y": CITY}, "additionalProperties": False}})
    assert book.readable is book.parameters


def test_a_condition_narrows_nothing():
    book = tool(properties={"x": {"enum": [1, 2]}}, **{"if": {"properties": {"x": {"const": 1}}}, "then": {}})
    assert book.properties["x"] == {"enum": [1, 2]}


def test_a_recursive_schema_is_read_to_some_depth_and_validated_to_any():
    node = {"type": "object", "properties": {"size": {"type": "integer"}, "inner": {"$ref": "#/$defs/N"}}}
    book = tool(properties={"tree": {"$ref": "#/$defs/N"}}, **{"$defs": {"N": node}})
    assert part(part(book.properties["tree"], "inner"), "size") == {"type": "integer"}
    deep: dict[str, Any] = {"size": "big"}
    for _ in range(30):
        deep = {"inner": deep}
    (error,) = book.validate({"tree": deep})
    assert (error.kind, error.argument) == ("wrong_type", f"tree.{'inner.' * 30}size")


def test_references_that_double_again_and_again_are_read_in_time():
    twice = {f"D{i}": {"allOf": [{"$ref": f"#/$defs/D{i + 1}"}] * 2} for i in range(60)} | {"D60": {"type": "integer"}}
    book = tool(properties={"x": {"$ref": "#/$defs/D0"}}, **{"$defs": twice})
    assert book.properties["x"] == {"type": "integer"}
    assert [error.kind for error in book.validate({"x": 1})] == ["timeout"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#/components/schemas/Pet"}, "at properties.x: '$ref': '#/components/schemas/Pet' leads to nothing"),
        ({"$ref": "https://x.org/pet.json"}, "leads to nothing inside the tool's own schema, and nothing is fetched"),
        ({"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/No"}]}}, "at properties.x.items.anyOf.0: '$ref'"),
        ({"$ref": "#/$defs/Broken"}, "at $defs.Broken: '$ref': '#/$defs/Gone'"),
        ({"$ref": "#/properties/x"}, "leads back to where it stands"),
        ({"$ref": "#/title"}, "leads to what is no schema"),
        ({"pattern": "("}, "at properties.x: the pattern '(' cannot be used"),
        ({"patternProperties": {"[": {}}}, "the pattern '[' cannot be used"),
        ({"type": "file"}, "the type 'file' is not known"),
        ({"type": "string, optional"}, "the type 'string, optional' is not known"),
        ({"$dynamicRef": "#x"}, "'$dynamicRef' is not supported; write '$ref'"),
        ({"disallow": "string"}, "'disallow' is not supported; write 'not'"),
        ({"minLength": -1}, "at properties.x.minLength"),
        ({"enum": "red"}, "at properties.x.enum"),
        ({"items": [{"type": "nope"}]}, "the type 'nope' is not known"),
        ("string", "at properties.x: 'string' is not of type"),
        (
            {"type": "integer", "minimun": 3},
            "at properties.x: 'minimun' is no keyword of JSON Schema; did you mean 'minimum'",
        ),
        ({"properties": {"y": {"enums": [1]}}}, "at properties.x.properties.y: 'enums' is no keyword"),
        ({"minlength": 3}, "did you mean 'minLength'"),
        ({"requires": ["y"]}, "did you mean 'required'"),
        ({"ref": "#/$defs/A"}, "did you mean '$ref'"),
    ],
)
def test_what_cannot_be_used_is_refused_where_the_tool_is_made(schema, message):
    with pytest.raises(DataError) as caught:
        of(schema, title="T", **{"$defs": {"Broken": {"$ref": "#/$defs/Gone"}}} if "Broken" in str(schema) else {})
    assert str(caught.value).startswith("Tool 'book': 'parameters' is not a valid JSON Schema at ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"city": {"type": "string"}}, "looks like bare arguments"),
        ([], "must be a JSON Schema of type 'object'"),
        ({"type": "string"}, "must be a JSON Schema of type 'object'"),
        ({"type": "object", "properties": {"x": {"default": float("nan")}}}, "is no JSON"),
        ({"type": "object", "properties": {"": {}}}, "an argument has no name"),
        ({"type": "object", "properties": {"a": {}}, "required": "a"}, "at required"),
        (
            {"additionalProperties": False, "allOf": [{"properties": {"a": {}}, "required": ["a"]}]},
            "'a' is required, and 'additionalProperties': false refuses it",
        ),
        ({"additionalProperties": False, "required": ["b"], "properties": {"a": {}}}, "'b' is required, and"),
        ({"allOf": [{"additionalProperties": False}, {"required": ["b"]}]}, "'b' is required, and"),
    ],
)
def test_parameters_that_are_no_schema_of_arguments_are_refused(parameters, message):
    with pytest.raises(DataError, match="Tool 'book': 'parameters'") as caught:
        Tool("book", "", parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "x-order",
        "enumNames",
        "propertyOrdering",
        "xml",
        "discriminator",
        "example",
        "note",
        "unit",
        "optional",
        "$comment",
    ],
)
def test_words_that_are_no_keywords_are_kept_for_the_model(word):
    book = tool(properties={"x": {"type": "integer", word: "a"}})
    assert book.parameters["properties"]["x"][word] == "a"
    assert book.validate({"x": 1}) == ()


@pytest.mark.parametrize("depth", [200, 5000])
def test_a_schema_of_any_depth_is_a_tool_or_a_data_error(depth):
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    with pytest.raises(DataError, match="book"):
        of(schema)


def test_copies_of_a_tool_are_whole():
    book = tool(allOf=[{"properties": {"city": {"$ref": "#/$defs/City"}}}], **{"$defs": {"City": CITY}})
    for twin in (copy.deepcopy(book), pickle.loads(pickle.dumps(book)), Tool.from_schema(book.to_schema())):
        assert twin == book
        assert twin.properties == {"city": CITY}
        assert [error.kind for error in twin.validate({"city": "Bonn"})] == ["wrong_value"]
    json.dumps(book.to_schema())
