# ruff: noqa: E501  (a row is one line)
"""The section "Chat templates" of docs/compatibility.md: every line is a template, probed with tools and results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from compatibility.page import Row, assert_section
from dialects.families import tokenizer_of, tokenizer_with
from dialects.small_templates import UNUSABLE, small_tokenizer
from fissile.dialects import ChatFormat, get_dialect
from fissile.errors import DataError, ModelError
from fissile.tools import Tool
from tiny import CHATML, tiny_tokenizer

AREA = Tool("area", "", {"type": "object", "properties": {"side": {"type": "number"}}})
MESSAGES = [{"role": "system", "content": "Speak Latin."}, {"role": "user", "content": "How large?"}]


def shows(
    tokenizer: Callable[[], PreTrainedTokenizerFast], dialect: str, native: bool, folded: bool = False
) -> Callable[[], None]:
    """All is shown; by the template itself or by the dialect, the system's words in their place or in the user's."""

    def check() -> None:
        chat = ChatFormat(tokenizer(), get_dialect(dialect))
        prompt = chat.tokenizer.decode(list(chat.prompt_ids(MESSAGES, [AREA])))
        assert all(words in prompt for words in ("Speak Latin.", "How large?", "area", "side"))
        assert chat.renders_tools is native
        assert ("Speak Latin.\n\n# Tools" in prompt and "</tool_call>\n\nHow large?" in prompt) is folded
        reply = chat.tokenizer.decode(
            list(chat.reply_ids(["four"], [{"role": "user", "content": "And now?"}], ended=True))
        )
        assert "four" in reply
        assert "And now?" in reply

    return check


def refuses(template: str, says: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(ModelError, match=says):
            ChatFormat(tokenizer_with(template, "<|im_end|>"), get_dialect("hermes"))

    return check


def no_template() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="has no chat template"):
        ChatFormat(tokenizer, get_dialect("hermes"))


def named() -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = {"default": CHATML, "rag": "{{ documents }}"}
    return tokenizer


def unnameable() -> None:
    with pytest.raises(DataError, match="cannot be called in the dialect 'python'"):
        ChatFormat(tiny_tokenizer(), get_dialect("python")).prompt_ids(MESSAGES, [Tool("3d", "", AREA.parameters)])


def of_trl(name: str) -> Callable[[], PreTrainedTokenizerFast]:
    return lambda: tokenizer_of(name)


def small(name: str) -> Callable[[], PreTrainedTokenizerFast]:
    return lambda: small_tokenizer(name)


NATIVE, BY_DIALECT = "tools, calls and results as the template writes them", "tools and results by the dialect"
FOLDED = f"{BY_DIALECT}, with the system's words in the user's first turn"
ROWS = [
    *(
        Row(f"{family} (dialect `{dialect}`)", "works", NATIVE, shows(of_trl(name), dialect, native=True))
        for family, name, dialect in (
            ("Qwen 2.5", "qwen2_5", "hermes"),
            ("Qwen 3", "qwen3", "hermes"),
            ("Llama 3.1", "llama3_1", "llama3_json"),
            ("Llama 3.2", "llama3_2", "llama3_json"),
            ("Mistral v3", "mistral_v3", "mistral"),
            ("LFM 2", "lfm2_v2", "python"),
        )
    ),
    *(
        Row(family, "works", BY_DIALECT, shows(of_trl(name), "hermes", native=False))
        for family, name in (
            ("Llama 3", "llama3"),
            ("Phi 3", "phi3"),
            ("Phi 3.5", "phi3_5"),
            ("DeepSeek V3", "deepseekv3"),
            ("DeepSeek R1 (distilled)", "deepseek_r1_distill"),
            ("Command R", "cohere"),
            ("Command R7B", "cohere2"),
            ("GPT-OSS", "gptoss"),
            ("GLM 4.5", "glm4moe"),
            ("Qwen 3.5 (its own calls are XML)", "qwen3_5_think"),
        )
    ),
    Row("SmolLM 2, Qwen 1.5: a default system prompt", "works", f"{BY_DIALECT}, in its place", shows(small("a default system prompt"), "hermes", native=False)),
    *(Row(name.capitalize(), "works", BY_DIALECT, shows(small(name), "hermes", native=False)) for name in ("llama 2", "zephyr", "vicuna", "phi 4")),
    Row("Granite 3", "works", "tools as the template writes them, calls by the dialect", shows(small("granite 3"), "hermes", native=True)),
    Row("Gemma 3 (puts the system message into the user's turn itself)", "works", BY_DIALECT, shows(of_trl("gemma3"), "hermes", native=False, folded=True)),
    Row("Gemma 1 (refuses a system message)", "converted", FOLDED, shows(of_trl("gemma"), "hermes", native=False, folded=True)),
    Row("Gemma 2 (refuses a system message)", "converted", FOLDED, shows(small("gemma 2"), "hermes", native=False, folded=True)),
    Row("Mistral v1 (refuses it, and wants turns to alternate)", "converted", FOLDED, shows(small("mistral v1"), "hermes", native=False, folded=True)),
    Row("a template that drops the system message", "converted", FOLDED, shows(small("a system message that is dropped"), "hermes", native=False, folded=True)),
    Row("a template that shows tools only beside a system message", "converted", BY_DIALECT, shows(small("tools only with a system message"), "hermes", native=False)),
    Row("a template that shows the tools' names alone", "converted", BY_DIALECT, shows(small("tools by name only"), "hermes", native=False)),
    Row("a template that drops tool results", "converted", "results are the user's words", shows(small("results are dropped"), "llama3_json", native=False)),
    Row("contents as lists of parts only (Idefics 3, SmolVLM)", "converted", "contents are given in parts", shows(of_trl("idefics3"), "hermes", native=False)),
    Row("several named templates", "works", "`tool_use` where it writes the dialect's calls, else `default`", shows(named, "hermes", native=False)),
    Row("no template", "refused", "use an instruction-tuned model, or set one", no_template),
    *(Row(f"a template that shows {name}", "refused", "it is said what the template does", refuses(*UNUSABLE[name])) for name in ("the last message alone", "nothing but one turn of the user")),
    *(Row(f"a template with which {name}", "refused", "it is said what the template does", refuses(*UNUSABLE[name])) for name in ("the user's words are dropped", "the assistant's words are dropped")),
    Row("a template without a generation prompt", "refused", "the model would not know that it is its turn", refuses(*UNUSABLE["no generation prompt"])),
    Row("a tool that the dialect cannot call (`3d` in `python`)", "refused", "tool, dialect and the dialects that can are named", unnameable),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("templates", ROWS)
