"""Answers that would count as no calls: what is said of them."""

import pytest

from fissile.engines.endpoint_misfits import Misfits
from fissile.engines.openai_messages import ChatAnswer

FOREIGN = {
    "qwen3-coder": "<tool_call>\n<function=ls>\n<parameter=a>\ntrue\n</parameter>\n</function>\n</tool_call>",
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>ls\n```json\n{}\n```",
    "llama 3 functions": '<function=ls>{"a": true}</function>',
    "gpt-oss": "<|channel|>commentary to=functions.ls <|constrain|>json<|message|>{}",
    "gemma": "```tool_code\nls(a=True)\n```",
    "glm": "<tool_call>ls\n<arg_key>a</arg_key>\n<arg_value>true</arg_value>\n</tool_call>",
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.ls:0<|tool_call_argument_begin|>{}",
    "anthropic": '<function_calls>\n<invoke name="ls">\n</invoke>\n</function_calls>',
    "lm studio": '[TOOL_REQUEST]{"name": "ls"}[END_TOOL_REQUEST]',
    "an object": '{"tool": "ls", "input": {}}',
    "a fenced object": '```json\n{"function": "ls", "args": {}}\n```',
}
PLAIN = ("The tool ls lists files.", '{"name": "Ines", "age": 31}', "Use <b>ls</b>.", "[1, 2]", "`ls`")


def remark(*answers: ChatAnswer) -> str:
    misfits = Misfits(None)
    for answer in answers:
        misfits.look_at(answer, {"ls"})
    return misfits.remark


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
def test_calls_in_a_format_that_is_not_read_are_said(text: str) -> None:
    said = remark(*[ChatAnswer(text)] * 3)
    assert said.startswith("ATTENTION: 3 of 3 answers hold")
    assert "--tool-call-parser" in said


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_answer_is_none(text: str) -> None:
    assert remark(*[ChatAnswer(text)] * 3) == ""


def test_answers_with_nothing_in_them_are_said_and_what_cut_them() -> None:
    assert "3 of 3 answers are empty" in remark(*[ChatAnswer(" ", reasoning="Hm.")] * 3)
    assert "--max-new-tokens" in remark(*[ChatAnswer("", reasoning="Hm, hm", truncated=True)] * 3)
    assert remark(ChatAnswer("", calls=(("ls", "{}"),)), ChatAnswer("")) == "", "a turn may end without a word"
