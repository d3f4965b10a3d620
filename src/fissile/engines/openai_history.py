"""What a task's own messages hold of earlier calls, as messages of OpenAI's chat API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from fissile.dialects import HermesDialect
from fissile.dialects.arrangements import calls_of, with_calls
from fissile.tasks import Message

_HERMES = HermesDialect()


def wire_history(
    messages: Sequence[Message], names: Mapping[str, str], rename: Callable[[str], str]
) -> Iterator[dict[str, Any]]:
    """The messages, calls with ids of nine letters and digits, each with its result.

    Calls that were not all answered, and results of calls that are not there, are text.

    Args:
        messages: of a task.
        names: of each offered tool to its name for the server.
        rename: a name that is not offered to one that servers accept.
    """
    made, place = 0, 0
    while place < len(messages):
        message = messages[place]
        calls = calls_of(message)
        results = list(takewhile(lambda behind: behind["role"] == "tool", messages[place + 1 :]))
        place += 1
        if not calls or len(results) != len(calls):
            yield {"role": message["role"], "content": with_calls(message, _HERMES)}
            continue
        ids = [f"past{made + index:05d}" for index in range(len(calls))]
        functions = [call["function"] for call in message["tool_calls"]]
        yield {
            "role": "assistant",
            "content": message["content"],
            "tool_calls": [
                {
                    "id": identifier,
                    "type": "function",
                    "function": {**function, "name": names.get(function["name"]) or rename(function["name"])},
                }
                for identifier, function in zip(ids, functions, strict=True)
            ],
        }
        for identifier, result in zip(ids, results, strict=True):
            yield {"role": "tool", "tool_call_id": identifier, "content": result["content"]}
        made += len(calls)
        place += len(results)
