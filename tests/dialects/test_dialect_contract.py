"""What every dialect promises, on hostile text and on any JSON value."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import ToolCall
from fissile.config import ModelConfig, RunConfig
from fissile.dialects import DIALECTS, ChatFormat, HermesDialect, MistralDialect, get_dialect
from fissile.errors import ConfigError, DataError
from fissile.tools import Tool
from installed import Offer
from tiny import tiny_tokenizer

DIALECTS_IN_ALL_FORMS = {**{name: DIALECTS.made(name) for name in DIALECTS}, "mistral_args": MistralDialect("args")}
each_dialect = pytest.mark.parametrize("dialect", DIALECTS_IN_ALL_FORMS.values(), ids=DIALECTS_IN_ALL_FORMS.keys())

AREA = Tool("area", 'Größe "a²".', {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]})
USER = {"role": "user", "content": "Hi"}

# No low surrogate: JSON's "\\ud800\\udfff" is one character, so no JSON text can hold the two.
texts = st.text() | st.text(st.characters(max_codepoint=31) | st.sampled_from("\"'\\\ud800\x7f\u2028"), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-zA-Z_\u00e9][a-zA-Z0-9_.-]{0,8}", fullmatch=True)
calls = st.lists(st.tuples(names, st.dictionaries(texts | names, json_values, max_size=3)), max_size=3)

tags = ["<tool_call>", "</tool_call>", "<think>", "</think>", "[THINK]", "[/THINK]", "<|python_tag|>", "```python\n"]
control = [
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "[TOOL_CALLS]f[ARGS]{",
    "[f(",
    "[f(a=",
    "f(a=1)",
    "**{'a b': 1}",
    "**",
]
json_pieces = [
    '{"name": "f", "arguments": {"x": 1}}',
    '{"name": "f", "parameters": {',
    '"name"',
    '"a": ',
    "NaN",
    "1e999",
]
marks = [
    *"\n\"'\\{}[](),:;=-#",
    "'''",
    '"""',
    "\x00",
    "\ud800",
    "é",
    "1",
    "0x1F",
    "1j",
    "None",
    "true",
    "\\N{",
    "\\u12",
]
hostile_text = st.lists(
    st.sampled_from([*tags, *control, *json_pieces, *marks]) | st.text(max_size=4), max_size=30
).map("".join)


@each_dialect
@given(calls)
def test_rendered_calls_parse_back(dialect, calls):
    rendered = dialect.render_calls([ToolCall(name, arguments, "") for name, arguments in calls])
    parsed = dialect.parse(rendered)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert [repr(call.arguments) for call in parsed.calls] == [
        repr(arguments) for _, arguments in calls
    ]  # 1 is not 1.0
    assert parsed.content == parsed.reasoning == ""
    assert dialect.render_calls(parsed.calls) == rendered
    rendered.encode()


@each_dialect
@given(hostile_text)
def test_any_text_parses_and_every_call_lies_where_it_says(dialect, text):
    parsed = dialect.parse(text)
    for call in parsed.calls:
        assert text[call.position : call.position + len(call.text)] == call.text
        assert (call.name is None) == (call.arguments is None) == (not call.is_well_formed)
        if call.parse_error is not None:
            assert call.position <= call.parse_error.position <= call.position + len(call.text)
    ends = [(call.position, call.position + len(call.text)) for call in parsed.calls]
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))


LONG = 1_000_000
UNITS = [
    "[", "(", "{", "f(", "[f(", "[f(a=", "[f(a=[", "[f(a='", "[f(a='''", "'\\", "'''\\", "\\'", "'", '"', "f(a=1)\n",
    "f(\n", "[f(a=1) x] ", "[f(x)]", "[f(a={1:", "[f(a='a' ", "-", "9", "a.", "\n", "[ ", "#", "```a ", '[f(**{"a":',
    "</think>", "<think></think>", "[TOOL_CALLS]", "[TOOL_CALLS][", '[TOOL_CALLS][{"', '[TOOL_CALLS]f[ARGS]{"',
    '[TOOL_CALLS][ARGS]{"', "[TOOL_CALLS][{},", "[CALL_ID]", '{"name":', '{"name":;', '{"name":"', '{"name":}', "}{",
    "<|python_tag|>", "<|python_tag|>{", '{"name":\\', "<tool_call>", '<tool_call>{"',
]  # fmt: skip
PREFIXES = {"python": "[f(a=", "llama3_json": '{"name": "f", "parameters": ', "mistral": "[TOOL_CALLS] [", "hermes": ""}


