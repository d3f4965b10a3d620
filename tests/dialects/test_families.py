"""`ChatFormat` and the dialects against the chat templates of the families that people train."""

import pytest
from families import NATIVE, tokenizer_of

from fissile.calls import ToolCall
from fissile.dialects import ChatFormat, get_dialect
from fissile.errors import ModelError
from fissile.tools import Tool

AREA = Tool("area", "Area of a square.", {"type": "object", "properties": {"side": {"type": "number"}}})
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How large is it?"}]
NEXT = [{"role": "user", "content": "And now?"}]
CALL = ToolCall("area", {"side": 2, "unit": "m²"}, "")
OPTIONS = {"llama3_2": {"date_string": "26 Jul 2024"}}  # otherwise the date of the day stands in the prompt


def chat_of(name, dialect=None, **options):
    return ChatFormat(tokenizer_of(name), dialect or NATIVE[name], {**OPTIONS.get(name, {}), **options})


def text_of(chat, ids):
    return chat.tokenizer.decode(list(ids), skip_special_tokens=False)


def native_call(name="area"):
    function = {"name": name, "arguments": CALL.arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "123456789", "function": function}]}


@pytest.mark.parametrize("name", NATIVE)
def test_the_dialect_reads_the_call_that_its_template_writes(name):
    chat = chat_of(name)
    ids = chat.tokenizer.apply_chat_template([*MESSAGES, native_call()], return_dict=False, **chat.template_options)
    (call,) = chat.dialect.parse(text_of(chat, ids)).calls
    assert (call.name, call.arguments) == (CALL.name, CALL.arguments)


@pytest.mark.parametrize("name", NATIVE)
def test_native_templates_write_tools_and_results_themselves(name):
    chat = chat_of(name)
    assert chat.renders_tools
    assert chat.renders_results
    prompt = chat.tokenizer.apply_chat_template(
        MESSAGES, tools=[AREA.to_schema()], add_generation_prompt=True, return_dict=False, **chat.template_options
    )
    assert list(chat.prompt_ids(MESSAGES, [AREA])) == prompt


TURNS = [([], NEXT), (["A"], []), (["A", "B"], []), (["A", "B"], NEXT)]


@pytest.mark.parametrize(("results", "messages"), TURNS)
@pytest.mark.parametrize("name", [name for name in NATIVE if name not in ("qwen3", "mistral_v3")])
def test_prompt_completion_and_reply_make_the_conversation_as_rendered_whole(name, results, messages):
    """Where the template does not rewrite: Qwen 3 drops reasoning, Mistral 3 moves the system message."""
    chat = chat_of(name)
    assert not chat.rewrites_history
    text = chat.dialect.render_calls([CALL])
    turns = [{"role": "tool", "content": result, "tool_call_id": f"{n:09d}"} for n, result in enumerate(results)]
    whole = chat.tokenizer.apply_chat_template(
        [*MESSAGES, {"role": "assistant", "content": text}, *turns, *messages],
        add_generation_prompt=True,
        tokenize=False,
        **chat.template_options,
    )
    grown = chat.prompt_ids(MESSAGES, []) + chat.completion_ids(text)
    assert text_of(chat, grown + chat.reply_ids(results, messages, ended=True)) == whole
    cut_off = grown[: -len(chat.end_of_turn)]
    assert text_of(chat, cut_off + chat.reply_ids(results, messages, ended=False)) == whole


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "qwen3",
            "\n<|im_start|>user\n<tool_response>\nA\n</tool_response>\n<tool_response>\nB\n</tool_response><|im_end|>\n"
            "<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "llama3_1",
            '<|start_header_id|>ipython<|end_header_id|>\n\n"A"<|eot_id|>'
            '<|start_header_id|>ipython<|end_header_id|>\n\n"B"<|eot_id|>'
            "<|start_header_id|>user<|end_header_id|>\n\nAnd now?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "mistral_v3",
            '[TOOL_RESULTS]{"content": "A", "call_id": "000000000"}[/TOOL_RESULTS]'
            '[TOOL_RESULTS]{"content": "B", "call_id": "000000001"}[/TOOL_RESULTS][INST]And now?[/INST]',
        ),
        (
            "mistral_v11",
            "[TOOL_RESULTS]000000000[TOOL_CONTENT]A[/TOOL_RESULTS]"
            "[TOOL_RESULTS]000000001[TOOL_CONTENT]B[/TOOL_RESULTS][INST]And now?[/INST]",
        ),
    ],
)
def test_results_and_the_next_words_stand_where_the_family_puts_them(name, expected):
    chat = chat_of(name)
    assert text_of(chat, chat.reply_ids(["A", "B"], NEXT, ended=True)) == expected


