# ruff: noqa: E501  (a template is one line)
"""Chat templates of families that TRL does not ship, and of kinds that are seen in the wild: written small, by hand."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from dialects.families import tokenizer_with

_ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
_CHATML = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
_OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_INST = "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + '</s>' }}"

SMALL = {
    "llama 2": "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' + messages[0].content"
    " + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}{% for m in rest %}" + _ALTERNATE
    + "{% if m.role == 'user' %}{{ '<s>[INST] ' + (system if loop.first else '') + m.content.strip() + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + ' </s>' }}{% endif %}{% endfor %}",
    "mistral v1": "{{ '<s>' }}{% for m in messages %}" + _ALTERNATE + _INST
    + "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "gemma 2": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}" + _ALTERNATE + "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n'"
    " + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    "zephyr": "{% for m in messages %}{% if m.role in ('system', 'user', 'assistant') %}"
    "{{ '<|' + m.role + '|>\\n' + m.content + '</s>\\n' }}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}"
    "{% endif %}{% endfor %}",
    "vicuna": "{% if messages[0].role == 'system' %}{{ messages[0].content + ' ' }}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}{% elif m.role == 'assistant' %}{{ 'ASSISTANT: ' + m.content + '</s>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "phi 4": "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
    "granite 3": "{% if tools %}{{ '<|start_of_role|>available_tools<|end_of_role|>' + (tools | tojson) + '<|end_of_text|>' }}{% endif %}"
    "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
    "a system message that is dropped": "{% for m in messages if m.role != 'system' %}" + _CHATML + "{% endfor %}" + _OPEN,
    "a system message only without tools": "{% if tools %}{{ '<tools>' + (tools | tojson) + '</tools>' }}{% elif messages[0].role == 'system' %}"
    "{{ messages[0].content }}{% endif %}{% for m in messages if m.role != 'system' %}" + _CHATML + "{% endfor %}" + _OPEN,
    "tools only with a system message": "{% if tools and messages[0].role == 'system' %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}" + _CHATML + "{% endfor %}" + _OPEN,
    "tools by name only": "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{% for m in messages %}" + _CHATML
    + "{% endfor %}" + _OPEN,
    "tools that must be there": "{{ tools | length }}{% for m in messages %}" + _CHATML + "{% endfor %}" + _OPEN,
    "contents in parts": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}" + _OPEN,
    "results are dropped": "{% for m in messages if m.role in ('system', 'user', 'assistant') %}" + _CHATML + "{% endfor %}" + _OPEN,
    "a default system prompt": "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}" + _CHATML + "{% endfor %}" + _OPEN,
    "a system message in the last turn": "{{ '<s>' }}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}{{ '[INST] '"
    " + (messages[0].content + '\\n\\n' if loop.last and messages[0].role == 'system' else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + '</s>' }}{% endif %}{% endfor %}",
}  # fmt: skip
"""Name to template: all of them can be used."""

UNUSABLE = {
    "the last message alone": ("{{ messages[-1].content }}<|im_end|>", "cannot go on behind an answer"),
    "the user's words are dropped": (
        "{% for m in messages if m.role == 'assistant' %}{{ m.content }}{% endfor %}",
        "leaves out what the user says",
    ),
    "no generation prompt": (
        "{% for m in messages %}" + _CHATML + "{% endfor %}",
        r"ignores add_generation_prompt: a prompt ends without '<\|im_start\|>assistant",
    ),
    "nothing but one turn of the user": (
        "{% if messages | length > 1 %}{{ raise_exception('One message only.') }}{% endif %}{{ messages[0].content }}",
        "refuses a conversation with the roles user, assistant: One message only",
    ),
    "the assistant's words are dropped": (
        "{% for m in messages if m.role != 'assistant' %}" + _CHATML + "{% endfor %}" + _OPEN,
        "drops the content of assistant messages",
    ),
    "words cut short": (
        "{% for m in messages %}{{ m.content[:10] }}{% endfor %}",
        "leaves out what the user says",
    ),
}
"""Name to template and what is said of it."""


def small_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer with a template of `SMALL`."""
    return tokenizer_with(SMALL[name], "<|im_end|>", "</s>", "<|end_of_text|>", "<end_of_turn>")
