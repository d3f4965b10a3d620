"""`ChatFormat`: messages and tools to token ids, token in and token out.

A conversation only ever grows at its end: the ids of the prompt, the ids that the policy sampled, the ids of the
turns that answer it. Chat templates are asked once for each new piece and never to render a past that already
exists as tokens, since many would rewrite it (drop reasoning, trim white space, move tools).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from fissile.dialects.base import Dialect
from fissile.dialects.replies import DIALECT_WAYS, NATIVE_WAYS, Way
from fissile.errors import ModelError
from fissile.tasks import Message
from fissile.tools import Tool

_PROBE_TOOL = Tool("fissile_probe_tool", "A probe.", {"type": "object", "properties": {}})
_PROBE_CALL = {"id": "000000000", "type": "function", "function": {"name": _PROBE_TOOL.name, "arguments": {"a": 1}}}
_PROBE_TEXT = "fissile-probe-text"
_PROBE_RESULTS = ("fissile-first-result", "fissile-second-result")
_QUESTION: Message = {"role": "user", "content": "A question."}
_PROBE_MESSAGES: tuple[Message, ...] = (
    {"role": "user", "content": "fissile-first-words"},
    {"role": "user", "content": "fissile-second-words"},
)
_REPLIES = (_PROBE_TEXT, f"<think>\nwhy\n</think>\n\n{_PROBE_TEXT}")
_OWN_OPTIONS = frozenset({"conversation", "tools", "add_generation_prompt", "tokenize"})


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


class ChatFormat:
    """How one tokenizer and one dialect write a conversation.

    Attributes:
        tokenizer: the tokenizer, with its chat template.
        dialect: the tool-call format of the responses.
        template_options: variables of the template, such as {"enable_thinking": False}.
        end_ids: token ids that end a turn; sampling stops at them.
        end_of_turn: the ids that the template closes an assistant turn with, markers only.
        renders_tools: the template writes the tools itself, and calls in this dialect; otherwise the dialect
            writes the tools.
        renders_results: the template has a turn for tool results; otherwise the dialect writes one.
        rewrites_history: the template renders a past assistant turn differently from what was sampled. Nothing
            here depends on it, but a conversation must then never be rendered anew in the middle of an episode.
    """

    def __init__(
        self, tokenizer: Tokenizer, dialect: Dialect, template_options: Mapping[str, Any] | None = None
    ) -> None:
        """Probe the template.

        Args:
            tokenizer: the tokenizer, with its chat template.
            dialect: the tool-call format of the responses.
            template_options: variables of the template, handed to every rendering.

        Raises:
            ModelError: the tokenizer has no chat template, or one that cannot be used, or that does not know an
                option.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "The tokenizer has no chat template. Use an instruction-tuned model, or set 'chat_template' in its "
                "tokenizer_config.json."
            )
        self.tokenizer = tokenizer
        self.dialect = dialect
        self.template_options = _known_options(template_options or {}, str(tokenizer.chat_template))
        template = str(tokenizer.chat_template)  # what it writes may open a turn or a result, special or not
        added = tokenizer.added_tokens_decoder.values()
        markers = (t.content for t in added if t.special or (t.content.strip() and t.content in template))
        self._spelled_markers = _any_of(markers)
        self.renders_tools = _PROBE_TOOL.name in self._probe([_QUESTION], [_PROBE_TOOL]) and self._speaks_dialect()
        self.end_of_turn = self._find_end_of_turn()
        self.end_ids = frozenset([*self.end_of_turn[-1:], *self._other_end_ids()])
        if not self.end_ids:
            raise ModelError("Nothing ends a turn: set the tokenizer's eos_token, or use one whose template does.")
        self._ways = {
            (True, False): self._find_way(_PROBE_RESULTS, ()),
            (True, True): self._find_way(_PROBE_RESULTS, _PROBE_MESSAGES),
            (False, True): self._find_way((), _PROBE_MESSAGES),
        }
        self.renders_results = self._ways[True, False] in NATIVE_WAYS
        self.rewrites_history = any(self._rewrites(reply) for reply in _REPLIES)

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[int, ...]:
        """The ids of a task's messages, its tools and the generation prompt.

        Raises:
            ModelError: the template refuses the messages.
        """
        if not self.renders_tools:
            return self._encode(self._render(self.dialect.instruct(messages, tools)))
        return self._encode(self._render(messages, tools))

    def reply_ids(self, results: Sequence[str], messages: Sequence[Message] = (), *, ended: bool) -> tuple[int, ...]:
        """The ids between an assistant completion and the next one.

        Args:
            results: what the tools answered (or a diagnosis), one text a result. Tokens of the template spelled in
                them are taken apart, so that what a model or a tool wrote cannot open a turn or another result.
            messages: what follows, such as the user's next turn. They come from the task and stay as they are.
            ended: the completion holds its own end-of-turn token (it was not cut by the token limit).

        Returns:
            The end of the assistant turn (less its end-of-turn ids where `ended`), a turn for each result, the
            messages, and the generation prompt. Where the template has no turn for results, the dialect writes
            them; where it refuses several user turns in a row, those are one, with a blank line between.

        Raises:
            ValueError: neither results nor messages.
            ModelError: the template refuses the messages.
        """
        if not results and not messages:
            raise ValueError("A reply needs at least one result or message.")
        plain = [self._taken_apart(text) for text in results]
        turns = self._ways[bool(results), bool(messages)](self.dialect, plain, messages)
        ids = self._encode(self._behind_probe(self._render(self._exchange(_PROBE_TEXT, *turns))))
        closing = len(self.end_of_turn)
        return ids[closing:] if ended and ids[:closing] == self.end_of_turn else ids

    def follow(
        self,
        prompt_ids: Sequence[int],
        sampled: Sequence[int],
        results: Sequence[str],
        messages: Sequence[Message] = (),
    ) -> tuple[int, ...]:
        """The ids of the context after a completion: what was read, what was sampled, then `reply_ids`."""
        ended = bool(sampled) and sampled[-1] in self.end_ids
        return (*prompt_ids, *sampled, *self.reply_ids(results, messages, ended=ended))

    def feedback_ids(self, feedback: str, ended: bool) -> tuple[int, ...]:
        """`reply_ids` of one result, the diagnosis of a failed attempt."""
        return self.reply_ids([feedback], ended=ended)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """The ids of an assistant response as a policy would sample it, its end of turn included."""
        return self._encode(text) + (self.end_of_turn or tuple(self._other_end_ids()[:1]))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a completion up to its first end-of-turn token."""
        length = next((index for index, token in enumerate(ids) if token in self.end_ids), len(ids))
        return str(
            self.tokenizer.decode(list(ids[:length]), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def _speaks_dialect(self) -> bool:
        """False where the template writes calls, and the dialect cannot read them."""
        call = {"role": "assistant", "content": "", "tool_calls": [_PROBE_CALL]}
        rendered = self._probe([_QUESTION, call])
        read = {parsed.name for parsed in self.dialect.parse(rendered).calls}
        return _PROBE_TOOL.name not in rendered or _PROBE_TOOL.name in read

    def _find_way(self, results: Sequence[str], messages: Sequence[Message]) -> Way:
        """The first way in which the template renders all results and messages, in order."""
        texts = [*results, *(message["content"] for message in messages)]
        in_order = re.compile(".*".join(map(re.escape, texts)), re.DOTALL)
        ways = (*NATIVE_WAYS, *DIALECT_WAYS) if self.renders_tools else DIALECT_WAYS
        for way in ways:
            if in_order.search(self._probe(self._exchange(_PROBE_TEXT, *way(self.dialect, results, messages)))):
                return way
        return ways[-1]

    def _taken_apart(self, text: str) -> str:
        """A result that spells no marker, and no half of a character, which no tokenizer encodes."""
        whole = text.encode("utf-8", "replace").decode()
        return self._spelled_markers.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", whole)

    def _find_end_of_turn(self) -> tuple[int, ...]:
        """The ids behind an assistant's content up to the first marker token; empty where there is none."""
        ids = self._encode(self._behind_probe(self._render(self._exchange(_PROBE_TEXT), prompt=False)))
        markers = self.tokenizer.added_tokens_decoder
        return next((ids[: index + 1] for index, token in enumerate(ids) if token in markers), ())

    def _other_end_ids(self) -> list[int]:
        eos, dialects = self.tokenizer.eos_token_id, self.dialect.end_markers
        added = [index for index, token in self.tokenizer.added_tokens_decoder.items() if token.content in dialects]
        return added if eos is None else [eos, *added]

    def _rewrites(self, reply: str) -> bool:
        sampled = self._render([_QUESTION]) + reply
        return not self._probe(self._exchange(reply, _QUESTION)).startswith(sampled)

    def _exchange(self, reply: str, *turns: Message) -> list[Message]:
        return [_QUESTION, {"role": "assistant", "content": reply}, *turns]

    def _behind_probe(self, rendered: str) -> str:
        _, found, behind = rendered.partition(_PROBE_TEXT)
        if not found:
            raise ModelError("The chat template drops the content of assistant messages; it cannot be used.")
        return behind

    def _probe(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()) -> str:
        """The rendering, or "" where the template refuses."""
        try:
            return self._render(messages, tools)
        except ModelError:
            return ""

    def _render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = (), *, prompt: bool = True) -> str:
        schemas = [tool.to_schema() for tool in tools] or None
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages), tools=schemas, add_generation_prompt=prompt, tokenize=False, **self.template_options
                )
            )
        except Exception as error:  # a template is foreign code and raises what it likes
            roles = ", ".join(message["role"] for message in messages)
            raise ModelError(
                f"The chat template cannot render a conversation with the roles {roles}: {error}. Change the task's "
                "messages or the tokenizer's template."
            ) from error

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _known_options(options: Mapping[str, Any], template: str) -> dict[str, Any]:
    """`options`, where the template's text names each of them; it would ignore the others in silence."""
    for name in options:
        if name in _OWN_OPTIONS:
            raise ModelError(f"The template option '{name}' is set for every rendering; leave it out.")
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise ModelError(f"The chat template does not use the option '{name}'. Correct its name, or leave it out.")
    return dict(options)


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, longest first; nothing when there are none."""
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)")
