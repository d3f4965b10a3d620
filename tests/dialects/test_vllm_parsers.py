"""The same responses through the tool parsers of vLLM, where it is installed."""

import pytest
from families import tokenizer_of
from parser_cases import NO_CALL, ONE, SEVERAL, decoded, ours

from fissile.calls import ToolCall
from fissile.dialects import DIALECTS, MistralDialect

pytest.importorskip("vllm", reason="vLLM is not installed: its tool parsers cannot be compared with ours")
parsers = pytest.importorskip("vllm.tool_parsers", reason="this vLLM keeps its tool parsers elsewhere")
protocol = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol")

REQUEST = protocol.ChatCompletionRequest(messages=[{"role": "user", "content": "Hi"}], model="m")
CASES = [
    ("hermes", DIALECTS.made("hermes"), "qwen3"),
    ("llama3_json", DIALECTS.made("llama3_json"), "llama3_1"),
    ("pythonic", DIALECTS.made("python"), "llama3_1"),
    ("mistral", MistralDialect("list"), "mistral_v3"),
    ("mistral", MistralDialect("args"), "mistral_v11"),
]


@pytest.fixture(params=CASES, ids=[f"{parser}-{template}" for parser, _, template in CASES])
def pair(request):
    name, dialect, template = request.param
    parser = parsers.ToolParserManager.get_tool_parser(name)
    return dialect, parser(tokenizer_of(template, "<|python_tag|>"))


def theirs(parser, text):
    found = parser.extract_tool_calls(text, REQUEST).tool_calls
    return [(call.function.name, decoded(call.function.arguments)) for call in found]


def test_the_calls_that_we_write_are_read_alike(pair):
    dialect, parser = pair
    for calls in [*ONE, *SEVERAL]:
        text = dialect.render_calls([ToolCall(name, arguments, "") for name, arguments in calls])
        assert ours(dialect, text) == theirs(parser, text) == calls


def test_what_is_no_call_is_none_for_both(pair):
    dialect, parser = pair
    for text in NO_CALL:
        assert ours(dialect, text) == theirs(parser, text) == []


@pytest.mark.parametrize(
    ("name", "template", "text"),
    [
        ("llama3_json", "llama3_1", '<|python_tag|>{"name": "f", "parameters": {"a": 1}}'),
        ("llama3_json", "llama3_1", '{"name": "f", "arguments": {"a": 1}}\n{"name": "f", "parameters": {"a": 1}}'),
        ("llama3_json", "llama3_1", 'Sure: {"type": "function", "name": "f", "parameters": {"a": 1}};'),
        ("mistral", "mistral_v3", 'Ok[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}, "id": "123456789"}] done'),
        ("mistral", "mistral_v3", '[TOOL_CALLS]{"name": "f", "arguments": {"a": 1}}'),
        ("mistral", "mistral_v11", 'Ok[TOOL_CALLS]f{"a": 1}'),
        ("hermes", "qwen3", '<tool_call>{"name": "f", "arguments": {"a": 1}}'),
    ],
)
def test_other_ways_to_write_a_call_are_read_alike(name, template, text):
    parser = parsers.ToolParserManager.get_tool_parser(name)(tokenizer_of(template, "<|python_tag|>"))
    assert ours(DIALECTS.made(name), text) == theirs(parser, text)
    assert ours(DIALECTS.made(name), text)[0] == ("f", {"a": 1})
