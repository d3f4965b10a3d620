"""Tiny real objects for tests."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

AREA = Tool("area", "", {"type": "object", "properties": {"side": {"type": "integer"}}, "required": ["side"]})
"""A tool with one argument."""

CHATML = """\
{%- if messages[0].role != 'system' -%}
{{- '<|im_start|>system\\nBe helpful.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""As SmolLM2's: a default system prompt, and any role is rendered."""

CHATML_WITH_TOOLS = """\
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages[0].role == 'system' -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}
{{- '<tools>' -}}{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\\n</tools><|im_end|>\\n' -}}
{%- elif messages[0].role == 'system' -%}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' -}}
{%- elif message.role == 'assistant' -%}
{%- set content = message.content.split('</think>')[-1] | trim -%}
{{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' -}}
{%- elif message.role == 'user' -%}
{{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""As Qwen's: tools and tool results have their own place, and past reasoning is dropped."""

_MERGES = [("t", "o"), ("o", "l"), ("to", "ol"), ("e", "r"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ('"', ":"), ("<", "tool")]


def tiny_tokenizer(tools_in_template: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 267 tokens with a ChatML template; text round trips exactly."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *(a + b for a, b in _MERGES)])}
    backend = Tokenizer(models.BPE(vocabulary, list(_MERGES)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    markers = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in markers])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML_WITH_TOOLS if tools_in_template else CHATML,
    )


def squares(count: int) -> list[Task]:
    """Tasks of different prompts and answers, one call of `AREA` each."""
    return [
        Task(
            f"t{n}",
            ({"role": "user", "content": "A square" + "!" * n},),
            (AREA,),
            (ExpectedCall.exactly("area", {"side": n}),),
        )
        for n in range(count)
    ]
