"""A plain answer is no call, and a call without arguments is one, in every dialect."""

import time

import pytest

from fissile.calls import ToolCall
from fissile.dialects import DIALECTS, ChatFormat, MistralDialect, get_dialect
from fissile.dialects.naming import can_call, refuse_unnameable
from fissile.engines.openai_messages import ChatAnswer, NativeMessages
from fissile.environments import SingleStep
from fissile.errors import DataError
from fissile.tasks import Task
from fissile.tools import Tool
from tiny import AREA, squares, tiny_tokenizer

OFFERED = {"area", "now"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama3_json", '{"name": "Ines", "age": 31}'),
        ("llama3_json", '{"name": "Ines"}'),
        ("llama3_json", 'Here you are:\n```json\n{"name": "Ines", "address": {"city": "Oslo"}}\n```'),
        ("llama3_json", '[{"name": "Ines", "age": 31}, {"name": "Ada", "age": 36}]'),
        ("llama3_json", '{"type": "circle", "radius": 2}'),
        ("llama3_json", '{"type": "error"}'),
        ("llama3_json", '{"parameters": {"mu": 1}, "loss": 0.3}'),
        ("llama3_json", '{"name": "Ines", "friends": [{"name": "area", "parameters": {"side": 2}}]}'),
        ("llama3_json", '{"name": "Ines", "age": 3'),
        ("llama3_json", '{"function": "sin", "domain": [0, 1]}'),
        ("python", "[1, 2]"),
        ("python", "['a', {'b': 1}]"),
        ("python", "The list is [1, 2], its sum sum([1, 2])."),
        ("python", '```python\nprint("4")\n```'),
        ("python", "f(x) = 2 * x is linear."),
        ("python", "main()"),
        ("python", "Sorting takes [O(n log n)] steps."),
        ("python", "[Region(s)] of use: see below."),
        ("llama3_json", '{"function": "f(x) = x^2"}'),
        ("hermes", '{"name": "area", "arguments": {"side": 2}}'),
        ("hermes", "I would use the <tool_call> tag for that."),
        ("hermes", "Calls stand between `<tool_call>` and `</tool_call>`."),
        ("hermes", "Calls stand between <tool_call> and </tool_call> tags."),
        ("hermes", 'The tag "<tool_call>" opens a call.'),
        ("mistral", "The token `[TOOL_CALLS]` opens a call."),
        ("mistral", 'Ines said: [{"name": "area", "arguments": {}}]'),
    ],
)
def test_a_plain_answer_is_content(name, text):
    parsed = get_dialect(name).parse(text, OFFERED)
    assert parsed.calls == ()
    assert parsed.content == text.strip()
    task = Task("t", ({"role": "user", "content": "Who is it?"},), (AREA,), ())
    assert not SingleStep().attempt(task, text, get_dialect(name)).failed


NO_ARGUMENTS = {
    "hermes": "<tool_call>\n{{{}}}\n</tool_call>",
    "llama3_json": "{{{}}}",
    "mistral": "[TOOL_CALLS] [{{{}}}]",
}


@pytest.mark.parametrize("name", NO_ARGUMENTS)
@pytest.mark.parametrize("given", ["", '"{key}": null', '"{key}": ""', '"{key}": " "', '"{key}": {}', '"{key}": "{}"', '"{key}": "null"'])  # fmt: skip  # noqa: E501
def test_a_call_without_arguments_has_none(name, given):
    key = "parameters" if name == "llama3_json" else "arguments"
    fields = ", ".join(filter(None, ['"name": "now"', given.replace("{key}", key)]))
    text = NO_ARGUMENTS[name].format(fields)
    for offered in (None, OFFERED):
        (call,) = get_dialect(name).parse(text, offered).calls
        assert (call.name, call.arguments) == ("now", {})


