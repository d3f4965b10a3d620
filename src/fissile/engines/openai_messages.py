"""Contexts as the messages of OpenAI's chat API, and its answers as responses: with native calls, or as text.

Servers differ in what they accept, and the strictest is served: call ids of nine letters and digits, function names
without dots, arguments that are JSON objects, an answer to every call, never two user messages in a row. Source:
the API reference of chat completions (platform.openai.com/docs/api-reference/chat) and the checks of vLLM and Mistral.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fissile.calls import JSON, ParsedResponse, ParseError, ToolCall, canonical_json
from fissile.contexts import Context, Exchange
from fissile.dialects import HermesDialect
from fissile.dialects.arrangements import Arrangement
from fissile.dialects.base import Dialect
from fissile.dialects.json_calls import RejectedError, decode_call, dump
from fissile.dialects.naming import refuse_unnameable
from fissile.engines.announcements import announced
from fissile.engines.openai_history import wire_history
from fissile.engines.policy import Response
from fissile.rollouts import Completion, StopReason
from fissile.tasks import Task, Turn

_HERMES = HermesDialect()
"""Writes native calls where text is asked for: in records and diagnoses."""

_AS_TEXT = Arrangement("dialect")

UNREADABLE = "unreadable_call"
"""The function that a malformed call is shown to have called, its text the one argument."""

_SEE_LAST = "See the answer to the last call."
_GO_ON = "You have been given more tools. Please go on with them."
_NOTHING = "(no answer)"
_MAX_NAME = 64

WireMessage = dict[str, Any]
"""A message of the API."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The first choice of a chat completion.

    Attributes:
        content: the text.
        reasoning: the text of its own field where the server splits it off.
        calls: name (None where it is no string) and arguments of each native call: JSON text, hopefully.
        truncated: the limit of the response was reached.
        filtered: a content filter cut it.
        provider: fields that are the server's own, as `Exchange.provider` keeps them.
    """

    content: str
    reasoning: str = ""
    calls: tuple[tuple[str | None, str], ...] = ()
    truncated: bool = False
    filtered: bool = False
    provider: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, body: str) -> ChatAnswer:
        """Read a response body.

        Raises:
            ValueError: it is no JSON, or no chat completion.
        """
        try:
            completion = json.loads(body)
            if isinstance(completion, dict) and completion.get("error"):
                raise ValueError("it holds an error")
            if isinstance(completion, dict) and not completion.get("choices"):
                raise ValueError("it holds no choices")
            choice = completion["choices"][0]
            end = choice.get("finish_reason")
            if choice.get("error") or end == "error":
                raise ValueError("its choice holds an error")
            if end == "content_filter":
                return cls("", filtered=True)
            if str(end or "stop").lower() not in _ENDS:
                raise ValueError(f"its choice ended with '{str(end)[:40]}', which is no end of an answer")
            message = choice.get("message")
            if not isinstance(message, dict):
                raise ValueError("its choice holds no message")
            listed = message.get("tool_calls") or _one_call(message.get("function_call"))
            calls = tuple(_native_call(call.get("function") or {}) for call in listed)
            reasoning = message.get("reasoning_content") or message.get("reasoning")
            content = _text(message.get("content")) or _text(message.get("refusal"))
            return cls(
                content, _text(reasoning), calls, str(end).lower() in _CUTS, provider=_provider_fields(message, listed)
            )
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a chat completion, {type(error).__name__}: {error}") from None


_CUTS = frozenset({"length", "max_tokens", "model_length"})
"""Words for an answer that a limit ended."""

_ENDS = _CUTS | {"stop", "tool_calls", "function_call", "tool_use", "end_turn", "eos", "eos_token", "stop_sequence"}
"""Words for an answer that is whole, or that a limit ended; null is one. Any other ("abort") is no answer."""

_OURS = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "audio", "annotations", "name"})
"""Fields of a message that are not the server's own: written anew, or an answer's alone."""


def _provider_fields(message: Mapping[str, JSON], calls: Sequence[Mapping[str, JSON]]) -> dict[str, JSON]:
    """What a server says beyond text and calls, to go back to it as it came; empty fields are no fields.

    Reasoning in the content's own parts, such as a signed thought, is kept with these parts. The id of a call stands
    for what the server remembers of it, and is kept where no other call of the message has it.
    """
    own = {name: value for name, value in message.items() if name not in _OURS and _is_something(value)}
    content = message.get("content")
    if isinstance(content, list) and any(not isinstance(part, dict) or "text" not in part for part in content):
        own["content"] = content
    ids = [call.get("id") for call in calls]
    of_calls = [
        {
            **{name: value for name, value in call.items() if name not in _CALL and _is_something(value)},
            **({"function": inner} if (inner := _own_of_function(call.get("function") or {})) else {}),
            **({"id": own_id} if isinstance(own_id, str) and own_id and ids.count(own_id) == 1 else {}),
        }
        for call, own_id in zip(calls, ids, strict=True)
    ]
    return {**({"message": own} if own else {}), **({"calls": of_calls} if any(of_calls) else {})}


_CALL = frozenset({"id", "type", "function", "index"})
"""Fields of a call that are not the server's own."""


