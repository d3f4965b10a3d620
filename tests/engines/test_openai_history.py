"""Earlier calls of a task's messages, at an endpoint."""

import json
from dataclasses import replace

from fissile.contexts import Context
from fissile.dialects import get_dialect
from fissile.engines.openai_messages import NativeMessages, TextMessages
from fissile.tasks import tasks_from_rows
from fissile.tools import Tool

CALLS = [
    {"id": name, "function": {"name": "geo.area", "arguments": {"side": side}}} for name, side in (("a", 2), ("b", 3))
]
TOOL = {"name": "geo.area", "parameters": {"type": "object", "properties": {"side": {"type": "integer"}}}}
HISTORY = [
    {"role": "user", "content": "Two squares."},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "b", "content": "9"},
    {"role": "tool", "tool_call_id": "a", "content": "4"},
    {"role": "user", "content": "And one of 5?"},
]


def task(messages):
    row = {"messages": messages, "tools": [TOOL], "ground_truth": [{"name": "geo.area", "arguments": {"side": 5}}]}
    return tasks_from_rows([row])[0]


def test_native_messages_hold_them_as_servers_want_them():
    messages = NativeMessages().request(Context(task(HISTORY), ()))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    first, second = messages[1]["tool_calls"]
    assert (first["function"]["name"], json.loads(first["function"]["arguments"])) == ("geo_area", {"side": 2})
    assert [message["tool_call_id"] for message in messages[2:4]] == [first["id"], second["id"]]
    assert [message["content"] for message in messages[2:4]] == ["4", "9"]
    assert all(len(call["id"]) == 9 and call["id"].isalnum() for call in (first, second))


def test_calls_without_their_results_are_text():
    messages = NativeMessages().request(Context(task([*HISTORY[:2], HISTORY[4]]), ()))["messages"]
    assert "tool_calls" not in messages[1]
    assert '"side": 2' in messages[1]["content"]


def test_text_messages_hold_them_in_the_dialect():
    for name in ("hermes", "python"):
        dialect = get_dialect(name)
        messages = TextMessages(dialect).request(Context(task(HISTORY), ()))["messages"]
        assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
        assert [call.arguments for call in dialect.parse(messages[2]["content"]).calls] == [{"side": 2}, {"side": 3}]
        assert messages[3]["content"].index("4") < messages[3]["content"].index("9")


def test_a_tool_that_the_dialect_cannot_call_is_refused():
    import pytest

    from fissile.errors import DataError

    named = replace(task(HISTORY), tools=(Tool("3d", "", TOOL["parameters"]),), ground_truth=())
    with pytest.raises(DataError, match="'3d' cannot be called in the dialect 'python'"):
        TextMessages(get_dialect("python")).request(Context(named, ()))
