import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import ParseError, ToolCall
from fissile.dialects import HermesDialect
from fissile.dialects.json_calls import MAX_DEPTH, MAX_DIGITS
from fissile.tools import Tool

HERMES = HermesDialect()
GOOD = '{"name": "f", "arguments": {"x": 1}}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tags = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
marks = ["\n", '"', "\\", "{", "}", "[", "]", ",", ":"]
pieces = [
    GOOD,
    '{"name": "f", "arguments": {',
    '"name"',
    '"arguments"',
    "1",
    "-",
    "1e999",
    "NaN",
    "\x00",
    "\ud800",
    "é",
]
fragments = st.sampled_from([*tags, *marks, *pieces])
hostile_text = st.lists(fragments | st.text(max_size=5), max_size=30).map("".join)


def only_call(text: str) -> ToolCall:
    (call,) = HERMES.parse(text).calls
    return call


def reason(body: str) -> str:
    call = only_call(f"<tool_call>{body}</tool_call>")
    assert (call.name, call.arguments) == (None, None)
    assert call.parse_error is not None
    return call.parse_error.reason


# --- well-formed ---


def test_calls_content_and_reasoning_are_separated():
    text = f"<think>two\ncalls</think>Sure.\n<tool_call>\n{GOOD}\n</tool_call>\n<tool_call>{GOOD}</tool_call> Done."
    parsed = HERMES.parse(text)
    assert [(call.name, call.arguments) for call in parsed.calls] == [("f", {"x": 1})] * 2
    assert all(text[call.position :].startswith(call.text) and call.text == GOOD for call in parsed.calls)
    assert parsed.reasoning == "two\ncalls"
    assert parsed.content == "Sure.\n\n Done."


@given(st.lists(st.tuples(st.text(), st.dictionaries(st.text(), json_values, max_size=3)), max_size=3))
def test_rendered_calls_parse_back(calls):
    rendered = HERMES.render_calls([ToolCall(name, arguments, "") for name, arguments in calls])
    parsed = HERMES.parse(rendered)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert parsed.content == parsed.reasoning == ""
    assert HERMES.render_calls(parsed.calls) == rendered


def test_lone_surrogates_round_trip_and_render_to_encodable_text():
    call = only_call(r'<tool_call>{"name": "f", "arguments": {"x": "\ud800é"}}</tool_call>')
    assert call.arguments == {"x": "\ud800é"}
    rendered = HERMES.render_calls([call])
    rendered.encode()
    assert only_call(rendered).arguments == call.arguments


def test_a_malformed_call_renders_as_it_was_written():
    text = "<tool_call>\n{'name': 'f'}\n</tool_call>"
    assert HERMES.render_calls(HERMES.parse(text).calls) == text


def test_tags_and_brackets_inside_strings_are_text():
    arguments = {"x": '</tool_call><tool_call></think>}]\\"{', "y": {"z": [{"w": []}]}}
    body = json.dumps({"name": "f", "arguments": arguments})
    parsed = HERMES.parse(f"<tool_call>{body}</tool_call>after")
    assert [call.arguments for call in parsed.calls] == [arguments]
    assert (parsed.content, parsed.reasoning) == ("after", "")


def test_arguments_may_be_a_json_string_and_other_keys_are_ignored():
    body = json.dumps({"name": "f", "arguments": '{"x": [1]}', "id": 7, "thought": "Hm.", "y": 2})
    assert only_call(f"<tool_call>{body}</tool_call>").arguments == {"x": [1]}


def test_control_characters_in_strings_are_kept():
    assert only_call('<tool_call>{"name": "f", "arguments": {"x": "a\n\x00"}}').arguments == {"x": "a\n\x00"}


@pytest.mark.parametrize("tail", ["", "\n", f"\n<tool_call>{GOOD}</tool_call>"])
def test_a_complete_object_needs_no_closing_tag(tail):
    assert all(call.is_well_formed for call in HERMES.parse(f"<tool_call>{GOOD}{tail}").calls)


# --- no call ---


@pytest.mark.parametrize("text", ["", "hello", GOOD, f"{GOOD}</tool_call>", "<tool_cal>"])
def test_text_without_an_opening_tag_is_content(text):
    parsed = HERMES.parse(text)
    assert parsed.calls == ()
    assert parsed.content == text


def test_reasoning_that_is_never_closed_holds_no_calls():
    parsed = HERMES.parse(f"Hm. <think>I would call <tool_call>{GOOD}</tool_call>")
    assert parsed.calls == ()
    assert parsed.content == "Hm."
    assert parsed.reasoning == f"I would call <tool_call>{GOOD}</tool_call>"


def test_reasoning_that_the_prompt_opened_is_not_acted_on():
    parsed = HERMES.parse(f"maybe <tool_call>{{broken </think>\n<tool_call>{GOOD}</tool_call>")
    assert [call.arguments for call in parsed.calls] == [{"x": 1}]
    assert parsed.reasoning == "maybe <tool_call>{broken"


def test_a_stray_end_of_reasoning_does_not_hide_calls():
    parsed = HERMES.parse(f"<think>a</think><tool_call>{GOOD}</tool_call></think><think>b</think>")
    assert len(parsed.calls) == 1
    assert parsed.reasoning == "a\nb"


