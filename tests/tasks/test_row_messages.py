"""Messages as people's data holds them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fissile.errors import DataError
from fissile.tasks import Task, said, tasks_from_rows
from fissile.tasks.messages import Remarks, read_messages

TOOL = {"name": "area", "parameters": {"type": "object", "properties": {"side": {"type": "integer"}}}}
USER = {"role": "user", "content": "How large?"}
OPENAI = {"id": "c1", "type": "function", "function": {"name": "area", "arguments": '{"side": 2}'}}
READ = {"type": "function", "function": {"name": "area", "arguments": '{"side": 2}'}}


def read(*messages: Any) -> list[dict[str, Any]]:
    return list(read_messages(messages, Remarks()))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"from": "human", "value": "Hi"}, {"role": "user", "content": "Hi"}),
        ({"from": "gpt", "value": "Hi"}, {"role": "assistant", "content": "Hi"}),
        ({"from": "system", "value": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "function", "name": "area", "content": "4"}, {"role": "tool", "name": "area", "content": "4"}),
        ({"from": "observation", "value": "4"}, {"role": "tool", "content": "4"}),
        ({"role": "tool", "content": None}, {"role": "tool", "content": ""}),
        ({"role": "tool", "content": {"m²": 4}}, {"role": "tool", "content": '{"m²": 4}'}),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "user", "content": "Hi"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "input_text", "text": "Two."}]},
            {"role": "user", "content": "One.\nTwo."},
        ),
        ({"role": "user", "content": ["One.", "Two."]}, {"role": "user", "content": "One.\nTwo."}),
        ({"role": "system", "content": ""}, {"role": "system", "content": ""}),
    ],
)
def test_contents_and_roles_are_read(given: Any, meant: Any) -> None:
    assert read(given) == [meant]


@pytest.mark.parametrize(
    "given",
    [
        {"role": "assistant", "content": None, "tool_calls": [OPENAI]},
        {"role": "assistant", "tool_calls": [OPENAI]},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "area", "arguments": {"side": 2}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "area", "arguments": {"side": 2}}}],
        },
        {"role": "assistant", "content": None, "function_call": {"name": "area", "arguments": '{"side": 2}'}},
        {"from": "function_call", "value": '{"name": "area", "arguments": {"side": 2}}'},
        {"role": "assistant", "content": [], "tool_calls": [OPENAI], "refusal": None, "audio": None},
    ],
)
def test_calls_are_read_in_every_spelling(given: Any) -> None:
    (message,) = read(given)
    assert message["content"] == ""
    (call,) = message["tool_calls"]
    assert {key: value for key, value in call.items() if key != "id"} == READ


@pytest.mark.parametrize("arguments", [None, "", "  ", {}, "{}", "null", "absent"])
def test_no_arguments_are_none_in_every_spelling(arguments: Any) -> None:
    function = {"name": "area"} | ({} if arguments == "absent" else {"arguments": arguments})
    (message,) = read({"role": "assistant", "content": None, "tool_calls": [{"function": function}]})
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"
    (task,) = tasks_from_rows([{"messages": [USER], "tools": [TOOL], "ground_truth": [function]}])
    assert task.ground_truth[0].arguments == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "a part of the type 'image_url'"),  # noqa: E501
        ({"role": "user", "content": [{"type": "input_audio"}]}, "a part of the type 'input_audio'"),
        ({"role": "user", "content": [{"type": "tool_use", "name": "f"}]}, "only the assistant calls"),
        ({"role": "user", "content": ""}, "the message of the role 'user' is empty"),
        ({"role": "user", "content": None}, "the message of the role 'user' is empty"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "or 'tool_calls'"),
        ({"role": "user", "content": {"text": "Hi"}}, "which is of type dict here"),
        ({"role": "user", "content": 3}, "which is of type int here"),
        ({"role": "user", "content": "x", "tool_calls": [OPENAI]}, "only the assistant calls"),
        ({"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "is not JSON"),  # noqa: E501
        ({"role": "assistant", "content": None, "tool_calls": "f()"}, "'tool_calls' must be a list, not str"),
        ({"from": "bot", "value": "Hi"}, "has the role 'bot'; choose among system, user"),
        ("Hi", "a message must be an object"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(given: Any, says: str) -> None:
    with pytest.raises(DataError, match=r"messages\[1\]: ") as caught:
        read(USER, given)
    assert says in str(caught.value)


def test_results_follow_the_order_of_their_calls() -> None:
    two = [{**OPENAI, "id": name} for name in ("a", "b")]
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ("b", "a")]
    messages = read(USER, {"role": "assistant", "content": None, "tool_calls": two}, *results, USER)
    assert [message["content"] for message in messages] == ["How large?", "", "a", "b", "How large?"]
    with pytest.raises(DataError, match="answers the call 'c', which the message before it does not make"):
        read(USER, {"role": "assistant", "content": None, "tool_calls": two}, {**results[0], "tool_call_id": "c"})


def test_what_is_left_out_of_a_message_is_counted() -> None:
    remarks = Remarks()
    read_messages([{**USER, "weight": 0}, {"role": "assistant", "content": "x", "reasoning_content": "y"}], remarks)
    assert [(text.partition(" ")[0], count) for text, count in remarks.items()] == [
        ("'weight'", 1),
        ("'reasoning_content'", 1),
    ]


# --- where the truth stands ---

CALLING = {"role": "assistant", "content": None, "tool_calls": [OPENAI]}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, CALLING]},
        {"messages": [USER], "completion": [CALLING]},
        {"prompt": [USER], "completion": [CALLING]},
        {"prompt": "How large?", "completion": [CALLING]},
        {"prompt": json.dumps([USER]), "ground_truth": [OPENAI]},
        {"conversations": [{"from": "human", "value": "How large?"}], "ground_truth": [OPENAI]},
        {"conversations": [{"from": "human", "value": "How large?"}, {"from": "function_call", "value": json.dumps({"name": "area", "arguments": {"side": 2}})}]},  # noqa: E501
    ],
)  # fmt: skip
def test_the_truth_is_found_where_people_keep_it(row: dict[str, Any]) -> None:
    (task,) = tasks_from_rows([{"tools": [TOOL], **row}])
    assert task.messages == (USER,)
    assert [(call.name, call.arguments) for call in task.ground_truth] == [("area", {"side": [2]})]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": [USER, CALLING], "ground_truth": [OPENAI]}, "the last message is the assistant's"),
        ({"messages": [USER, {"role": "assistant", "content": "4"}]}, "'ground_truth' is missing"),
        ({"prompt": [USER], "completion": "4"}, "must make the right calls, in 'tool_calls'"),
        ({"prompt": [USER], "completion": [CALLING, CALLING]}, "must make the right calls, in 'tool_calls'"),
        ({"prompt": [USER], "messages": [USER], "ground_truth": []}, "'messages' and 'prompt' both hold"),
        ({"messages": [USER]}, "'ground_truth' is missing; a task needs"),
        ({"messages": [CALLING]}, "'messages'"),
    ],
)
def test_a_row_without_an_open_end_or_a_truth_is_refused(row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        tasks_from_rows([{"tools": [TOOL], **row}])
    assert says in str(caught.value)


def test_what_was_called_is_among_what_was_said() -> None:
    (task,) = tasks_from_rows([{"messages": [USER, CALLING, {"role": "tool", "content": "4"}, USER], "tools": [TOOL], "ground_truth": []}])  # fmt: skip  # noqa: E501
    assert isinstance(task, Task)
    assert said(task.messages[1]) == '\narea {"side": 2}'


def test_calls_and_results_of_anthropics_blocks_are_calls_and_results() -> None:
    remarks = Remarks()
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "5 C"}]}
    entries = [
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}, call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And Oslo?"}]},
    ]

    _, called, answered, asked = read_messages(entries, remarks)

    assert called["content"] == "I look."
    assert called["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert (answered["role"], answered["content"]) == ("tool", "5 C")
    assert (asked["role"], asked["content"]) == ("user", "And Oslo?")
    assert list(remarks.values()) == [1]


def test_items_of_responses_are_messages_and_their_parallel_calls_are_one() -> None:
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Rome and Oslo?"}]},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": '{"city": "Oslo"}'},
        {"type": "function_call_output", "call_id": "b", "output": "2 C"},
        {"type": "function_call_output", "call_id": "a", "output": "5 C"},
    ]

    messages = read_messages(items, Remarks())

    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert [len(message.get("tool_calls", ())) for message in messages] == [0, 2, 0, 0]
    assert [message["content"] for message in messages[2:]] == ["5 C", "2 C"]


def test_a_call_without_its_result_beside_one_with_is_refused() -> None:
    calls = [{"id": name, "function": {"name": "weather", "arguments": "{}"}} for name in "ab"]
    entries = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "b", "content": "2 C"},
    ]

    with pytest.raises(DataError, match="the call 'a' has no result"):
        read_messages(entries, Remarks())
