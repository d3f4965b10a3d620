"""Messages as people's data holds them, read into one form.

Read are OpenAI's (contents that are null or parts, `tool_calls`, `function_call`, the roles "developer" and
"function"), ShareGPT's (`from` and `value`), what columnar storage makes of them, and what `fissile.tasks.items` knows.
What comes out is text and, beside it, calls: how those are written into a prompt is the dialect's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.items import as_messages
from fissile.tasks.nulls import decoded, read_json, without_null_keys
from fissile.tasks.task import Message

ROLES = ("system", "user", "assistant", "tool")
"""The roles of a task's messages."""

_OTHER_NAMES = {
    **{"developer": "system", "human": "user"},
    **dict.fromkeys(("gpt", "chatgpt", "model", "function_call"), "assistant"),
    **dict.fromkeys(("function", "observation", "ipython"), "tool"),
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_READ = frozenset({"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id", "name"})

Remarks = Counter[str]
"""What was left out or taken as a guess, to how often: each is said once."""


Settle = Callable[[str, dict[str, JSON]], dict[str, JSON]]
"""(tool, arguments that are an object) to the arguments that are meant; see `fissile.tasks.nulls`."""


def read_messages(
    entries: Sequence[JSON], remarks: Remarks, settle: Settle = lambda tool, arguments: arguments
) -> tuple[Message, ...]:
    """The messages of a row: text, calls with their arguments as JSON text, and results in the order of their calls.

    `remarks` counts what of them is left out, and `settle` decides about nulls in earlier calls.

    Raises:
        DataError: a message that cannot be read; it says which, and what to change.
    """
    messages = []
    for place, entry in as_messages(entries, remarks):
        try:
            messages.append(_message(entry, remarks, settle))
        except DataError as error:
            raise DataError(f"messages[{place}]: {error}") from None
    return tuple(_in_order_of_calls(messages))


def require_open_end(messages: Sequence[Message]) -> None:
    """Refuse messages that leave the model nothing to answer. Raises DataError: the assistant has the last word."""
    if messages and messages[-1]["role"] == "assistant":
        raise DataError(
            "the last message is the assistant's, so nothing is left to be answered; move its calls to 'ground_truth', "
            "or leave it out"
        )


def call_of(entry: JSON) -> tuple[str, JSON]:
    """Name and arguments, not read yet, of a call: flat, or inside {"type": "function", "function": ...}.

    Raises:
        DataError: it has no name.
    """
    call = without_null_keys(entry) if isinstance(entry, dict) else {}
    inner = call.get("function", call)
    call = without_null_keys(inner) if isinstance(inner, dict) else {}
    if not isinstance(call.get("name"), str):
        raise DataError("a call must be an object with a 'name' and 'arguments'")
    return call["name"], call.get("arguments")


def read_arguments(name: str, arguments: JSON) -> dict[str, JSON]:
    """The arguments of a call: an object or its JSON text. None at all, null and "" are {}.

    Raises:
        DataError: they are neither.
    """
    if isinstance(arguments, str):
        arguments = read_json(arguments, "arguments") if arguments.strip() else None
    if arguments is None or arguments == "":
        return {}
    if not isinstance(arguments, dict):
        raise DataError(f"the 'arguments' of '{name}' must be an object, not {type(arguments).__name__}")
    return arguments


def _message(entry: JSON, remarks: Remarks, settle: Settle) -> Message:
    if not isinstance(entry, dict):
        raise DataError("a message must be an object with a 'role' and a text 'content'")
    entry = without_null_keys(entry)
    given = entry.get("role", entry.get("from"))
    role = _OTHER_NAMES.get(given, given) if isinstance(given, str) else None
    if role not in ROLES:
        raise DataError(f"a message has the role {given!r}; choose among {', '.join((*ROLES, *_OTHER_NAMES))}")
    for key in entry.keys() - _READ:
        remarks[f"'{key}' of messages is left out: the model reads text, calls and results alone"] += 1
    content = entry.get("content", entry.get("value"))
    calls = _calls(entry, content if given == "function_call" else None, settle)
    text = "" if given == "function_call" else _text(content, role)
    if calls and role != "assistant":
        raise DataError(f"a message of the role '{given}' has 'tool_calls'; only the assistant calls")
    if not text.strip() and not calls and role in ("user", "assistant"):
        raise DataError(
            f"the message of the role '{given}' is empty: it needs a 'role' and a text 'content'"
            + (", or 'tool_calls'" if role == "assistant" else "")
        )
    read: Message = {"role": role, "content": text}
    if calls:
        read["tool_calls"] = calls
    if role == "tool":
        read |= {key: str(entry[key]) for key in ("tool_call_id", "name") if key in entry}
    return read


def _text(content: JSON, role: str) -> str:
    """The text of a content: itself, that of its parts below each other, or a result as JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    if parts and all(isinstance(part, str) or (isinstance(part, dict) and "type" in part) for part in parts):
        return "\n".join(_part(part) for part in parts)
    if role == "tool":
        return json.dumps(content, ensure_ascii=False)
    if content == []:
        return ""
    raise DataError(f"a message needs a 'role' and a text 'content', which is of type {type(content).__name__} here")


def _part(part: JSON) -> str:
    if isinstance(part, str):
        return part
    if part["type"] not in _TEXT_PARTS or not isinstance(part.get("text"), str):
        raise DataError(
            f"its content has a part of the type {part['type']!r}; the policy reads text alone, so write it as a "
            "{'type': 'text', 'text': ...}, or leave the task out"
        )
    return str(part["text"])


def _calls(entry: dict[str, JSON], spoken: JSON, settle: Settle) -> list[JSON]:
    """The calls of an assistant's message in OpenAI's form, their arguments as JSON text."""
    calls = entry.get("tool_calls") or []
    if not isinstance(calls, list):
        raise DataError(f"'tool_calls' must be a list, not {type(calls).__name__}")
    listed = [*calls, *([entry["function_call"]] if "function_call" in entry else [])]
    if spoken is not None:
        listed.append(decoded(spoken) or spoken)
    read = []
    for call in listed:
        name, given = call_of(call)
        arguments = read_arguments(name, given)
        settled = settle(name, arguments) if isinstance(given, dict) else arguments
        identifier = {"id": str(call["id"])} if isinstance(call, dict) and call.get("id") is not None else {}
        function = {"name": name, "arguments": json.dumps(settled, ensure_ascii=False)}
        read.append({**identifier, "type": "function", "function": function})
    return read


def _in_order_of_calls(messages: Iterable[Message]) -> Iterator[Message]:
    """Results behind a message with calls in the order of those, by their ids; a dialect writes no ids."""
    order: dict[str, int] = {}
    for are_results, group in groupby(messages, key=lambda message: bool(message["role"] == "tool")):
        run = list(group)
        if are_results and order:
            answered = [message.get("tool_call_id") for message in run]
            strange = next((name for name in answered if name is not None and name not in order), None)
            if strange is not None:
                raise DataError(f"a result answers the call '{strange}', which the message before it does not make")
            if unanswered := next((name for name in order if None not in answered and name not in answered), None):
                raise DataError(
                    f"the call '{unanswered}' has no result, though others of its message have; add it, or leave the "
                    "call out"
                )
            run.sort(key=lambda message: order.get(message.get("tool_call_id", ""), len(order)))
        order = {call["id"]: place for place, call in enumerate(run[-1].get("tool_calls", ())) if "id" in call}
        yield from run
