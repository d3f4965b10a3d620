import json

import pytest

from fissile.calls import ParseError, ToolCall
from fissile.dialects import LlamaJsonDialect
from fissile.tools import Tool

LLAMA = LlamaJsonDialect()
GOOD = '{"name": "f", "parameters": {"x": 1}}'


def only_call(text: str) -> ToolCall:
    (call,) = LLAMA.parse(text).calls
    return call


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"<|python_tag|>{GOOD}",
        f"<|python_tag|>\n{GOOD};",
        f"Sure. {GOOD} Done.",
        '{"name": "f", "arguments": {"x": 1}}',
        '{"type": "function", "name": "f", "parameters": {"x": 1}}',
        '{"parameters": {"x": 1}, "name": "f"}',
        '{ "name"\n: "f", "parameters": "{\\"x\\": 1}", "id": 7}',
        f"[{GOOD}]",
    ],
)
def test_one_call_in_all_its_dresses(text):
    call = only_call(text)
    assert (call.name, call.arguments) == ("f", {"x": 1})
    assert text[call.position :].startswith(call.text)
    assert json.loads(call.text)


@pytest.mark.parametrize("between", ["; ", ";", "\n", "", ";\n<|python_tag|>", " <|python_tag|>"])
def test_several_calls(between):
    parsed = LLAMA.parse(GOOD + between + GOOD)
    assert [call.text for call in parsed.calls] == [GOOD, GOOD]
    assert all(call.is_well_formed for call in parsed.calls)
    assert parsed.content == ""


def test_content_and_reasoning_are_separated():
    parsed = LLAMA.parse(f"<think>{GOOD}</think>I call.\n{GOOD}")
    assert len(parsed.calls) == 1
    assert (parsed.content, parsed.reasoning) == ("I call.", GOOD)


def test_brackets_and_tags_in_strings_are_text():
    arguments = {"x": '}; {"name": <|python_tag|>', "y": [{"name": "g"}]}
    assert only_call(json.dumps({"name": "f", "parameters": arguments})).arguments == arguments


@pytest.mark.parametrize("text", ["", "hello", '{"a": 1}', "{}", "[1, {}]", "name: f", '{"names": 1}'])
def test_text_that_begins_no_call_is_content(text):
    parsed = LLAMA.parse(text)
    assert parsed.calls == ()
    assert parsed.content == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<|python_tag|>{"name": "f", "x": 1}', "the call has no key 'parameters'"),
        ('{"parameters": {}}', "the call has no key 'name'"),
        ('{"type": "function", "function": "f", "parameters": {}}', "the call has no key 'name'"),
        ('{"name": "f", "parameters": []}', "'parameters' must be an object, not of type array"),
        ('{"name": "f", "arguments": 3}', "'arguments' must be an object, not of type integer"),
        ("{'name': 'f', 'parameters': {}}", "Expecting property name enclosed in double quotes"),
        ('{"name": "f" "parameters": {}}', "Expecting ',' delimiter"),
        ('<|python_tag|>search.call(query="x")', "Expecting value"),
        ("<|python_tag|>", "Expecting value"),
        (f"<|python_tag|>[{GOOD}]", "a call is a JSON object, not of type array"),
    ],
)
def test_malformed_calls_say_why(text, expected):
    call = only_call(text)
    assert (call.name, call.arguments) == (None, None)
    assert call.parse_error is not None
    assert call.parse_error.reason == expected


@pytest.mark.parametrize("cut", range(9, len(GOOD)))
def test_a_call_cut_off_anywhere_is_kept_with_its_end_as_position(cut):
    call = only_call(f"So: {GOOD[:cut]}")
    assert call.text == GOOD[:cut].rstrip()
    assert call.parse_error == ParseError("the text ends inside the call", len(f"So: {GOOD[:cut]}".rstrip()))


@pytest.mark.parametrize("between", [";", "\n", "; "])
def test_an_unclosed_call_does_not_swallow_the_next(between):
    parsed = LLAMA.parse(GOOD[:-1] + between + GOOD)
    assert [call.is_well_formed for call in parsed.calls] == [False, True]
    assert parsed.calls[0].text == GOOD[:-1]


def test_calls_are_written_as_llama_writes_them():
    calls = [ToolCall("f", {"x": "é"}, ""), LLAMA.parse('{"name": 1}').calls[0]]
    assert LLAMA.render_calls(calls) == '{"name": "f", "parameters": {"x": "é"}}; {"name": 1}'


def test_a_schema_that_the_prompt_shows_is_no_call_when_a_model_repeats_it():
    tool = Tool("f", "", {"type": "object", "properties": {}})
    assert not any(call.is_well_formed for call in LLAMA.parse(LLAMA.announce([tool])).calls)
