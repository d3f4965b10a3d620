"""The multi-turn categories of the Berkeley Function Calling Leaderboard v4 as tasks in a live world.

Source: the pinned `bfcl-eval` wheel (`fissile.assets.BFCL`), files `data/BFCL_v4_multi_turn_*.json`, their
`possible_answer/`, and the function docs in `multi_turn_func_doc/`, all JSON lines. The ground truth is text such as
`cd(folder='temp')`; it is parsed, never evaluated. Entry *i* is the same scenario in all four categories.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

from fissile import assets
from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.bfcl_single_turn import BFCLTasks, json_lines, load_entries, tool_from_doc
from fissile.tasks.task import ExpectedCall, Message, Task, Turn, World
from fissile.tools import Tool

MULTI_TURN_CATEGORIES = tuple(f"multi_turn_{name}" for name in ("base", "miss_func", "miss_param", "long_context"))
"""In the order of the leaderboard; its multi-turn score is their plain mean."""

DOC_FILES: Mapping[str, str] = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}
"""Class of the world to the name of its file of function docs, which is that of its source module, too."""

NEW_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What the user says where held-out functions are revealed (official: `constants/default_prompts.py`)."""

NOISY_LABELS: Mapping[str, str] = {
    **{
        f"multi_turn_base_{index}": "An answer that is faithful to the user is judged wrong."
        for index in (4, 18, 133, 176, 187, 188)
    },
    "multi_turn_miss_func_33": "The function that is revealed is not used in its turn.",
    "multi_turn_miss_func_49": "The truth of turn 1 calls 'tail', which is still held out.",
    "multi_turn_miss_func_133": "The function that is revealed is not used in its turn.",
}
"""Entries whose truth is doubtful, and why: a screen, not an audit. They are loaded like the others."""

Docs = Literal["full", "brief"]
"""How much of a function's documentation a tool shows."""


def load_bfcl_multi_turn(
    categories: Sequence[str] = MULTI_TURN_CATEGORIES, folder: Path | None = None, docs: Docs = "full"
) -> BFCLTasks:
    """The tasks of some multi-turn categories: 200 each.

    A task's first messages and truth are those of turn 0, the others follow in `Task.later`. Offered are the functions
    of the involved classes, less the excluded ones; a held-out function comes with `Turn.revealed` of its turn.

    `folder` is as in `load_bfcl`; `docs` says whether descriptions are "full" or "brief" ones (see `class_tools`).

    Raises:
        DataError: an unknown category, or a file that cannot be read.
        AssetError: the asset cannot be fetched.
    """
    kind = "a multi-turn category of BFCL"
    return load_entries(categories, MULTI_TURN_CATEGORIES, kind, folder, partial(_task, docs=docs))


def instances(task: Task) -> list[Task]:
    """The turns of a task as tasks of their own, for training: each ends with the turn that the policy takes.

    One for each turn that expects calls, up to the first whose truth calls a tool that is not offered (that of
    multi_turn_miss_func_49 does). The id is that of the task with `#` and the turn.
    """
    turns = task.turns
    reachable = itertools.takewhile(
        lambda index: {call.name for call in turns[index].ground_truth} <= offered(task, index), range(len(turns))
    )
    return [
        replace(task, id=f"{task.id}#{index}", later=task.later[:index], start=index)
        for index in reachable
        if turns[index].ground_truth
    ]


def offered(task: Task, turn: int) -> frozenset[str]:
    """Names of the tools that are offered in a turn: the first ones, and those revealed up to it."""
    revealed = (tool.name for step in task.turns[: turn + 1] for tool in step.revealed)
    return frozenset((*(tool.name for tool in task.tools), *revealed))


def class_tools(name: str, docs: Docs = "full", folder: Path | None = None) -> tuple[Tool, ...]:
    """Every function of a class as a tool, in the order of its docs.

    Args:
        name: a key of `DOC_FILES`.
        docs: "full" keeps the descriptions; "brief" keeps of a function's what comes after "Tool description:", and
            of that and of a parameter's the first sentence, with the list of values where one follows.
        folder: as in `load_bfcl_multi_turn`.

    Raises:
        DataError: an unknown class, or its docs cannot be read.
        AssetError: the asset cannot be fetched.
    """
    if name not in DOC_FILES:
        raise DataError(f"'{name}' is not a class of BFCL's multi-turn world. Choose among {', '.join(DOC_FILES)}.")
    return _class_tools((folder or assets.bfcl_path()) / "bfcl_eval" / "data", name, docs)