def _own_of_function(function: Mapping[str, JSON]) -> dict[str, JSON]:
    known = ("name", "arguments")
    return {name: value for name, value in function.items() if name not in known and _is_something(value)}


def _is_something(value: JSON) -> bool:
    return value is not None and value not in ("", [], {})


def provider_names(request: Mapping[str, JSON]) -> set[str]:
    """Names of the server's own fields that the messages of a request hold."""
    messages = [message for message in request.get("messages", ()) if message["role"] == "assistant"]
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    return {name for message in messages for name in message if name not in _OURS} | {
        name for call in calls for name in call if name not in _CALL
    }


def _one_call(function: JSON) -> tuple[dict[str, JSON], ...]:
    """The call in the field that older servers have for it."""
    return ({"function": function},) if isinstance(function, dict) else ()


def _native_call(function: dict[str, JSON]) -> tuple[str | None, str]:
    """Name and arguments. Some servers send arguments as an object instead of its text, or none."""
    name, arguments = function.get("name"), function.get("arguments")
    text = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
    return name if isinstance(name, str) else None, text


def _text(content: JSON) -> str:
    """The text of a content field: a string, or a list of parts of which those with a text count."""
    match content:
        case str():
            return content
        case list():
            return "".join(
                part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        case _:
            return ""


@dataclass(frozen=True)
class TextMessages:
    """Tools, calls and results as text of a dialect.

    Attributes:
        dialect: the tool-call format.
    """

    dialect: Dialect

    def request(self, context: Context) -> dict[str, JSON]:
        """The messages of a request."""
        task = context.task
        refuse_unnameable(self.dialect, task.tools)
        messages: list[WireMessage] = _AS_TEXT(self.dialect, self.dialect.instruct(task.messages, task.tools))
        for exchange, following in _with_turns(context):
            messages.append(self._said(exchange))
            messages += [self.dialect.render_result(result) for result in exchange.results]
            messages += announced(following, self.dialect)
        return {"messages": _joined(messages)}

    def _said(self, exchange: Exchange) -> WireMessage:
        """What the policy said, with the server's own fields: its content's own parts, too, where no call is text."""
        return {"role": "assistant", "content": exchange.text or _NOTHING, **exchange.provider.get("message", {})}

    def read(self, answer: ChatAnswer, context: Context) -> Response:
        """The answer's content, read as the dialect reads it."""
        parsed = self.dialect.parse(answer.content, context.offered)
        return _response(answer.content, replace(parsed, reasoning=answer.reasoning or parsed.reasoning), answer)


@dataclass(frozen=True)
class NativeMessages:
    """Tools, calls and results in the fields that the API has for them."""

    def request(self, context: Context) -> dict[str, JSON]:
        """The messages and tools of a request."""
        names = _wire_names(context.task.at_turn(context.turn))
        messages: list[WireMessage] = list(wire_history(context.task.messages, names, _wire_name))
        made = 0
        for exchange, following in _with_turns(context):
            messages += _native_exchange(exchange, names, made)
            messages += following.messages or ([{"role": "user", "content": _GO_ON}] if following.revealed else [])
            made += len(exchange.calls)
        schemas = [tool.to_schema()["function"] for tool in context.task.at_turn(context.turn).tools]
        tools = [{"type": "function", "function": {**schema, "name": names[schema["name"]]}} for schema in schemas]
        return {"messages": _joined(messages)} | ({"tools": tools} if tools else {})

    def read(self, answer: ChatAnswer, context: Context) -> Response:
        """The native calls, and behind the content their text in the Hermes format. Calls inside the content are text.

        Arguments are read within Hermes' limits; those that cannot be read leave a malformed call. No arguments at all
        mean an empty object.
        """
        offered = {wire: name for name, wire in _wire_names(context.task.at_turn(context.turn)).items()}
        text = answer.content
        calls = []
        for name, arguments in answer.calls:
            call = _read_call(name and offered.get(name, name), arguments)
            written = _HERMES.render_calls([call])
            text = f"{text}\n" if text else text
            start = len(text) + written.index(call.text)
            error = call.parse_error and replace(call.parse_error, position=call.parse_error.position + start)
            calls.append(replace(call, position=start, parse_error=error))
            text += written
        return _response(text, ParsedResponse(tuple(calls), answer.content.strip(), answer.reasoning.strip()), answer)


def _response(text: str, parsed: ParsedResponse, answer: ChatAnswer) -> Response:
    stop = StopReason.LENGTH if answer.truncated else StopReason.END
    return Response(text, parsed, Completion((), stop=stop), provider=answer.provider)


def _read_call(name: str | None, arguments: str) -> ToolCall:
    """A call with `text` as Hermes writes it, and the place of a parse error inside that text."""
    body = dump({"name": name, "arguments": arguments})
    try:
        read, values = decode_call(body)
    except RejectedError as rejected:
        return ToolCall(None, None, body, 0, ParseError(rejected.reason, rejected.position))
    return ToolCall(read, values, dump({"name": read, "arguments": values}))


def _native_exchange(exchange: Exchange, names: dict[str, str], made: int) -> Iterator[WireMessage]:
    """The assistant's message with its calls and one answer to each.

    Calls that nobody answered, and answers that belong to no call, are text.
    """
    own = exchange.provider.get("message", {})
    if not exchange.calls or not exchange.results:
        yield {"role": "assistant", "content": exchange.text or _NOTHING, **own}
        for result in exchange.results:
            yield {"role": "user", "content": result}
        return
    of_calls = exchange.provider.get("calls", ())
    if len(of_calls) != len(exchange.calls):
        of_calls = ({},) * len(exchange.calls)
    calls = [
        _with_own(_wire_call(call, f"call{made + index:05d}", names), of_call)
        for index, (call, of_call) in enumerate(zip(exchange.calls, of_calls, strict=True))
    ]
    yield {"role": "assistant", "content": _HERMES.parse(exchange.text).content, **own, "tool_calls": calls}
    for call, result in zip(calls, _one_result_a_call(exchange), strict=True):
        yield {"role": "tool", "tool_call_id": call["id"], "content": result}


def _one_result_a_call(exchange: Exchange) -> Sequence[str]:
    """The results; what answers the response as a whole answers its last call."""
    if len(exchange.results) == len(exchange.calls):
        return exchange.results
    return (*[_SEE_LAST] * (len(exchange.calls) - 1), "\n".join(exchange.results))


def _wire_call(call: ToolCall, identifier: str, names: dict[str, str]) -> dict[str, JSON]:
    if call.is_well_formed and call.name:
        function = {"name": names.get(call.name) or _wire_name(call.name), "arguments": canonical_json(call.arguments)}
    else:
        function = {"name": UNREADABLE, "arguments": canonical_json({"text": call.text})}
    return {"id": identifier, "type": "function", "function": function}


def _with_own(call: dict[str, JSON], own: Mapping[str, JSON]) -> dict[str, JSON]:
    """A call with the server's own fields, its id among them."""
    return {**call, **own, "function": {**call["function"], **own.get("function", {})}}


def _with_turns(context: Context) -> Iterator[tuple[Exchange, Turn]]:
    """Each exchange with what the user says and reveals after it: an empty turn where none ended."""
    turns = context.task.turns
    turn = 0
    for exchange in context.dialogue:
        following = Turn(exchange.messages)
        if exchange.ends_turn:
            turn += 1
            following = replace(following, revealed=turns[turn].revealed if turn < len(turns) else ())
        yield exchange, following


def _joined(messages: Iterable[WireMessage]) -> list[WireMessage]:
    """Messages of the API's roles, user messages in a row in one; a tool's answer without a call is the user's."""
    joined: list[WireMessage] = []
    for message in messages:
        role = message["role"]
        if role not in ("system", "assistant") and "tool_call_id" not in message:
            role = "user"
        if role == "user" and joined and joined[-1]["role"] == "user":
            joined[-1] = {"role": "user", "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append({**message, "role": role})
    return joined


def known_names(context: Context) -> set[str]:
    """The tools that may be called at this point, by their own names and by those that servers accept."""
    names = _wire_names(context.task.at_turn(context.turn))
    return {*names, *names.values()}


def _wire_names(task: Task) -> dict[str, str]:
    """Name of each offered tool to the name that servers accept, which is as unique."""
    names: dict[str, str] = {}
    taken = {tool.name for tool in task.tools if _wire_name(tool.name) == tool.name}
    for tool in task.tools:
        wire = _wire_name(tool.name)
        count = 2
        while wire != tool.name and wire in taken:
            wire = f"{_wire_name(tool.name)[: _MAX_NAME - 4]}_{count}"
            count += 1
        taken.add(wire)
        names[tool.name] = wire
    return names


def _wire_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_MAX_NAME] or "_"