# --- malformed ---


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "Expecting value"),
        ("{'name': 'f'}", "Expecting property name enclosed in double quotes"),
        ('{"name": "f" "arguments": {}}', "Expecting ',' delimiter"),
        ('{"name": "f", "arguments": {"x": 1}', "Expecting ',' delimiter"),
        (GOOD + "}", "Extra data"),
        (f"{GOOD}\n{GOOD}", "Extra data"),
        (f"{GOOD} I hope this helps", "Extra data"),
        (f"[{GOOD}]", "a call is a JSON object, not of type array"),
        ('{"name": "f", "args": {}}', "the call has no key 'arguments'"),
        ('{"name": "f", "parameters": {}}', "the call has no key 'arguments'"),
        ('{"arguments": {}}', "the call has no key 'name'"),
        ('{"name": ["f"], "arguments": {}}', "'name' must be a string, not of type array"),
        ('{"name": "f", "arguments": [1]}', "'arguments' must be an object, not of type array"),
        ('{"name": "f", "arguments": "[1]"}', "'arguments' must be an object, not of type array"),
        (
            '{"name": "f", "arguments": "x=1"}',
            "'arguments' is a string that holds no JSON object: Expecting value",
        ),
        ('{"name": "f", "arguments": {"x": 1, "x": 2}}', "the key 'x' stands twice in one object"),
        ('{"name": "f", "arguments": {"x": NaN}}', "NaN is not a JSON value"),
        ('{"name": "f", "arguments": {"x": -Infinity}}', "-Infinity is not a JSON value"),
        ('{"name": "f", "arguments": {"x": 1e999}}', "1e999 is too large for a number"),
        ('{"name": "f", "arguments": {"x": %s}}' % ("9" * 5000), f"a number has more than {MAX_DIGITS} digits"),
        ('{"name": "f", "arguments": ' + "[" * 100_000, "the JSON is nested deeper than 64 levels"),
        ('{"name": "f", "arguments": {"x": %s}}' % ("[" * 80 + "]" * 80), "the JSON is nested deeper than 64 levels"),
    ],
)
def test_malformed_calls_say_why(body, expected):
    assert reason(body) == expected


def test_nesting_up_to_the_limit_is_well_formed():
    levels = MAX_DEPTH - 2
    assert only_call('<tool_call>{"name": "f", "arguments": {"x": %s}}' % ("[" * levels + "]" * levels)).is_well_formed
    assert reason('{"name": "f", "arguments": {"x": %s}}' % ("[" * (levels + 1) + "]" * (levels + 1)))


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_call_cut_off_anywhere_is_kept_with_its_end_as_position(cut):
    text = f"So: <tool_call>\n{GOOD[:cut]}"
    call = only_call(text)
    assert call.text == GOOD[:cut].rstrip()
    assert call.parse_error == ParseError("the text ends inside the call", len(text.rstrip()))


def test_positions_point_into_the_response():
    text = 'Ok.\n<tool_call>\n{"name": "f" "arguments": {}}\n</tool_call>'
    call = only_call(text)
    assert text[call.position :].startswith(call.text)
    assert call.parse_error is not None
    assert text[call.parse_error.position :].startswith('"arguments"')


def test_an_unclosed_string_does_not_swallow_the_next_call():
    broken = '{"name": "f", "arguments": {"x": "abc}}'
    parsed = HERMES.parse(f"<tool_call>{broken}</tool_call>\n<tool_call>{GOOD}</tool_call> and <tool_call>{GOOD}")
    assert [call.is_well_formed for call in parsed.calls] == [False, True, True]
    assert parsed.calls[0].text == broken


# --- hostile ---


@given(hostile_text)
def test_any_text_parses_and_every_call_lies_where_it_says(text):
    parsed = HERMES.parse(text)
    for call in parsed.calls:
        assert text[call.position : call.position + len(call.text)] == call.text
        assert (call.name is None) == (call.arguments is None) == (not call.is_well_formed)
        if call.parse_error is not None:
            assert call.position <= call.parse_error.position <= len(text)
    positions = [call.position for call in parsed.calls]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    "unit",
    [
        "<tool_call>",
        '<tool_call>{"',
        '<tool_call>{"a":["',
        '<tool_call>["",""',
        '<tool_call>{"\\"',
        "<tool_call>[[[[",
        "</think>",
        "<think></think>",
        '"\\',
        f"<tool_call>{GOOD}",
        "<tool_call>" + '{"a":' * 70,
    ],
)
def test_time_is_linear_in_the_length(unit):
    text = unit * (1_000_000 // len(unit)) + '<tool_call>{"'
    start = time.process_time()
    HERMES.parse(text)
    assert time.process_time() - start < 5  # about 0.5 s; quadratic behaviour takes minutes


# --- prompts ---

AREA = Tool("area", 'Größe "a²".', {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]})


def test_instruct_extends_the_system_message_or_makes_one():
    user = {"role": "user", "content": "Hi"}
    system, same = HERMES.instruct([user], [AREA])
    assert same == user
    assert system["role"] == "system"
    (line,) = [line for line in system["content"].splitlines() if line.startswith('{"name":"area"')]
    assert json.loads(line) == AREA.to_schema()["function"]
    assert "Größe" in line
    extended, _ = HERMES.instruct([{"role": "system", "content": "Be terse."}, user], [AREA])
    assert extended["content"] == f"Be terse.\n\n{system['content']}"


def test_instruct_without_tools_changes_nothing():
    messages = [{"role": "user", "content": "Hi"}]
    assert HERMES.instruct(messages, []) == messages


def test_a_result_is_a_user_turn():
    assert HERMES.render_result("42") == {"role": "user", "content": "<tool_response>\n42\n</tool_response>"}
