"""Nothing that a task says may be missing in the prompt, whatever the chat template does."""

import logging

import pytest
from families import template_of, tokenizer_of, tokenizer_with
from small_templates import SMALL, UNUSABLE, small_tokenizer

from fissile.dialects import ChatFormat, get_dialect
from fissile.dialects.templates import _say_that_the_date_is_shown
from fissile.errors import ModelError
from fissile.tools import Tool
from tiny import CHATML, CHATML_WITH_TOOLS, tiny_tokenizer

AREA = Tool("area", "Area of a square.", {"type": "object", "properties": {"side": {"type": "number"}}})
CALL = {"type": "function", "function": {"name": "area", "arguments": '{"side": 2}'}}


def user(text):
    return {"role": "user", "content": text}


SYSTEM = {"role": "system", "content": "Speak Latin."}
HISTORY = [
    user("first words"),
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "result one"},
    {"role": "tool", "content": "result two"},
    {"role": "assistant", "content": "an answer"},
    user("second words"),
    user("third words"),
]
CONVERSATIONS = {
    "one question": [user("first words")],
    "a system message": [SYSTEM, user("first words")],
    "a history": HISTORY,
    "a history behind a system message": [SYSTEM, *HISTORY],
    "a system message in the middle": [*HISTORY[:5], SYSTEM, *HISTORY[5:]],
}


def text_of(chat, ids):
    return chat.tokenizer.decode(list(ids), skip_special_tokens=False)


SHIPPED = (
    "gemma",
    "gemma3",
    "phi3",
    "cohere",
    "deepseekv3",
    "gptoss",
    "glm4moe",
    "idefics3",
    "llama3_2",
    "mistral_v3",
    "qwen3",
)
TEMPLATES = {**dict.fromkeys(SMALL, small_tokenizer), **dict.fromkeys(SHIPPED, tokenizer_of)}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("dialect", ["hermes", "llama3_json"])
def test_every_prompt_shows_all(name, dialect):
    chat = ChatFormat(TEMPLATES[name](name), get_dialect(dialect))
    for messages in CONVERSATIONS.values():
        for tools in ([AREA], []):
            prompt = text_of(chat, chat.prompt_ids(messages, tools))
            for message in messages:
                assert message["content"] in prompt
            calls = [call.name for call in chat.dialect.parse(prompt).calls if call.is_well_formed]
            assert calls.count("area") == 2 * (HISTORY[1] in messages)
            if tools:
                assert "side" in prompt
    reply = text_of(chat, chat.reply_ids(["result one", "result two"], [user("more words")], ended=True))
    assert all(words in reply for words in ("result one", "result two", "more words"))


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_template_that_shows_nothing_of_it_is_refused_by_what_it_does(name):
    template, says = UNUSABLE[name]
    with pytest.raises(ModelError, match=says) as caught:
        ChatFormat(tokenizer_with(template, "<|im_end|>"), get_dialect("hermes"))
    assert "template" in str(caught.value)
    assert "chat_template.jinja" in str(caught.value)


def test_tools_and_system_message_go_into_the_users_first_turn_where_there_is_no_other_place():
    chat = ChatFormat(small_tokenizer("gemma 2"), get_dialect("hermes"))
    prompt = text_of(chat, chat.prompt_ids([SYSTEM, user("How large?")], [AREA]))
    assert prompt.startswith("<start_of_turn>user\nSpeak Latin.\n\n# Tools\n")
    assert prompt.endswith("</tool_call>\n\nHow large?<end_of_turn>\n<start_of_turn>model\n")
    dropping = ChatFormat(small_tokenizer("a system message that is dropped"), get_dialect("hermes"))
    prompt = text_of(dropping, dropping.prompt_ids([user("How large?")], [AREA]))
    assert prompt.startswith("<|im_start|>user\n# Tools\n")


def test_a_conversation_that_no_arrangement_saves_is_refused_with_the_templates_words():
    chat = ChatFormat(small_tokenizer("mistral v1"), get_dialect("hermes"))
    answer = {"role": "assistant", "content": "Hello."}
    with pytest.raises(ModelError, match=r"roles assistant, user and tools, whatever is tried: it refuses .*alternate"):
        chat.prompt_ids([answer, user("How large?")], [AREA])


def test_histories_are_written_as_the_template_writes_them_itself():
    """Where the template speaks the dialect, its own words and the dialect's are the same."""
    for name, dialect in (("qwen2_5", "hermes"), ("qwen3", "hermes")):
        chat = ChatFormat(tokenizer_of(name), get_dialect(dialect))
        native = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "area", "arguments": {"side": 2}}}],
        }
        turns = [user("How large?"), native, {"role": "tool", "content": "4"}]
        own = chat.tokenizer.apply_chat_template(
            turns, tools=[AREA.to_schema()], add_generation_prompt=True, tokenize=False
        )
        task = [turns[0], {"role": "assistant", "content": "", "tool_calls": [CALL]}, turns[2]]
        assert text_of(chat, chat.prompt_ids(task, [AREA])) == own


# --- several templates ---


@pytest.mark.parametrize("form", [dict, list])
def test_of_named_templates_the_one_that_writes_this_dialect_is_taken(form):
    named = {"default": CHATML, "tool_use": CHATML_WITH_TOOLS}
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = named if form is dict else [{"name": k, "template": v} for k, v in named.items()]
    chat = ChatFormat(tokenizer, get_dialect("hermes"))
    assert chat.renders_tools
    assert chat.template.text == CHATML_WITH_TOOLS
    alone = ChatFormat(tiny_tokenizer(tools_in_template=True), get_dialect("hermes"))
    assert chat.prompt_ids([user("Hi")], [AREA]) == alone.prompt_ids([user("Hi")], [AREA])
    assert chat.prompt_ids([user("Hi")], []) == alone.prompt_ids([user("Hi")], [])
    tokenizer.chat_template = {"default": CHATML, "tool_use": template_of("cohere2")}
    assert ChatFormat(tokenizer, get_dialect("hermes")).template.text == CHATML


def test_named_templates_without_a_default_are_refused_with_their_names():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = {"rag": CHATML, "plain": CHATML}
    with pytest.raises(ModelError, match="has the chat templates rag, plain, and none is named 'default'"):
        ChatFormat(tokenizer, get_dialect("hermes"))
    tokenizer.chat_template = {"plain": CHATML}
    assert ChatFormat(tokenizer, get_dialect("hermes")).template.text == CHATML


def test_a_date_of_the_day_in_the_prompt_is_said(caplog):
    _say_that_the_date_is_shown.cache_clear()
    with caplog.at_level(logging.WARNING):
        ChatFormat(tokenizer_of("llama3_2"), get_dialect("llama3_json"), {"date_string": "26 Jul 2024"})
        assert not caplog.records
        ChatFormat(tokenizer_of("llama3_2"), get_dialect("llama3_json"))
    (record,) = caplog.records
    assert "date_string" in record.getMessage()
