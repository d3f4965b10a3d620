"""Other people's spellings of a tool and of a schema."""

import json
from typing import Any

import pytest

from fissile.errors import DataError
from fissile.tools import Tool

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "The weather.", SCHEMA)
NAMED = {"name": "weather", "description": "The weather."}


@pytest.mark.parametrize(
    "spelled",
    [
        {**NAMED, "parameters": SCHEMA},
        {"type": "function", "function": {**NAMED, "parameters": SCHEMA}},
        {"type": "function", "function": {**NAMED, "parameters": SCHEMA, "strict": True}, "cache_control": {}},
        {"type": "function", **NAMED, "parameters": SCHEMA, "strict": None},
        {**NAMED, "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", **NAMED, "input_schema": SCHEMA},
        {
            **NAMED,
            "inputSchema": SCHEMA,
            "title": "Weather",
            "annotations": {"readOnlyHint": True},
            "outputSchema": {},
            "_meta": {},
            "icons": [],
        },
        {"toolSpec": {**NAMED, "inputSchema": {"json": SCHEMA}}},
        {**NAMED, "parametersJsonSchema": SCHEMA, "behavior": "BLOCKING"},
        {"type": "function", "function": {**NAMED, "parameters": SCHEMA, "return": {"type": "string"}}},
        {**NAMED, "parameters": json.dumps(SCHEMA)},
        {**NAMED, "parameters": SCHEMA, "required": None, "strict": False},
        {**NAMED, "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}},
        {**NAMED, "parameters": {"type": "dict", "properties": {"city": {"type": "str", "required": True}}}},
        {**NAMED, "parameters": {"$schema": "http://json-schema.org/draft-07/schema#", **SCHEMA}},
        {**NAMED, "parameters": {**SCHEMA, "properties": {"city": {"type": "string", "enum": None}, "days": None}}},
    ],
)
def test_all_spellings_make_the_same_tool(spelled):
    tool = Tool.from_schema(spelled)
    assert tool.to_schema() == WEATHER.to_schema()
    assert Tool.from_schema(tool.to_schema()) == tool


@pytest.mark.parametrize("nothing", [{}, {"parameters": None}, {"parameters": {}}, {"inputSchema": {"type": "object"}}])
def test_a_tool_without_arguments(nothing):
    assert Tool.from_schema({**NAMED, **nothing}).validate({}) == ()
    assert [error.kind for error in Tool.from_schema({**NAMED, **nothing}).validate({"a": 1})] == [
        "unexpected_argument"
    ]


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ({"name": 3, "parameters": SCHEMA}, "has no name: its 'name' is 3"),
        ({"tools": [{"name": "f"}]}, "List the declarations themselves"),
        (
            {"name": "f", "parameters": {"type": "object", "properties": {"a": {"nullable": "yes"}}}},
            "'nullable' must be true or false, not 'yes'",
        ),
        (
            {"name": "f", "parameter": SCHEMA},
            "'f' has the key 'parameter', which is not known (did you mean 'parameters'?)",
        ),
        ({"name": "f", "arguments": SCHEMA}, "'f' has the key 'arguments'"),
        ({"name": "f", "inputs": {}}, "'f' has the key 'inputs'"),
        ({"name": "f", "input-schema": SCHEMA}, "did you mean 'input_schema'"),
        ({"type": "function", "function": {"name": "f"}, "functions": []}, "'f' has the key 'functions'"),
        ({"type": "web_search"}, "of type 'web_search' is run by its provider"),
        ({"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, "of type 'web_search_20250305'"),
        ({"type": "custom", "name": "f", "format": {"type": "grammar"}}, "of type 'custom'"),
        ({"functionDeclarations": [{"name": "f"}]}, "a group of 'functionDeclarations'"),
        ({"google_search": {}}, "no name among its keys ('google_search')"),
        (
            {"name": "f", "parameters": SCHEMA, "inputSchema": {}},
            "'f' has 'parameters' and 'inputSchema', and they differ",
        ),
        ({"name": "f", "parameters": "{"}, "'parameters' is a text, and not JSON"),
        ({"name": "f", "parameters": [{"name": "city", "type": "string"}]}, "must be a JSON Schema of type 'object'"),
        ({"name": "f", "description": ["a"]}, "'description' must be a text"),
        ({"name": " "}, "has no name"),
        ({"name": 3}, "has no name"),
        ("f", "must be a JSON object"),
    ],
)
def test_what_is_no_function_or_not_known_is_refused_by_name(spelled, message):
    with pytest.raises(DataError) as caught:
        Tool.from_schema(spelled)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"type": "string", "x-nullable": True}, {"type": ["string", "null"]}),
        ({"type": "ARRAY", "items": {}, "minItems": "1"}, {"type": "array", "items": {}, "minItems": 1}),
        ({"type": "string", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"const": 1, "nullable": True}, {"enum": [1, None]}),
        (
            {"allOf": [{"type": "string"}], "nullable": True, "description": "D"},
            {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}], "description": "D"},
        ),
        ({"description": "D", "nullable": True}, {"description": "D"}),
        ({"type": "any", "description": "D"}, {"description": "D"}),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        ({"type": "float", "minimum": 0, "exclusiveMinimum": True}, {"type": "number", "exclusiveMinimum": 0}),
        ({"maximum": 5, "exclusiveMaximum": False}, {"maximum": 5}),
        (
            {"type": "tuple", "items": [{"type": "int"}], "additionalItems": False},
            {"type": "array", "prefixItems": [{"type": "integer"}], "items": False},
        ),
        (
            {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
            {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}}},
        ),
        (
            {
                "type": "array",
                "items": {"type": "dict", "properties": {"a": {"required": True}, "b": {"required": False}}},
            },
            {"type": "array", "items": {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}},
        ),
        ({"type": "string", "default": None, "pattern": None}, {"type": "string", "default": None}),
        (
            {"properties": {"type": {"type": "string"}, "nullable": {"type": "boolean"}, "required": {"type": "str"}}},
            {
                "properties": {
                    "type": {"type": "string"},
                    "nullable": {"type": "boolean"},
                    "required": {"type": "string"},
                }
            },
        ),
    ],
)
def test_other_spellings_of_a_schema_become_draft_2020_12(spelled, normal):
    def argument(schema: dict[str, Any]) -> Any:
        return Tool("f", "", {"type": "object", "properties": {"x": schema}}).parameters["properties"]["x"]

    assert argument(spelled) == normal
    assert argument(normal) == normal