@pytest.mark.parametrize("name", NATIVE)
def test_no_result_can_spell_a_marker_of_the_family(name):
    chat = chat_of(name)
    special = {index for index, token in chat.tokenizer.added_tokens_decoder.items() if token.special}
    attack = "".join(token.content for token in chat.tokenizer.added_tokens_decoder.values())
    harmless, hostile = (chat.reply_ids([text], ended=True) for text in ("fine", attack))
    assert [i for i in hostile if i in special] == [i for i in harmless if i in special]


@pytest.mark.parametrize(("name", "dialect"), [("qwen3", "python"), ("llama3_1", "hermes"), ("mistral_v3", "python")])
def test_a_template_of_another_family_gets_tools_and_results_from_the_dialect(name, dialect):
    """Otherwise the prompt would ask for one format while the parser reads another."""
    chat = chat_of(name, get_dialect(dialect))
    assert (chat.renders_tools, chat.renders_results) == (False, False)
    instructed = chat.dialect.instruct(MESSAGES, [AREA])
    assert chat.prompt_ids(MESSAGES, [AREA]) == chat.prompt_ids(instructed, [])
    rendered = chat.dialect.render_result("42")["content"]
    assert rendered in text_of(chat, chat.reply_ids(["42"], ended=True))


def test_a_template_that_refuses_turns_in_a_row_gets_one():
    """Gemma wants user and model in turn."""
    chat = chat_of("gemma3", get_dialect("python"))
    assert not chat.renders_results
    assert text_of(chat, chat.reply_ids(["A", "B"], NEXT, ended=True)) == (
        "\n<start_of_turn>user\n[{'role': 'tool', 'content': 'A'}]\n\n[{'role': 'tool', 'content': 'B'}]\n\nAnd now?"
        "<end_of_turn>\n<start_of_turn>model\n"
    )
    assert text_of(chat, chat.reply_ids([], [*NEXT, *NEXT], ended=False)).count("<start_of_turn>user") == 1


def test_a_role_that_the_template_drops_becomes_the_users():
    """Phi 3 renders no "ipython" turn, which is how Llama reads results."""
    chat = chat_of("phi3", get_dialect("llama3_json"))
    assert text_of(chat, chat.reply_ids(["A"], ended=True)).startswith("\n<|user|>\nA")


def test_llama_ends_at_its_end_of_message_too():
    chat = chat_of("llama3_1")
    names = chat.tokenizer.convert_ids_to_tokens(sorted(chat.end_ids))
    assert sorted(names) == ["<|eom_id|>", "<|eot_id|>"]
    ids = chat.tokenizer.encode('{"name": "area", "parameters": {}}<|eom_id|>x', add_special_tokens=False)
    assert chat.decode(ids) == '{"name": "area", "parameters": {}}'


# --- Qwen 3 with and without thinking ---

EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("thinking", [True, False])
def test_qwen3_thinks_or_not_in_every_turn(thinking):
    chat = chat_of("qwen3", enable_thinking=thinking)
    opening = "<|im_start|>assistant\n" + ("" if thinking else EMPTY_THOUGHT)
    prompt = chat.prompt_ids(MESSAGES, [AREA])
    assert text_of(chat, prompt).endswith(f"How large is it?<|im_end|>\n{opening}")
    for results, messages in ((["42"], ()), (["42"], NEXT), ([], NEXT)):
        reply = text_of(chat, chat.reply_ids(results, messages, ended=True))
        assert reply.endswith(f"<|im_end|>\n{opening}")
        assert reply.count("<think>") == (not thinking)


@pytest.mark.parametrize("thinking", [True, False])
def test_nothing_that_qwen3_sampled_is_rendered_again(thinking):
    """Its template drops reasoning before the last question and rewrites the white space around it."""
    chat = chat_of("qwen3", enable_thinking=thinking)
    assert chat.rewrites_history
    sampled = ("<think> hm</think>" if thinking else "") + "\n\n" + chat.dialect.render_calls([CALL]) + " "
    grown = chat.prompt_ids(MESSAGES, [AREA])
    texts = [text_of(chat, grown)]
    for results, messages in ((["42"], ()), ((), NEXT), (["43", "44"], NEXT)):
        for ids in (chat.completion_ids(sampled), chat.reply_ids(results, messages, ended=True)):
            grown += ids
            texts.append(text_of(chat, ids))
    whole = text_of(chat, grown)
    assert whole == "".join(texts)
    assert whole.count(f"{sampled}<|im_end|>") == 3
    assert whole.count(EMPTY_THOUGHT) == (0 if thinking else 4)
    (call,) = chat.dialect.parse(sampled).calls
    assert call.arguments == CALL.arguments


def test_an_option_that_the_template_does_not_know_is_refused():
    with pytest.raises(ModelError, match="does not use the option 'enable_thinkin'"):
        chat_of("qwen3", enable_thinkin=False)
    with pytest.raises(ModelError, match="'tools' is set for every rendering"):
        chat_of("qwen3", tools=[])