@pytest.mark.parametrize("name", PREFIXES)
def test_time_is_linear_in_the_length(name):
    """A million characters of anything take about a second; quadratic behaviour would take minutes."""
    for unit in UNITS:
        for prefix in {"", PREFIXES[name]}:
            text = prefix + unit * (LONG // 8 // len(unit)) + '"'
            start = time.process_time()
            get_dialect(name).parse(text)
            seconds = time.process_time() - start
            assert seconds < 2, (prefix, unit, seconds)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("python", "["), ("python", "("), ("python", "f("), ("python", "[f(a='"), ("python", "\\'"),
        ("llama3_json", '{"name":'), ("mistral", "[TOOL_CALLS]"), ("mistral", '[TOOL_CALLS][{"'),
    ],
)  # fmt: skip
def test_a_million_characters_take_seconds(name, unit):
    start = time.process_time()
    get_dialect(name).parse(unit * (LONG // len(unit)))
    assert time.process_time() - start < 5


# --- prompts ---


@each_dialect
def test_tools_are_announced_as_they_are_instructed(dialect):
    (system, same) = dialect.instruct([USER], [AREA])
    assert same == USER
    assert system["role"] == "system"
    announced = dialect.announce([AREA])
    assert announced in system["content"]
    assert "Größe" in announced
    extended, _ = dialect.instruct([{"role": "system", "content": "Be terse."}, USER], [AREA])
    assert extended["content"] == f"Be terse.\n\n{system['content']}"


@each_dialect
def test_without_tools_nothing_is_said(dialect):
    assert dialect.instruct([USER], []) == [USER]
    assert dialect.announce([]) == ""
    assert dialect.render_calls([]) == ""


@each_dialect
def test_instructions_hold_no_call_that_could_be_taken_for_one_of_the_model(dialect):
    """Every example in the prompt has a placeholder that is no offered tool."""
    (system, _) = dialect.instruct([USER], [AREA])
    assert AREA.name not in {call.name for call in dialect.parse(system["content"]).calls}


@each_dialect
def test_a_template_without_tools_carries_the_dialects_own_turns(dialect):
    chat = ChatFormat(tiny_tokenizer(), dialect)
    assert (chat.renders_tools, chat.renders_results) == (False, False)
    reply = chat.tokenizer.decode(list(chat.reply_ids(["42"], [USER], ended=True)))
    assert dialect.render_result("42")["content"] in reply
    assert reply.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_dialects_are_found_by_name():
    assert set(DIALECTS) == {"hermes", "qwen3", "python", "llama3_json", "mistral"}
    assert get_dialect("qwen3") is get_dialect("hermes")
    assert all(get_dialect(name).name == name for name in DIALECTS if name != "qwen3")
    with pytest.raises(ConfigError, match=r"no dialect 'xml'\. Choose one of hermes, qwen3, python"):
        get_dialect("xml")


SHOUTED = """
from fissile.dialects import HermesDialect


class Shouted(HermesDialect):
    name = "shouted"
"""


def test_another_packages_dialect_is_used_by_its_name(offer: Offer):
    offer("loud_calls", SHOUTED, "fissile.dialects", shouted="loud_calls:Shouted")
    assert list(DIALECTS)[-1] == "shouted"
    assert get_dialect("shouted") is get_dialect("shouted")
    assert RunConfig(model=ModelConfig(dialect="shouted")).model.dialect == "shouted"
    chat = ChatFormat(tiny_tokenizer(), "shouted")
    assert chat.dialect.name == "shouted"
    assert ChatFormat(tiny_tokenizer(), HermesDialect()).dialect.name == "hermes"


def test_a_broken_dialect_of_another_package_spoils_no_other(offer: Offer):
    offer("broken_calls", "raise OSError('no disk')", "fissile.dialects", broken="broken_calls:Broken")
    with pytest.raises(ConfigError, match=r"'broken' of the package 'broken_calls'.*no disk"):
        get_dialect("broken")
    chat = ChatFormat(tiny_tokenizer(), "python")
    with pytest.raises(DataError, match=r"Set model.dialect to one that can \(hermes"):
        chat.prompt_ids([{"role": "user", "content": "Hi"}], [Tool("3d", "", AREA.parameters)])
