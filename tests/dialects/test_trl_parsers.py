"""The same responses through TRL's parsers (its response templates, read by transformers)."""

import pytest
from families import NATIVE, tokenizer_of
from parser_cases import NO_CALL, ONE, SEVERAL, decoded, ours
from trl.chat_template_utils import add_response_schema, parse_response

from fissile.calls import ToolCall

QUESTION = [{"role": "user", "content": "Hi"}]
TEMPLATES = ["qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3_1", "llama3_2"]


@pytest.fixture(params=TEMPLATES)
def family(request):
    return request.param, add_response_schema(tokenizer_of(request.param))


def theirs(tokenizer, text):
    ids = tokenizer.encode(text + tokenizer.eos_token, add_special_tokens=False)
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=False)
    parsed = parse_response(tokenizer, ids, prefix=prompt)
    functions = [call["function"] for call in parsed.get("tool_calls") or []]
    return [(function["name"], decoded(function["arguments"])) for function in functions]


def test_the_calls_that_we_write_are_read_alike(family):
    name, tokenizer = family
    dialect = NATIVE[name]
    for calls in ONE if name.startswith("llama") else [*ONE, *SEVERAL]:  # TRL reads one call of Llama's
        text = dialect.render_calls([ToolCall(function, arguments, "") for function, arguments in calls])
        assert ours(dialect, text) == theirs(tokenizer, text) == calls


def test_the_calls_that_the_template_writes_are_read_alike(family):
    name, tokenizer = family
    dialect = NATIVE[name]
    for ((function, arguments),) in ONE:
        call = {"type": "function", "function": {"name": function, "arguments": arguments}}
        turns = [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [call]}]
        prompt, whole = (
            tokenizer.apply_chat_template(turns[:count], add_generation_prompt=count == 1, tokenize=False)
            for count in (1, 2)
        )
        text = whole.removeprefix(prompt).partition(tokenizer.eos_token)[0]
        assert ours(dialect, text) == theirs(tokenizer, text) == [(function, arguments)]


def test_what_is_no_call_is_none_for_both(family):
    name, tokenizer = family
    for text in NO_CALL:
        assert ours(NATIVE[name], text) == theirs(tokenizer, text) == []