@pytest.mark.parametrize("text", ["[TOOL_CALLS]now[ARGS]", "[TOOL_CALLS]now[ARGS]null", '[TOOL_CALLS]now[ARGS]""', "[TOOL_CALLS]now[ARGS]{}", "[TOOL_CALLS]now[CALL_ID]a1[ARGS]"])  # fmt: skip  # noqa: E501
def test_nor_in_mistrals_other_form(text):
    (call,) = MistralDialect("args").parse(text).calls
    assert (call.name, call.arguments) == ("now", {})
    assert [call.name for call in MistralDialect("args").parse(text + text).calls] == ["now", "now"]


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}", '""'])
def test_nor_at_an_endpoint(arguments):
    task = squares(1)[0]
    from fissile.contexts import Context

    response = NativeMessages().read(ChatAnswer("", calls=(("area", arguments),)), Context(task, ()))
    (call,) = response.parsed.calls
    assert (call.name, call.arguments) == ("area", {})


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("hermes", '<tool_call>{"name": "area", "side": 2}</tool_call>', "has no key 'arguments'"),
        ("hermes", '<tool_call>{"name": "area", "parameters": {"side": 2}}</tool_call>', "has no key 'arguments'"),
        ("hermes", "<tool_call>area(side=2)</tool_call>", "Expecting value"),
        ("llama3_json", '{"name": "area", "parameters": [2]}', "must be an object"),
        ("llama3_json", '{"name": "area", "parameters": {"side": 2}', "ends inside the call"),
        ("llama3_json", '<|python_tag|>{"name": "Ines", "age": 31}', "has no key 'parameters'"),
        ("python", "area(2)", "an argument is written name=value"),
        ("python", "[area(2)]", "an argument is written name=value"),
        ("mistral", '[TOOL_CALLS] [{"name": "area", "side": 2}]', "has no key 'arguments'"),
    ],
)
def test_a_failed_call_stays_a_call(name, text, reason):
    (call,) = get_dialect(name).parse(text, OFFERED).calls
    assert call.parse_error is not None
    assert reason in call.parse_error.reason


def test_a_call_of_a_tool_that_is_not_offered_stays_one():
    for name, text in (("llama3_json", '{"name": "aera", "parameters": {}}'), ("python", "aera(side=2)")):
        (call,) = get_dialect(name).parse(text, OFFERED).calls
        assert call.name == "aera"


def test_keys_are_found_in_linear_time():
    for unit in ('"\\', "'\\", '"', '{"name": "a", "b', '{"name": "a", "b": {', "'\"", '{"name": "', "\\'"):
        start = time.process_time()
        get_dialect("llama3_json").parse('{"name": "a", ' + unit * (200_000 // len(unit)), OFFERED)
        assert time.process_time() - start < 2, unit


# --- tools that a dialect cannot call ---


def tool(name, *arguments):
    return Tool(name, "", {"type": "object", "properties": {argument: {"type": "string"} for argument in arguments}})


@pytest.mark.parametrize(
    "name", ["a b", "3d_area", "f(x)", "naïve", "get-it", "a.b", 'say"hi"', "two\nlines", "class", "area?"]
)
@pytest.mark.parametrize("dialect", [*map(DIALECTS.made, DIALECTS), MistralDialect("args")], ids=str)
def test_a_tool_is_called_right_or_refused(dialect, name):
    call = ToolCall(name, {"class": "x", "a b": "y", "": "z"}, "")
    read = [(one.name, one.arguments) for one in dialect.parse(dialect.render_calls([call])).calls]
    assert can_call(dialect, name, tuple(call.arguments)) == (read == [(name, call.arguments)])


@pytest.mark.parametrize("name", ["3d_area", "a b", "f(x)", "区域?", "two\nlines", ""[1:] or "area?"])
def test_the_python_dialect_refuses_what_is_no_name_and_says_which_can(name):
    with pytest.raises(DataError) as caught:
        refuse_unnameable(get_dialect("python"), [AREA, tool(name)])
    assert f"The tool '{name}' cannot be called in the dialect 'python'" in str(caught.value)
    assert "Set model.dialect to one that can (hermes, llama3_json, mistral)" in str(caught.value)


def test_tools_are_refused_where_they_meet_the_dialect():
    chat = ChatFormat(tiny_tokenizer(), get_dialect("python"))
    with pytest.raises(DataError, match="'3d_area' cannot be called in the dialect 'python'"):
        chat.prompt_ids([{"role": "user", "content": "Hi"}], [tool("3d_area")])
    chat.prompt_ids([{"role": "user", "content": "Hi"}], [tool("area.of-square", "class", "a b", "naïve")])
    args = MistralDialect("args")
    with pytest.raises(DataError, match=r"Rename the tool|Set model.dialect"):
        refuse_unnameable(args, [tool("a[b]")])
