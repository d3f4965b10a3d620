"""Results in the layout that the official BFCL scorer reads, so that anyone can check them.

The official scorer decodes each response anew and *evaluates* parts of it. So no model text is written: a response is
written again from its parsed calls, as literals, and only with names of the world's own functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fissile.calls import ToolCall
from fissile.environments.bfcl.instances import methods
from fissile.errors import ErrorKind
from fissile.evaluation.live import LiveEpisode
from fissile.rollouts import ErrorProtocol
from fissile.tasks import Task

INVALID_CALL = "invalid_call()"
"""Stands for a call that must not be shown to the official scorer: there, too, it is an error without effect."""

NO_CALL = ""
"""Stands for a response without calls; the official decoder finds none in it either."""

_NEVER_EXECUTED = frozenset({ErrorKind.MALFORMED_CALL, ErrorKind.TRUNCATED, ErrorKind.EXTRA_CALL})
"""Errors of calls that never reached the world. Under the recovery protocol unknown tools are refused, too."""
_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


def write_official_results(
    folder: Path, name: str, tasks: Sequence[Task], episodes: Sequence[LiveEpisode], protocol: ErrorProtocol
) -> list[Path]:
    """Write `result/<name>/multi_turn/BFCL_v4_<category>_result.json`, one JSON line for each episode.

    Args:
        folder: where `result` lies.
        name: of the model; characters that a folder name should not hold become "_".
        tasks: the tasks of the episodes, in the same order.
        episodes: finished episodes.
        protocol: under which they were made.

    Returns:
        The files, one for each category.
    """
    target = folder / "result" / (_UNSAFE_IN_NAMES.sub("_", name).strip("._") or "model") / "multi_turn"
    target.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {}
    for task, episode in zip(tasks, episodes, strict=True):
        record = {"id": task.id, "result": official_turns(task, episode, protocol)}
        lines.setdefault(task.category, []).append(json.dumps(record))
    files = []
    for category, records in lines.items():
        file = target / f"BFCL_v4_{category}_result.json"
        file.write_text("\n".join(records) + "\n", encoding="utf-8")
        files.append(file)
    return files


def official_turns(task: Task, episode: LiveEpisode, protocol: ErrorProtocol) -> list[list[str]]:
    """For each turn that was begun, the responses as text that the official decoder reads.

    Calls that were refused are left out, those that the limits of the world stopped stand as `INVALID_CALL`, and a
    response of which nothing was executed stands as `NO_CALL`. An episode that was cut has fewer turns than the truth,
    which the official scorer takes for "force terminated".
    """
    allowed = function_names(task)
    turns: list[list[str]] = [[] for _ in range(1 + max((step["turn"] for step in episode.steps), default=0))]
    for step in episode.steps:
        turns[step["turn"]].append(_response(step, allowed, protocol))
    return turns


def call_text(call: ToolCall, allowed: frozenset[str]) -> str:
    """A call as Python source of literals; `INVALID_CALL` where a name is not one of the world's functions."""
    arguments = call.arguments or {}
    if call.name not in allowed or not all(name.isidentifier() for name in arguments):
        return INVALID_CALL
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def function_names(task: Task) -> frozenset[str]:
    """Names of the functions of a task's world, offered or not."""
    classes = task.world.setup["classes"] if task.world else ()
    return frozenset(name for name, method in methods().items() if method.class_name in classes)


def _response(step: Mapping[str, Any], allowed: frozenset[str], protocol: ErrorProtocol) -> str:
    refused = _NEVER_EXECUTED | ({ErrorKind.UNKNOWN_TOOL} if protocol is ErrorProtocol.RECOVERY else set())
    kinds = {error.get("call_index"): ErrorKind(error["kind"]) for error in step["attempt"]["errors"]}
    calls = [ToolCall.from_dict(call) for call in step["attempt"]["calls"]] if step["results"] else []
    texts = [
        INVALID_CALL if kinds.get(index) is ErrorKind.TIMEOUT else call_text(call, allowed)
        for index, call in enumerate(calls)
        if kinds.get(index) not in refused
    ]
    return f"[{', '.join(texts)}]" if texts else NO_CALL
