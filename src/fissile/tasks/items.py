"""Histories of other interfaces as messages: Anthropic's content blocks, and the items of OpenAI's Responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fissile.calls import JSON

_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_UNSAID = "the model's thoughts in earlier messages are left out: the model reads text, calls and results alone"


def as_messages(entries: Sequence[JSON], remarks: Counter[str]) -> list[tuple[int, JSON]]:
    """Each message with the place of the entry that it comes from; what is a message already comes back as it is.

    Calls that stand one after the other among the items of Responses are one message of the assistant.

    Args:
        entries: as they stand in the row.
        remarks: counts what of them is left out.
    """
    messages: list[tuple[int, JSON]] = []
    joined = False
    for place, entry in enumerate(entries):
        item = _item(entry, remarks) if isinstance(entry, dict) and "role" not in entry else None
        if item is None:
            messages += [(place, message) for message in _blocks(entry, remarks)]
        elif joined and item and item[0].get("tool_calls"):
            messages[-1][1]["tool_calls"] += item[0]["tool_calls"]
        else:
            messages += [(place, message) for message in item]
        if item != []:  # thoughts between two calls do not part them
            joined = item is not None and "tool_calls" in item[0]
    return messages


def _item(entry: dict[str, Any], remarks: Counter[str]) -> list[dict[str, Any]] | None:
    """The messages of an item of Responses that has no role; None for what is none."""
    match entry.get("type"):
        case "function_call":
            function = {"name": entry.get("name"), "arguments": entry.get("arguments")}
            call = {"id": entry.get("call_id"), "type": "function", "function": function}
            return [{"role": "assistant", "content": None, "tool_calls": [call]}]
        case "function_call_output":
            return [{"role": "tool", "tool_call_id": entry.get("call_id"), "content": entry.get("output")}]
        case kind if kind in _THOUGHTS:
            remarks[_UNSAID] += 1
            return []
    return None


def _blocks(entry: JSON, remarks: Counter[str]) -> Iterator[JSON]:
    """A message whose content may be blocks: results as messages of their own, calls beside the text."""
    if isinstance(entry, dict) and entry.get("type") == "message":
        entry = {key: value for key, value in entry.items() if key not in ("type", "id", "status")}
    content = entry.get("content") if isinstance(entry, dict) else None
    parts = content if isinstance(content, list) else []
    blocks = [part for part in parts if isinstance(part, dict)]
    kinds = {block.get("type") for block in blocks}
    if not kinds & {"tool_use", "tool_result", *_THOUGHTS}:
        yield entry
        return
    remarks += Counter({_UNSAID: sum(block.get("type") in _THOUGHTS for block in blocks)})
    for block in blocks:
        if block.get("type") == "tool_result":
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": block.get("content")}
    calls = [
        {"id": block.get("id"), "function": {"name": block.get("name"), "arguments": block.get("input")}}
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    said = [
        block
        for block in parts
        if not isinstance(block, dict) or block.get("type") not in {"tool_use", "tool_result", *_THOUGHTS}
    ]
    if said or calls or "tool_result" not in kinds:
        yield {**entry, "content": said, **({"tool_calls": calls} if calls else {})}
