"""The section "Tool schemas" of docs/compatibility.md."""

from collections.abc import Callable
from typing import Any

import pytest

from compatibility.page import Row, assert_section
from fissile.calls import ToolCall
from fissile.dialects import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import DataError
from fissile.tasks import tasks_from_rows
from fissile.tools import Tool

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def reads(tool: dict[str, Any], *right: dict[str, Any], wrong: dict[str, Any] | None = None) -> Callable[[], None]:
    """The tool takes the right arguments, and not the wrong ones."""

    def check() -> None:
        made = Tool.from_schema(tool)
        assert [made.validate(arguments) for arguments in right] == [()] * len(right)
        assert wrong is None or made.validate(wrong)

    return check


def argument(schema: Any, *right: Any, wrong: Any = ..., **more: Any) -> Callable[[], None]:
    """The same for the schema of one argument, x."""
    parameters = {"type": "object", "properties": {"x": schema}, **more}
    bad = None if wrong is ... else {"x": wrong}
    return reads({"name": "f", "parameters": parameters}, *({"x": value} for value in right), wrong=bad)


def refuses(tool: Any, words: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(DataError) as caught:
            Tool.from_schema(tool)
        assert words in str(caught.value)

    return check


def refuses_argument(schema: Any, words: str) -> Callable[[], None]:
    return refuses({"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}}, words)


def row(call: dict[str, Any], *right: dict[str, Any]) -> Callable[[], None]:
    """A row with that truth, and calls that are right."""
    properties = {"city": {"type": "string"}, "unit": {"type": "string", "default": "C"}, "days": {"type": "integer"}}
    tool = {"name": "f", "parameters": {"type": "object", "properties": properties}}
    said = [{"role": "user", "content": "How warm is it in Oslo?"}]

    def check() -> None:
        (task,) = tasks_from_rows([{"messages": said, "tools": [tool], "ground_truth": [{"name": "f", **call}]}])
        dialect = HermesDialect()
        texts = [dialect.render_calls([ToolCall.of("f", arguments)]) for arguments in right]
        assert [SingleStep().attempt(task, text, dialect).errors for text in texts] == [()] * len(right)

    return check


OSLO = {"city": "Oslo"}
NO_CITY: dict[str, Any] = {}
ROWS = [
    Row(
        "OpenAI chat, `{type, function: {...}}`",
        "works",
        "`strict` and `cache_control` say nothing of a call.",
        reads({"type": "function", "function": {"name": "f", "parameters": CITY, "strict": True}}, OSLO, wrong=NO_CITY),
    ),
    Row(
        "OpenAI Responses, `{type, name, parameters}`",
        "works",
        "As above, flat.",
        reads({"type": "function", "name": "f", "parameters": CITY, "strict": True}, OSLO, wrong=NO_CITY),
    ),
    Row(
        "Anthropic, `input_schema`",
        "converted",
        "It is read as `parameters`.",
        reads({"name": "f", "input_schema": CITY, "cache_control": {}}, OSLO, wrong=NO_CITY),
    ),
    Row(
        "MCP, `inputSchema`",
        "converted",
        "It is read as `parameters`; `title`, `annotations`, `outputSchema`, `icons`, `_meta` are left out.",
        reads(
            {"name": "f", "inputSchema": CITY, "title": "F", "outputSchema": {}, "annotations": {}}, OSLO, wrong=NO_CITY
        ),
    ),
    Row(
        "Bedrock, `toolSpec`",
        "converted",
        "`inputSchema.json` is read as `parameters`.",
        reads({"toolSpec": {"name": "f", "inputSchema": {"json": CITY}}}, OSLO, wrong=NO_CITY),
    ),
    Row(
        "`transformers.get_json_schema`",
        "works",
        "`nullable` becomes a type; `return` is left out.",
        reads(
            {"type": "function", "function": {"name": "f", "parameters": CITY, "return": {"type": "string"}}},
            OSLO,
            wrong=NO_CITY,
        ),
    ),
    Row(
        'Gemini\'s types, `"STRING"`',
        "converted",
        "They become lower-case.",
        argument({"type": "STRING", "nullable": True}, "a", None, wrong=1),
    ),
    Row(
        "Gemini, `functionDeclarations`",
        "refused",
        "List the declarations themselves.",
        refuses({"functionDeclarations": []}, "List the declarations themselves"),
    ),
    Row(
        "`dict`, `float`, `tuple`, `any` (BFCL), `str`, `int`, `bool`, `list`",
        "converted",
        "They become JSON Schema's names; `any` is no constraint.",
        argument({"type": "dict", "properties": {"a": {"type": "float"}}}, {"a": 1}, wrong=[]),
    ),
    Row(
        "Other type names, such as `file` or `string, optional`",
        "refused",
        "Write one of JSON Schema's seven types.",
        refuses_argument({"type": "file"}, "the type 'file' is not known"),
    ),
    Row(
        "`parameters` absent, `null` or `{}`",
        "works",
        "The tool takes no arguments.",
        reads({"name": "f", "parameters": None}, {}, wrong={"x": 1}),
    ),
    Row(
        "Bare arguments, `parameters: {city: {...}}` (xLAM)",
        "refused",
        "Write `{type: object, properties: {...}}`.",
        refuses({"name": "f", "parameters": {"city": {"type": "string"}}}, "looks like bare arguments"),
    ),
    Row(
        "An unknown key of a tool, such as `parameter`",
        "refused",
        "The message names the nearest known key.",
        refuses({"name": "f", "parameter": {}}, "did you mean 'parameters'"),
    ),
    Row(
        "Tools of a provider, such as `{type: web_search}`",
        "refused",
        "They have no schema to check calls against.",
        refuses({"type": "web_search"}, "is run by its provider"),
    ),
    Row(
        "`$ref` to `$defs`, `definitions`, `components`, `$anchor`, `$id`",
        "works",
        "Inside the tool's own schema; recursion too.",
        argument(
            {"$ref": "#/$defs/N"},
            {"n": {"n": {}}},
            wrong={"n": 1},
            **{"$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}},
        ),
    ),
    Row(
        "`$ref` that leads nowhere, or to another document",
        "refused",
        "When the task is loaded, in every offered tool.",
        refuses_argument({"$ref": "#/components/schemas/Pet"}, "leads to nothing inside the tool's own schema"),
    ),
    Row(
        "`$dynamicRef`, `$recursiveRef`",
        "refused",
        "Write `$ref`.",
        refuses_argument({"$dynamicRef": "#a"}, "write '$ref'"),
    ),
    Row(
        "Arguments inside `allOf`, `anyOf`, `oneOf`, `if`/`then`/`else`, `dependentSchemas`",
        "works",
        "They are known to the judge, rules, faults and prompts.",
        reads({"name": "f", "parameters": {"allOf": [CITY]}}, OSLO, wrong=NO_CITY),
    ),
    Row(
        "An argument that the schema does not name",
        "works",
        "An error, unless `additionalProperties`, `patternProperties` or `propertyNames` allow it.",
        reads(
            {"name": "f", "parameters": {"type": "object", "patternProperties": {"^x": {}}}},
            {"x1": 1},
            wrong={"x1": 1, "": 1},
        ),
    ),
    Row(
        "`additionalProperties: false` beside `allOf`",
        "refused",
        "It would refuse what `allOf` requires; write `unevaluatedProperties: false`.",
        refuses(
            {"name": "f", "parameters": {"additionalProperties": False, "allOf": [CITY]}},
            "write 'unevaluatedProperties': false",
        ),
    ),
    Row(
        "`anyOf: [integer, null]`",
        "works",
        '"5" is a wrong type.',
        argument({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5, None, wrong="5"),
    ),
    Row(
        "`nullable: true` (OpenAPI 3.0)",
        "converted",
        "null is one more type, and one more of an `enum`.",
        argument({"type": "string", "enum": ["a"], "nullable": True}, "a", None, wrong="b"),
    ),
    Row(
        "Draft 4: `exclusiveMinimum: true`, `required: true` on a property",
        "converted",
        "As draft 2020-12 has them.",
        argument({"minimum": 0, "exclusiveMinimum": True}, 1, wrong=0),
    ),
    Row(
        "Draft 7: `items: [...]`, `dependencies`, `definitions`",
        "converted",
        "As draft 2020-12 has them; `$schema` is left out.",
        argument({"items": [{"type": "integer"}], "additionalItems": False}, [1], wrong=[1, 2]),
    ),
    Row(
        "Draft 3: `disallow`, `extends`, `divisibleBy`",
        "refused",
        "The message names today's keyword.",
        refuses_argument({"disallow": "string"}, "write 'not'"),
    ),
    Row(
        "A misspelt keyword, such as `minimun` or `requires`",
        "refused",
        "It would demand nothing; other words (`x-order`, `example`) are kept for the model.",
        refuses_argument({"minimun": 3}, "did you mean 'minimum'"),
    ),
    Row(
        "A keyword that is null",
        "converted",
        "It is the padding of columnar files: it counts as absent (not in `default` and `const`).",
        argument({"type": "string", "enum": None}, "a", wrong=1),
    ),
    Row(
        "`format`",
        "works",
        "It is shown to the model, and not checked.",
        argument({"type": "string", "format": "date"}, "soon", wrong=1),
    ),
    Row(
        "`pattern` in ECMA 262, `\\p{L}`, `(?<name>)`, look-ahead",
        "works",
        "`\\d` is 0 to 9, `$` the very end.",
        argument({"pattern": r"^(?<a>\p{L})\d$"}, "é1", wrong="é1\n"),
    ),
    Row(
        "`pattern` that cannot be read, or repeats too much",
        "refused",
        "When the task is loaded.",
        refuses_argument({"pattern": "a{100000000}"}, "its count {100000000} is too large"),
    ),
    Row(
        "`pattern` that takes exponential time",
        "works",
        "A check has a tenth of a second; then the call is a `timeout`.",
        argument({"pattern": "^(a|aa)+$"}, "aa", wrong="a" * 60 + "!"),
    ),
    Row(
        "Numbers: `multipleOf: 0.01` and 19.99, 1 and 1.0, 0.1 + 0.2 and 0.3",
        "works",
        "Compared as people write them, to 15 digits; integers exactly at any size. (BFCL's own rule for BFCL.)",
        argument({"multipleOf": 0.01}, 19.99, wrong=19.999),
    ),
    Row(
        "`NaN` and `Infinity` from a model",
        "works",
        "They are wrong values.",
        argument({"type": "number"}, 1.5, wrong=float("nan")),
    ),
    Row(
        'Truth: `accepted: {city: ["Oslo, Norway"]}`',
        "works",
        "Further values that are right; a list in `arguments` is one value.",
        row({"arguments": OSLO, "accepted": {"city": ["Oslo, Norway"]}}, OSLO, {"city": "Oslo, Norway"}),
    ),
    Row(
        'Truth: `optional: ["days"]`',
        "works",
        "The argument may be left out.",
        row({"arguments": {**OSLO, "days": 2}, "optional": ["days"]}, OSLO, {**OSLO, "days": 2}),
    ),
    Row(
        "An argument at the schema's `default`, which the truth leaves out",
        "works",
        "It is right.",
        row({"arguments": OSLO}, OSLO, {**OSLO, "unit": "C"}),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_line_of_the_table_is_true(row: Row) -> None:
    row.check()


def test_the_page_has_these_lines() -> None:
    assert_section("schemas", ROWS)
