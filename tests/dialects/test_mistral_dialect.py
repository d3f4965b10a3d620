import json

import pytest

from fissile.calls import ParseError, ToolCall
from fissile.dialects import MistralDialect
from fissile.tools import Tool

MISTRAL = MistralDialect()
TOOL = Tool("f", "", {"type": "object", "properties": {}})
ONE = '{"name": "f", "arguments": {"x": 1}}'
LIST = f'[TOOL_CALLS] [{ONE}, {{"name": "g", "arguments": {{}}}}]'
NAMED = '[TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]g[ARGS]{}'


def read(text: str):
    return [(call.name, call.arguments) for call in MISTRAL.parse(text).calls]


def only_call(text: str) -> ToolCall:
    (call,) = MISTRAL.parse(text).calls
    return call


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        LIST[:-1],
        LIST.replace("] [", "]["),
        LIST.replace("}}", '}, "id": "123456789"}'),
        NAMED,
        NAMED.replace("[ARGS]", "[CALL_ID]123456789[ARGS]"),
        NAMED.replace("[ARGS]", " [ARGS]\n"),
        NAMED.replace("[ARGS]", ""),
        f"[TOOL_CALLS]{ONE}[TOOL_CALLS][TOOL_CALLS]g[ARGS]{{}}",
    ],
)
def test_both_forms_are_read(text):
    parsed = MISTRAL.parse(f"[THINK]f or[TOOL_CALLS]g?[/THINK]Ok. {text}")
    assert [(call.name, call.arguments) for call in parsed.calls] == [("f", {"x": 1}), ("g", {})]
    assert (parsed.content, parsed.reasoning) == ("Ok.", "f or[TOOL_CALLS]g?")


def test_either_form_is_written():
    calls = MISTRAL.parse(LIST).calls
    assert MISTRAL.render_calls(calls) == LIST
    assert MistralDialect("args").render_calls(calls) == NAMED


@pytest.mark.parametrize("form", ["list", "args"])
def test_the_prompt_shows_the_form_that_is_written(form):
    dialect = MistralDialect(form)
    (system,) = dialect.instruct([], [TOOL])
    assert dialect.render_calls([ToolCall("function_name", {"argument": "value"}, "")]) in system["content"]


def test_tags_in_strings_are_text():
    arguments = {"x": '[TOOL_CALLS]g[ARGS]{}"]}', "y": [{}]}
    assert read(f"[TOOL_CALLS]f[ARGS]{json.dumps(arguments)}") == [("f", arguments)]
    assert read(f'[TOOL_CALLS] [{{"name": "f", "arguments": {json.dumps(arguments)}}}]') == [("f", arguments)]


@pytest.mark.parametrize("text", ["", "hello", f"[{ONE}]", "f[ARGS]{}", "[TOOL_CALL]"])
def test_text_without_the_token_is_content(text):
    parsed = MISTRAL.parse(text)
    assert parsed.calls == ()
    assert parsed.content == text


@pytest.mark.parametrize(
    ("text", "expected", "at"),
    [
        ("[TOOL_CALLS] [] ok", "expected a JSON object", "] ok"),
        ("[TOOL_CALLS] [1]", "expected a JSON object", "1]"),
        ("[TOOL_CALLS] [[]]", "a call is a JSON object, not of type array", "[]"),
        ('[TOOL_CALLS] [{"name": "f", "x": 1}]', "the call has no key 'arguments'", '{"name'),
        ('[TOOL_CALLS] [{"name" "f"}]', "Expecting ':' delimiter", '"f"'),
        ('[TOOL_CALLS] [{"name": \\}]', "the call is not closed", "\\"),
        ("[TOOL_CALLS] I do not know", "the text ends inside the call", ""),
        ("[TOOL_CALLS]f[ARGS]x=1", "expected [ARGS] and a JSON object behind the name", "x=1"),
        ("[TOOL_CALLS]f\n", "the text ends inside the call", ""),
        ("[TOOL_CALLS][ARGS]{}", "the call has no name", "[ARGS]"),
        ("[TOOL_CALLS]f[ARGS][1]", "the arguments must be an object, not of type array", "[1]"),
        ('[TOOL_CALLS]f[ARGS]{"x": NaN}', "NaN is not a JSON value", '{"x"'),
        ("[TOOL_CALLS]f[ARGS]" + '{"x":' * 80 + "1" + "}" * 80, "the JSON is nested deeper than 64 levels", "{"),
    ],
)
def test_malformed_calls_say_why_and_where(text, expected, at):
    call = only_call(text)
    assert (call.name, call.arguments) == (None, None)
    assert call.parse_error is not None
    assert call.parse_error.reason == expected
    assert text[call.parse_error.position :].strip().startswith(at)


def test_the_calls_around_a_malformed_one_are_kept():
    parsed = MISTRAL.parse(f'[TOOL_CALLS] [{ONE}, {{"name": 1}}, {ONE}] bye')
    assert [call.is_well_formed for call in parsed.calls] == [True, False, True]
    assert parsed.content == "bye"
    parsed = MISTRAL.parse(f"[TOOL_CALLS] [{ONE} {ONE}][TOOL_CALLS]g[ARGS]{{}}")
    assert [call.is_well_formed for call in parsed.calls] == [True, False, True]
    assert parsed.calls[1].parse_error == ParseError("expected ',' or ']' behind a call", len(f"[TOOL_CALLS] [{ONE} "))


@pytest.mark.parametrize("cut", range(1, len(ONE)))
def test_a_call_cut_off_anywhere_says_so(cut):
    for text in (f"[TOOL_CALLS] [{ONE}, {ONE[:cut]}", f"[TOOL_CALLS]f[ARGS]{ONE}[TOOL_CALLS]g[ARGS]{ONE[:cut]}"):
        good, bad = MISTRAL.parse(text).calls
        assert good.is_well_formed
        assert bad.parse_error == ParseError("the text ends inside the call", len(text.rstrip()))
