"""`Template`: a tokenizer's chat template, and what it shows of a conversation.

A template is foreign code: it drops what it does not know without a word, or refuses it. So nothing is taken for
granted: a probe with words of its own goes through it, and what does not come out was not shown.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from fissile.errors import ModelError
from fissile.tasks import Message
from fissile.tools import Tool

logger = logging.getLogger(__name__)

PROBE_TOOL = Tool(
    "fissile_probe_tool",
    "A probe.",
    {"type": "object", "properties": {"fissile_probe_argument": {"type": "string", "description": "A probe."}}},
)
PROBE_TEXT = "fissile-probe-text"
QUESTION: Message = {"role": "user", "content": "A question."}

_OWN_OPTIONS = frozenset({"conversation", "tools", "add_generation_prompt", "tokenize"})
MEND = "Give the tokenizer a template that does: 'chat_template' in tokenizer_config.json, or chat_template.jinja."


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer.

    `added_tokens_decoder` maps the ids of all tokens outside the base vocabulary, chat markers among them, to
    objects with the fields `content` and `special`.
    """

    chat_template: Any
    eos_token_id: int | None
    pad_token_id: int | None
    added_tokens_decoder: dict[int, Any]

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render a conversation."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Text to token ids."""
        ...

    def decode(self, token_ids: Any, **options: Any) -> Any:
        """Token ids to text."""
        ...


class Template:
    """One chat template of a tokenizer.

    Attributes:
        text: its source.
        options: variables that every rendering gets.
        in_parts: it reads a message's content as a list of parts, and as nothing else.
    """

    def __init__(self, tokenizer: Tokenizer, text: str, options: Mapping[str, Any]) -> None:
        """Probe what every conversation needs.

        Raises:
            ModelError: it does not know an option, does not show what the user says, or does not open the assistant's
                turn.
        """
        self.text = text
        self.options = _known_options(options, text)
        self._tokenizer = tokenizer
        self._which = {} if isinstance(tokenizer.chat_template, str) else {"chat_template": text}
        self.in_parts = False
        self._no_tools: list[Any] | None = None
        spoken: Message = {"role": "user", "content": PROBE_TEXT}
        if not self._finds_a_form(spoken):
            trouble = self.trouble([spoken], "what the user says")
            raise ModelError(f"The tokenizer's chat template {trouble}. {MEND}")
        self._require_assistants_turn(spoken)
        if "strftime_now" in text and "date_string" not in options:
            _say_that_the_date_is_shown("date_string" in text)

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = (), *, prompt: bool = True) -> str:
        """The text of a conversation, with the generation prompt if wanted.

        Raises:
            ModelError: the template refuses it.
        """
        schemas = [tool.to_schema() for tool in tools] or self._no_tools
        turns = [self._in_parts(message) for message in messages] if self.in_parts else list(messages)
        given = {**self.options, **self._which}
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    turns, tools=schemas, add_generation_prompt=prompt, tokenize=False, **given
                )
            )
        except Exception as error:  # a template is foreign code and raises what it likes
            raise ModelError(
                f"The tokenizer's chat template refuses a conversation with the roles {roles_of(messages)}: {error}. "
                f"{MEND}"
            ) from error

    def probe(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()) -> str:
        """The rendering, or "" where the template refuses."""
        try:
            return self.render(messages, tools)
        except ModelError:
            return ""

    def trouble(self, messages: Sequence[Mapping[str, Any]], what: str, tools: Sequence[Tool] = ()) -> str:
        """Why the probe of a conversation does not show `what`: a clause."""
        try:
            self.render(messages, tools)
        except ModelError as error:
            return f"refuses a conversation with the roles {roles_of(messages)} ({error.__cause__})"
        return f"leaves out {what}"

    def behind_probe(self, rendered: str) -> str:
        """What stands behind `PROBE_TEXT`, said by the assistant. Raises ModelError: it is not there."""
        _, found, behind = rendered.partition(PROBE_TEXT)
        if not found:
            raise ModelError(f"The tokenizer's chat template drops the content of assistant messages. {MEND}")
        return behind

    def _finds_a_form(self, spoken: Message) -> bool:
        """Set how contents, and no tools, are given: the first form in which what is said is shown, as it was said."""
        for self.in_parts in (False, True):
            for self._no_tools in (None, []):
                rendered = self.probe([spoken])
                if PROBE_TEXT in rendered and f"'{PROBE_TEXT}'" not in rendered:
                    return True
        self.in_parts, self._no_tools = False, None
        return False

    def _require_assistants_turn(self, spoken: Message) -> None:
        """The prompt must end where the assistant's words begin in a conversation."""
        without, opened = self.render([spoken], prompt=False), self.render([spoken])
        before, found, _ = self.probe([spoken, {"role": "assistant", "content": "fissile-answer"}]).partition(
            "fissile-answer"
        )
        if found and without == opened and (opening := before.removeprefix(opened)) != before and opening.strip():
            raise ModelError(
                f"The tokenizer's chat template ignores add_generation_prompt: a prompt ends without {opening!r}, so "
                f"the model would not know that it is its turn. {MEND}"
            )

    def _in_parts(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {**message, "content": [{"type": "text", "text": message["content"]}]}


def templates_of(tokenizer: Tokenizer) -> dict[str, str]:
    """Name to source of each chat template, in the order in which they should be tried.

    Raises:
        ModelError: there is none, or several of which none is the default.
    """
    found = getattr(tokenizer, "chat_template", None)
    if isinstance(found, list):
        found = {entry["name"]: entry["template"] for entry in found}
    if not found:
        raise ModelError(
            "The tokenizer has no chat template. Use an instruction-tuned model, or set 'chat_template' in its "
            "tokenizer_config.json."
        )
    if not isinstance(found, Mapping):
        return {"default": str(found)}
    named = {name: str(found[name]) for name in ("tool_use", "default") if name in found}
    if not named and len(found) > 1:
        raise ModelError(
            f"The tokenizer has the chat templates {', '.join(found)}, and none is named 'default' or 'tool_use'. Set "
            "tokenizer.chat_template to the one that is meant."
        )
    return named or {name: str(text) for name, text in found.items()}


def roles_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The roles, as a message names them."""
    return ", ".join(str(message["role"]) for message in messages)


def _known_options(options: Mapping[str, Any], template: str) -> dict[str, Any]:
    """`options`, where the template's text names each of them; it would ignore the others in silence."""
    for name in options:
        if name in _OWN_OPTIONS:
            raise ModelError(f"The template option '{name}' is set for every rendering; leave it out.")
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise ModelError(f"The chat template does not use the option '{name}'. Correct its name, or leave it out.")
    return dict(options)


@cache
def _say_that_the_date_is_shown(has_option: bool) -> None:
    pin = "model.template_options = {date_string = '26 Jul 2024'}" if has_option else "a template without strftime_now"
    logger.warning(
        "The chat template writes the date of the day into every prompt, so a run of another day has other prompts. "
        "Pin it with %s.",
        pin,
    )
