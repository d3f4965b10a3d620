"""Contexts as the messages of the API, and native calls as a response."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fault_server import completion
from fissile.calls import Attempt, ParseError, ToolCall
from fissile.contexts import Context, Exchange
from fissile.dialects import HermesDialect
from fissile.engines.openai_messages import ChatAnswer, NativeMessages, TextMessages
from fissile.errors import ErrorKind, ToolError
from fissile.tasks import Task, Turn, World
from fissile.tools import Tool

AREA = Tool("shape.area", "Area.", {"type": "object", "properties": {"side": {"type": "integer"}}})
VOLUME = Tool("volume", "Volume.", {"type": "object", "properties": {}})
QUESTION = {"role": "user", "content": "A square of 3?"}
TASK = Task("t", (QUESTION,), (AREA,), ())
CONTEXT = Context(TASK, ())
HERMES = HermesDialect()
RIGHT = '<tool_call>\n{"name": "shape.area", "arguments": {"side": 3}}\n</tool_call>'


def call(side: int) -> ToolCall:
    return ToolCall("shape.area", {"side": side}, "")


BROKEN = ToolCall(None, None, '{"name": "area", "arg', 0, ParseError("cut", 0))
WRONG = (ToolError(ErrorKind.WRONG_VALUE, "no"),)
TALK = (
    Exchange(Attempt(f"So.\n{RIGHT}\n{RIGHT}", (call(3), call(3))), ("9", "9")),
    Exchange(Attempt("9."), (), ({"role": "user", "content": "And now?"},)),
    Exchange(Attempt(RIGHT, (call(4), BROKEN), WRONG), ("one diagnosis of both",)),
    Exchange(Attempt("Nothing.", (), WRONG), ("You must call a tool.",)),
    Exchange(Attempt("I give up.")),
)
TURNS = (Turn(({"role": "user", "content": "And now?"},)), Turn((), revealed=(VOLUME,)))
TALKED = Context(replace(TASK, later=TURNS, world=World("w")), (), TALK)


def test_native_messages_of_a_dialogue() -> None:
    request = NativeMessages().request(TALKED)
    messages = request["messages"]
    assert [message["role"] for message in messages] == [
        *("user", "assistant", "tool", "tool", "assistant", "user"),
        *("assistant", "tool", "tool", "assistant", "user", "assistant", "user"),
    ]
    assert messages[1]["content"] == "So."
    made = [made for message in messages for made in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert [call["id"] for call in made] == answered == [f"call0000{n}" for n in range(4)]
    assert [call["function"]["name"] for call in made] == [*["shape_area"] * 3, "unreadable_call"]
    assert json.loads(made[3]["function"]["arguments"]) == {"text": BROKEN.text}
    assert [messages[at]["content"] for at in (7, 8)] == ["See the answer to the last call.", "one diagnosis of both"]
    assert messages[10]["content"] == "You must call a tool."
    assert [tool["function"]["name"] for tool in request["tools"]] == ["shape_area", "volume"]


def test_tools_are_offered_from_their_turn_on() -> None:
    (tool,) = NativeMessages().request(replace(TALKED, dialogue=TALK[:2]))["tools"]
    assert tool["function"]["name"] == "shape_area"


def test_text_messages_of_a_dialogue() -> None:
    messages = TextMessages(HERMES).request(TALKED)["messages"]
    roles = [message["role"] for message in messages]
    assert roles == ["system", *["user", "assistant"] * 5, "user"]
    assert messages[3]["content"] == "<tool_response>\n9\n</tool_response>\n\n<tool_response>\n9\n</tool_response>"
    assert VOLUME.description in messages[-1]["content"]
    assert VOLUME.name not in messages[0]["content"]


@pytest.mark.parametrize("messages", [NativeMessages(), TextMessages(HERMES)])
def test_a_single_step_context_shows_its_failed_attempts(messages: Any) -> None:
    failed = Exchange(Attempt(RIGHT, (call(3),), WRONG), ("Wrong side.",))
    request = messages.request(Context(TASK, (), (failed,)))
    assert "Wrong side." in request["messages"][-1]["content"]
    assert "shape" in json.dumps(request["messages"][-2])


def test_calls_that_nobody_answered_are_text() -> None:
    context = replace(TALKED, dialogue=(Exchange(Attempt("<tool_call>{", (BROKEN,)), (), TURNS[0].messages),))
    assert NativeMessages().request(context)["messages"][1:] == [
        {"role": "assistant", "content": "<tool_call>{"},
        {"role": "user", "content": "And now?"},
    ]


def test_wire_names_are_unique_and_come_back() -> None:
    names = ("a.b", "a_b", "a/b", "x" * 80, "x" * 81)
    task = replace(TASK, tools=tuple(Tool(name, "", {"type": "object"}) for name in names))
    sent = [tool["function"]["name"] for tool in NativeMessages().request(Context(task, ()))["tools"]]
    assert len(set(sent)) == len(names)
    assert all(len(name) <= 64 for name in sent)
    read = NativeMessages().read(ChatAnswer("", calls=tuple((name, "{}") for name in sent)), Context(task, ()))
    assert tuple(call.name for call in read.parsed.calls) == names


@settings(deadline=None)
@given(
    st.text(), st.lists(st.tuples(st.none() | st.text(), st.none() | st.text() | st.dictionaries(st.text(), st.text())))
)
def test_any_native_calls_are_kept_with_their_place(content: str, calls: list[tuple[Any, Any]]) -> None:
    answer = ChatAnswer.from_json(completion(content, calls))
    response = NativeMessages().read(answer, CONTEXT)
    assert len(response.parsed.calls) == len(calls)
    for (name, arguments), read in zip(calls, response.parsed.calls, strict=True):
        assert response.text[read.position : read.position + len(read.text)] == read.text
        if isinstance(name, str) and isinstance(arguments, dict):
            assert read.arguments == arguments
    NativeMessages().request(
        replace(CONTEXT, dialogue=(Exchange(Attempt(response.text, response.parsed.calls), ("r",)),))
    )


@pytest.mark.parametrize(("end", "cut"), [(None, False), ("stop", False), ("STOP", False), ("model_length", True)])
def test_answers_end_by_themselves_or_by_a_limit(end: str | None, cut: bool) -> None:
    assert ChatAnswer.from_json(completion("Hi.", finish_reason=end)).truncated is cut


@pytest.mark.parametrize("end", ["abort", "insufficient_system_resource", "cancelled", 7])
def test_what_ended_otherwise_is_no_answer(end: Any) -> None:
    with pytest.raises(ValueError, match=f"its choice ended with '{end}'"):
        ChatAnswer.from_json(completion("Hi, and", finish_reason=end))
