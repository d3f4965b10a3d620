"""Results in the layout that the official BFCL scorer reads, so that anyone can check them.

The official scorer decodes each response anew and *evaluates* parts of it. So no model text is written: a response is
written again from its parsed calls, as literals, and only with names of the world's own functions.

Its decoder and its executor change some values on the way: a dict becomes a call or breaks the whole response, quotes
in keys are not escaped, a word before a parenthesis is taken for a function even inside a string, and numbers that are
not finite are names. Such a value is written as `json.loads(s='...')`, which the executor turns back into it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fissile.calls import JSON, Attempt, ToolCall
from fissile.environments.bfcl import function_names
from fissile.environments.bfcl_official import is_argument_name
from fissile.errors import ErrorKind
from fissile.evaluation.live import LiveEpisode
from fissile.rollouts import End, ErrorProtocol
from fissile.serial import from_json
from fissile.tasks import Task

INVALID_CALL = "invalid_call()"
"""Stands for a call that must not be shown to the official scorer: there, too, it is an error without effect."""

NO_CALL = ""
"""Stands for a response without calls; the official decoder finds none in it either."""

_NEVER_EXECUTED = frozenset({ErrorKind.MALFORMED_CALL, ErrorKind.TRUNCATED, ErrorKind.EXTRA_CALL})
"""Errors of calls that never reached the world. Under the recovery protocol unknown tools are refused, too."""
_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_LOOKS_LIKE_A_CALL = re.compile(r"\w\s*\(")


def write_official_results(
    folder: Path, name: str, tasks: Sequence[Task], episodes: Sequence[LiveEpisode], protocol: ErrorProtocol
) -> list[Path]:
    """Write `result/<name>/multi_turn/BFCL_v4_<category>_result.json`, one JSON line for each episode.

    An episode that the engine failed on is left out, so that the official scorer misses it instead of failing it.

    Args:
        folder: where `result` lies.
        name: of the model; see `model_folder`.
        tasks: the tasks of the episodes, in the same order.
        episodes: their records.
        protocol: under which they were made.

    Returns:
        The files, one for each category.
    """
    target = folder / "result" / model_folder(name) / "multi_turn"
    target.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {}
    for task, episode in zip(tasks, episodes, strict=True):
        if episode.end != End.INFRASTRUCTURE:
            record = {"id": task.id, "result": official_turns(task, episode, protocol)}
            lines.setdefault(task.category, []).append(json.dumps(record))
    files = []
    for category, records in lines.items():
        file = target / f"BFCL_v4_{category}_result.json"
        file.write_text("\n".join(records) + "\n", encoding="utf-8")
        files.append(file)
    return files


def model_folder(name: str) -> str:
    """A model's name as a folder of the official layout.

    Characters that a folder name should not hold become "_". The official executor makes a Python name of it: one that
    began with a digit would make every call a syntax error, those of the truth too, and so every episode valid.
    """
    plain = _UNSAFE_IN_NAMES.sub("_", name).strip("._-") or "model"
    return f"model-{plain}" if plain[0].isdigit() else plain


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
    """A call as Python source of literals, or `INVALID_CALL`.

    Args:
        call: well-formed.
        allowed: names of the functions of the task's world. Argument names are those of ASCII identifiers, since
            Python takes others for their normal form.
    """
    arguments = call.arguments or {}
    if call.name not in allowed or not all(map(is_argument_name, arguments)):
        return INVALID_CALL
    return f"{call.name}({', '.join(f'{name}={value_text(value)}' for name, value in arguments.items())})"


def value_text(value: JSON) -> str:
    """A JSON value as Python source that means the same to the official decoder and executor."""
    if _survives(value) and _keeps_its_keys(value):
        return repr(value)
    escaped = json.dumps(value).replace("(", r"\u0028")  # a parenthesis in JSON can stand only in a string
    return f"json.loads(s={escaped!r})"


def _survives(value: JSON) -> bool:
    """True where the executor reads the `repr` of a value as that value."""
    match value:
        case str():
            return not _LOOKS_LIKE_A_CALL.search(repr(value))
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_survives, value))
        case dict():
            return all(_survives(key) and _survives(item) for key, item in value.items())
        case _:
            return True


def _keeps_its_keys(value: JSON) -> bool:
    """True where the decoder writes a dict as a dict; it does so with every dict inside lists."""
    if not isinstance(value, dict):
        return True
    is_call = all(isinstance(item, dict) for item in value.values())  # so it takes it, an empty one included
    return not is_call and all(repr(key) == f"'{key}'" and _keeps_its_keys(item) for key, item in value.items())


def _response(step: Mapping[str, Any], allowed: frozenset[str], protocol: ErrorProtocol) -> str:
    refused = _NEVER_EXECUTED | ({ErrorKind.UNKNOWN_TOOL} if protocol is ErrorProtocol.RECOVERY else set())
    attempt = from_json(Attempt, step["attempt"])
    kinds = {error.call_index: error.kind for error in attempt.errors}
    calls = attempt.calls if step["results"] else ()
    texts = [
        INVALID_CALL if kinds.get(index) is ErrorKind.TIMEOUT else call_text(call, allowed)
        for index, call in enumerate(calls)
        if kinds.get(index) not in refused
    ]
    return f"[{', '.join(texts)}]" if texts else NO_CALL