@cache
def _class_tools(root: Path, name: str, docs: Docs) -> tuple[Tool, ...]:
    entries = json_lines(root / "multi_turn_func_doc" / f"{DOC_FILES[name]}.json")
    return tuple(tool_from_doc(entry if docs == "full" else _brief(entry)) for entry in entries)


def _task(entry: dict[str, JSON], truth: JSON, category: str, root: Path, docs: Docs) -> Task:
    """One entry and its possible answer as a task."""
    functions = {tool.name: tool for name in entry["involved_classes"] for tool in _class_tools(root, name, docs)}
    held_out = {int(turn): names for turn, names in entry.get("missed_function", {}).items()}
    withheld = {*entry.get("excluded_function", ()), *(name for names in held_out.values() for name in names)}
    turns = [
        Turn(
            messages=_messages(messages) if messages else ({"role": "user", "content": NEW_FUNCTIONS},),
            ground_truth=tuple(parse_call(call, functions) for call in calls),
            revealed=tuple(functions[name] for name in held_out.get(index, ())),
        )
        for index, (messages, calls) in enumerate(zip(entry["question"], truth, strict=True))
    ]
    if turns[0].revealed:
        raise DataError("A held-out function is revealed in the first turn.")
    setup = {"classes": entry["involved_classes"], "initial_config": entry["initial_config"]}
    setup |= {"long_context": category == "multi_turn_long_context", "seed": None}
    return Task(
        id=entry["id"],
        messages=turns[0].messages,
        tools=tuple(tool for name, tool in functions.items() if name not in withheld),
        ground_truth=turns[0].ground_truth,
        source="bfcl",
        category=category,
        reference={"entry": entry, "ground_truth": truth},
        world=World("bfcl", setup),
        later=tuple(turns[1:]),
    )


def _messages(messages: Sequence[dict[str, str]]) -> tuple[Message, ...]:
    return tuple({"role": message["role"], "content": message["content"]} for message in messages)


def parse_call(text: str, functions: Mapping[str, Tool]) -> ExpectedCall:
    """A call such as `mv('a.txt', destination='temp')`: one plain name, literal arguments, nothing evaluated.

    Args:
        text: the call as Python source.
        functions: by name; positional arguments are bound in the order of the tool's parameters.

    Raises:
        DataError: it is not such a call, or of none of the functions.
    """
    try:
        node = ast.parse(text, mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions):
            raise DataError(f"The truth '{text}' is not a call of one of the entry's functions.")
        name = node.func.id
        arguments = dict(zip(functions[name].properties, map(ast.literal_eval, node.args), strict=False))
        arguments.update({keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg})
    except (SyntaxError, ValueError) as error:
        raise DataError(f"The truth '{text}' is not a call with literal arguments ({error}).") from None
    if len(arguments) != len(node.args) + len(node.keywords):
        raise DataError(f"The truth '{text}' gives an argument twice, or one that '{name}' does not take.")
    return ExpectedCall.exactly(name, arguments)


_SENTENCE = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)\.(?=\s|$)")
_VALUES = re.compile(r"(\[Enum\]|Options are|Here are the options):.*")


def _brief(doc: dict[str, JSON]) -> dict[str, JSON]:
    description = doc["description"].rpartition("Tool description:")[2]
    return {**doc, "description": _first_sentence(description), "parameters": _brief_schema(doc["parameters"])}


def _brief_schema(schema: dict[str, JSON]) -> dict[str, JSON]:
    """The schema with short descriptions at every depth."""
    short = dict(schema)
    if "description" in schema:
        short["description"] = _first_sentence(schema["description"])
    if "properties" in schema:
        short["properties"] = {name: _brief_schema(inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        short["items"] = _brief_schema(schema["items"])
    return short


def _first_sentence(text: str) -> str:
    text = " ".join(text.split())
    end = _SENTENCE.search(text)
    sentence = text[: end.end()] if end else text
    values = _VALUES.search(text, len(sentence))
    return f"{sentence} {values.group()}" if values else sentence
