# ruff: noqa: E501  (a row is one line)
"""The section "Messages and rows" of docs/compatibility.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from datasets import Dataset

from compatibility.page import Row, assert_section
from fissile.errors import DataError
from fissile.tasks import Task, tasks_from_rows

PROPERTIES = {"side": {"type": "integer"}, "note": {"type": ["string", "null"]}}
TOOL = {"name": "area", "parameters": {"type": "object", "properties": PROPERTIES}}
USER = {"role": "user", "content": "How large?"}
FUNCTION = {"name": "area", "arguments": '{"side": 2}'}
CALL = {"id": "c1", "type": "function", "function": FUNCTION}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4"}


def load(**row: Any) -> Task:
    named = {"tools": [TOOL], "ground_truth": [FUNCTION]}
    (task,) = tasks_from_rows([{key: value for key, value in {**named, **row}.items() if value != "absent"}])
    return task


def reads(first: dict[str, Any], **row: Any) -> Callable[[], None]:
    """The row is read, and its first message is `first`."""

    def check() -> None:
        task = load(**row)
        assert task.messages[0] == first
        assert [(call.name, call.arguments) for call in task.ground_truth] == [("area", {"side": [2]})]

    return check


def refuses(says: str, **row: Any) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(DataError, match=says):
            load(**row)

    return check


def calls(message: dict[str, Any]) -> Callable[[], None]:
    """The history's second message is read as the call of the area of a square of side 2."""

    def check() -> None:
        (call,) = load(messages=[USER, message, RESULT]).messages[1]["tool_calls"]
        assert call["function"] == FUNCTION

    return check


def truth(arguments: Any, meant: dict[str, Any]) -> Callable[[], None]:
    def check() -> None:
        task = load(messages=[USER], ground_truth=[{"name": "area", "arguments": arguments}])
        assert task.ground_truth[0].arguments == meant

    return check


def through_arrow() -> None:
    other = {"name": "volume", "parameters": {"type": "object", "properties": {"depth": {"type": "integer"}}}}
    rows = [
        {"messages": [USER], "tools": [TOOL], "ground_truth": [{"name": "area", "arguments": {"side": 2}}]},
        {"messages": [USER], "tools": [other], "ground_truth": [{"name": "volume", "arguments": {"depth": 3}}]},
    ]
    assert [(task.tools, task.ground_truth) for task in tasks_from_rows(Dataset.from_list(rows))] == [
        (task.tools, task.ground_truth) for task in tasks_from_rows(rows)
    ]


PARTS = [{"type": "text", "text": "How large?"}]
IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}]
SHAREGPT = [{"from": "human", "value": "How large?"}]
BLOCKS = {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "area", "input": {"side": 2}}]}
ITEM = {"type": "function_call", "call_id": "c1", **FUNCTION}
TWO_CALLS = {**CALLING, "tool_calls": [*CALLING["tool_calls"], {**CALLING["tool_calls"][0], "id": "c2"}]}
ROWS = [
    Row("`content: null` beside `tool_calls`", "works", "the dialect writes the calls into the prompt", calls(CALLING)),
    Row("`tool_calls` with arguments as an object", "works", "as with JSON text", calls({**CALLING, "tool_calls": [{"function": {"name": "area", "arguments": {"side": 2}}}]})),
    Row("`function_call`, as OpenAI had it first", "converted", "a call", calls({"role": "assistant", "content": None, "function_call": FUNCTION})),
    Row("results in another order than their calls", "converted", "put in the order of the calls, by `tool_call_id`", calls(CALLING)),
    Row("a `tool_call_id` that no call has", "refused", "the id is named", refuses("answers the call 'c2'", messages=[USER, CALLING, {**RESULT, "tool_call_id": "c2"}])),
    Row("`content` as parts of the type `text`", "converted", "one below the other", reads(USER, messages=[{"role": "user", "content": PARTS}])),
    Row("`content` with an image, audio or file", "refused", "the type of the part is named", refuses("type 'image_url'", messages=[{"role": "user", "content": IMAGE}])),
    Row("a tool's `content` as an object", "converted", "its JSON", reads(USER, messages=[USER, CALLING, {**RESULT, "content": {"a": 1}}])),
    Row("the role `developer`", "converted", "`system`", reads({"role": "system", "content": "x"}, messages=[{"role": "developer", "content": "x"}, USER])),
    Row("the role `function`, `ipython`, `observation`", "converted", "`tool`", reads(USER, messages=[USER, CALLING, {"role": "function", "name": "area", "content": "4"}])),
    Row("Anthropic's blocks `tool_use`, `tool_result`, `thinking`", "converted", "calls and results; thoughts are left out, counted and said once", calls(BLOCKS)),
    Row("items of OpenAI's Responses (`function_call`, `function_call_output`)", "converted", "calls, parallel ones in one message, and results", calls(ITEM)),
    Row("some results of parallel calls missing", "refused", "the call is named", refuses("the call 'c2' has no result", messages=[USER, TWO_CALLS, RESULT])),
    Row("a column `system`", "converted", "a system message before the others; refused beside one", reads({"role": "system", "content": "x"}, messages=[USER], system="x")),
    Row("other columns", "works", "no part of a task; told once (reward functions of the trainer receive them)", reads(USER, messages=[USER], level=3)),
    Row("an unknown role", "refused", "it is named, with those that are known", refuses("has the role 'bot'", messages=[{"role": "bot", "content": "x"}])),
    Row("ShareGPT's `conversations` with `from` and `value`", "converted", "messages; `function_call` and `observation` are read", reads(USER, conversations=SHAREGPT)),
    Row("`reasoning_content`, `weight` and other keys of a message", "converted", "left out, counted and said once", reads(USER, messages=[{**USER, "weight": 1}])),
    Row("a system message in the middle", "works", "where the template shows none there, in the user's next turn", reads(USER, messages=[USER, {"role": "system", "content": "x"}, USER])),
    Row("a message of the user without text", "refused", "it is named", refuses("is empty", messages=[{"role": "user", "content": ""}])),
    Row("the assistant's message at the end, beside `ground_truth`", "refused", "nothing is left to be answered", refuses("the last message is the assistant's", messages=[USER, CALLING])),
    Row("the assistant's message at the end, without `ground_truth`", "converted", "its calls are the truth", reads(USER, messages=[USER, CALLING], ground_truth="absent")),
    Row("TRL's `prompt` (text or messages)", "converted", "`messages`", reads(USER, prompt="How large?")),
    Row("TRL's `prompt` and `completion` with `tool_calls`", "converted", "the calls are the truth", reads(USER, prompt=[USER], completion=[CALLING], ground_truth="absent")),
    Row("TRL's `completion` as text, or of several messages", "refused", "`ground_truth` is missing", refuses("must make the right calls", prompt=[USER], completion="4", ground_truth="absent")),
    Row("columns that are JSON text", "converted", "decoded", reads(USER, messages=json.dumps([USER]))),
    Row("rows of `Dataset.to_json()`, or of Arrow, with null for absent keys", "converted", "absent again, in tools, messages and truths", through_arrow),
    Row("a null argument of the truth that the schema admits", "works", "it counts; where every call of the rows has the key, absence is right as well", truth({"side": 2, "note": None}, {"side": [2], "note": [None]})),
    Row("a null argument of the truth that the schema does not admit", "converted", "left out, counted and said once", truth({"side": None, "strange": None}, {})),
    Row('arguments that are `null`, `""`, `{}` or absent', "works", "a call without arguments, in rows, dialects and at endpoints", truth(None, {})),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("messages", ROWS)
