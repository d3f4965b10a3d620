"""`ChatFormat`: messages and tools to token ids, token in and token out.

A conversation only ever grows at its end: the ids of the prompt, the ids that the policy sampled, the ids of the
turns that answer it. Chat templates are asked once for each new piece and never to render a past that already
exists as tokens, since many would rewrite it (drop reasoning, trim white space, move tools).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fissile.dialects.arrangements import BY_DIALECT, NATIVE, Arrangement
from fissile.dialects.base import Dialect
from fissile.dialects.naming import refuse_unnameable
from fissile.dialects.templates import (
    MEND,
    PROBE_TEXT,
    PROBE_TOOL,
    QUESTION,
    Template,
    Tokenizer,
    roles_of,
    templates_of,
)
from fissile.errors import ModelError
from fissile.tasks import Message
from fissile.tools import Tool

__all__ = ["ChatFormat", "Tokenizer"]

_PROBE_CALL = {"id": "000000000", "type": "function", "function": {"name": PROBE_TOOL.name, "arguments": {"a": 1}}}
_PROBE_SHAPES = (("user",), ("system", "user"))
_REPLIES = (PROBE_TEXT, f"<think>\nwhy\n</think>\n\n{PROBE_TEXT}")


class _Opening(NamedTuple):
    """How a prompt is put: who writes the tools, and how the messages are arranged."""

    native: bool
    arrangement: Arrangement


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
        template: the chat template, one of several where the tokenizer has "tool_use" and "default".
        rewrites_history: the template renders a past assistant turn differently from what was sampled. Nothing
            here depends on it, but a conversation must then never be rendered anew in the middle of an episode.
    """

    def __init__(
        self, tokenizer: Tokenizer, dialect: Dialect, template_options: Mapping[str, Any] | None = None
    ) -> None:
        """Probe the template.

        Raises:
            ModelError: the tokenizer has no chat template, or one that does not know an option, or that cannot show
                what every task has: the user's words, a system message and tools, the assistant's words, results.
        """
        self.tokenizer = tokenizer
        self.dialect = dialect
        self._openings: dict[tuple[tuple[str, ...], bool], _Opening] = {}
        self._replies: dict[tuple[int, tuple[str, ...]], Arrangement] = {}
        self._named: set[tuple[str, tuple[str, ...]]] = set()
        self.template, self.renders_tools = self._choose(template_options or {})
        self.template_options = self.template.options
        text = self.template.text  # what it writes may open a turn or a result, special or not
        added = tokenizer.added_tokens_decoder.values()
        markers = (t.content for t in added if t.special or (t.content.strip() and t.content in text))
        self._spelled_markers = _any_of(markers)
        self.end_of_turn = self._find_end_of_turn()
        self.end_ids = frozenset([*self.end_of_turn[-1:], *self._other_end_ids()])
        if not self.end_ids:
            raise ModelError("Nothing ends a turn: set the tokenizer's eos_token, or use one whose template does.")
        for roles in _PROBE_SHAPES:
            self._opening(roles, with_tools=True)
        self.renders_results = self._reply(2, ()) in NATIVE
        for results in (0, 2):
            self._reply(results, ("user", "user"))
        self.rewrites_history = any(self._rewrites(reply) for reply in _REPLIES)

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[int, ...]:
        """The ids of a task's messages, its tools and the generation prompt.

        Earlier calls are written by the dialect. What the template cannot show where it stands is put where it can:
        tools and the system's words into the user's first turn.

        Raises:
            DataError: a tool that the dialect cannot call.
            ModelError: the template cannot show such a conversation in any way.
        """
        self._require_callable(tools)
        native, arrangement = self._opening(tuple(message["role"] for message in messages), bool(tools))
        if native:
            return self._encode(self.template.render(arrangement(self.dialect, messages), tools))
        return self._encode(self.template.render(arrangement(self.dialect, self.dialect.instruct(messages, tools))))

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
        said: list[Message] = [*({"role": "tool", "content": text} for text in plain), *messages]
        turns = self._reply(len(plain), tuple(message["role"] for message in messages))(self.dialect, said)
        ids = self._encode(self.template.behind_probe(self.template.render(self._exchange(PROBE_TEXT, *turns))))
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

    # --- probes ----------------------------------------------------------------------------------------------------

    def _choose(self, options: Mapping[str, Any]) -> tuple[Template, bool]:
        """The template, and whether it writes tools and calls in this dialect; "tool_use" only where it does."""
        found = templates_of(self.tokenizer)
        for last, text in enumerate(found.values(), 1 - len(found)):
            template = Template(self.tokenizer, text, options)
            native = self._writes_tools(template) and self._speaks_dialect(template)
            if native or not last:
                break
        return template, native

    def _writes_tools(self, template: Template) -> bool:
        """Whether the template shows tools, with and without a system message."""
        return all(
            any(not self._hidden(template, _Opening(True, way), roles, True) for way in NATIVE)
            for roles in _PROBE_SHAPES
        )

    def _speaks_dialect(self, template: Template) -> bool:
        """False where the template writes calls, and the dialect cannot read them."""
        call = {"role": "assistant", "content": "", "tool_calls": [_PROBE_CALL]}
        rendered = template.probe([QUESTION, call])
        read = {parsed.name for parsed in self.dialect.parse(rendered).calls}
        return PROBE_TOOL.name not in rendered or PROBE_TOOL.name in read

    def _opening(self, roles: tuple[str, ...], with_tools: bool) -> _Opening:
        """The first way in which the template shows a conversation of these roles, and the tools; found once.

        Raises:
            ModelError: there is none.
        """
        if (roles, with_tools) not in self._openings:
            native = [_Opening(True, way) for way in NATIVE] if self.renders_tools else []
            openings = [*native, *(_Opening(False, way) for way in BY_DIALECT)]
            hidden = [self._hidden(self.template, opening, roles, with_tools) for opening in openings]
            if all(hidden):
                raise ModelError(
                    f"The tokenizer's chat template cannot show a conversation with the roles {', '.join(roles)}"
                    f"{' and tools' if with_tools else ''}, whatever is tried: it {hidden[0]}. {MEND}"
                )
            self._openings[roles, with_tools] = openings[hidden.index("")]
        return self._openings[roles, with_tools]

    def _hidden(self, template: Template, opening: _Opening, roles: Sequence[str], with_tools: bool) -> str:
        """What the template does not show of such a prompt: a clause; "" where it shows all."""
        messages = [_probe_message(role, place) for place, role in enumerate(roles)]
        shown = {message["content"]: f"what '{message['role']}' says" for message in messages}
        if with_tools:
            shown |= {PROBE_TOOL.name: "the tools", next(iter(PROBE_TOOL.properties)): "the tools' arguments"}
        tools = [PROBE_TOOL] if with_tools else []
        instructed = messages if opening.native else self.dialect.instruct(messages, tools)
        turns = opening.arrangement(self.dialect, instructed)
        given = tools if opening.native else []
        rendered = template.probe(turns, given)
        missing = next((name for text, name in shown.items() if text not in rendered), "")
        return template.trouble(turns, missing, given) if missing else ""

    def _reply(self, results: int, roles: tuple[str, ...]) -> Arrangement:
        """The first arrangement under which the template shows all results and messages behind an answer, in order.

        Raises:
            ModelError: there is none.
        """
        roles = ("user", "user") if set(roles) == {"user"} else roles
        results = min(results, 2) and 2
        if (results, roles) not in self._replies:
            probes = [_probe_message(role, place) for place, role in enumerate(("tool",) * results + roles)]
            words = [PROBE_TEXT, *(probe["content"] for probe in probes)]
            in_order = re.compile(".*".join(map(re.escape, words)), re.DOTALL)
            ways = (*NATIVE, *BY_DIALECT) if self.renders_tools else BY_DIALECT
            tried = [self._exchange(PROBE_TEXT, *way(self.dialect, probes)) for way in ways]
            shown = [bool(in_order.search(self.template.probe(turns))) for turns in tried]
            if not any(shown):
                raise ModelError(
                    f"The tokenizer's chat template cannot go on behind an answer with {roles_of(probes)}, whatever is "
                    f"tried: it {self.template.trouble(tried[-1], 'part of it')}. {MEND}"
                )
            self._replies[results, roles] = ways[shown.index(True)]
        return self._replies[results, roles]

    def _require_callable(self, tools: Sequence[Tool]) -> None:
        """Refuse tools that the dialect cannot call; each is looked at once."""
        from fissile.dialects import DIALECTS  # noqa: PLC0415  (they are made from this package)

        new = [tool for tool in tools if (tool.name, tuple(tool.properties)) not in self._named]
        refuse_unnameable(self.dialect, new, DIALECTS.values())
        self._named.update((tool.name, tuple(tool.properties)) for tool in new)

    def _taken_apart(self, text: str) -> str:
        """A result that spells no marker, and no half of a character, which no tokenizer encodes."""
        whole = text.encode("utf-8", "replace").decode()
        return self._spelled_markers.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", whole)

    def _find_end_of_turn(self) -> tuple[int, ...]:
        """The ids behind an assistant's content up to the first marker token; empty where there is none."""
        rendered = self.template.render(self._exchange(PROBE_TEXT), prompt=False)
        ids = self._encode(self.template.behind_probe(rendered))
        markers = self.tokenizer.added_tokens_decoder
        return next((ids[: index + 1] for index, token in enumerate(ids) if token in markers), ())

    def _other_end_ids(self) -> list[int]:
        eos, dialects = self.tokenizer.eos_token_id, self.dialect.end_markers
        added = [index for index, token in self.tokenizer.added_tokens_decoder.items() if token.content in dialects]
        return added if eos is None else [eos, *added]

    def _rewrites(self, reply: str) -> bool:
        sampled = self.template.render([QUESTION]) + reply
        return not self.template.probe(self._exchange(reply, QUESTION)).startswith(sampled)

    def _exchange(self, reply: str, *turns: Message) -> list[Message]:
        return [QUESTION, {"role": "assistant", "content": reply}, *turns]

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _probe_message(role: str, place: int) -> Message:
    """A message with words of its own."""
    return {"role": role, "content": f"fissile-{place}-words"}


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the texts, longest first; nothing when there are none."""
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)")
