"""The single-turn Python categories of the Berkeley Function Calling Leaderboard v4 as tasks.

Source: the pinned `bfcl-eval` wheel (`fissile.assets.BFCL`), files `data/BFCL_v4_<category>.json` and
`data/possible_answer/`, both JSON lines. The function docs are Python-flavoured ("dict", "float", "tuple", "any");
here they become JSON Schema, draft 2020-12. The originals stay in `Task.reference` for the official checker.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fissile import assets
from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.task import ExpectedCall, Task
from fissile.tools import Tool

ONE_CALL_CATEGORIES = ("simple_python", "multiple", "live_simple")
"""One call answers each task, and each offers few tools: the default."""

CATEGORIES = (
    *ONE_CALL_CATEGORIES,
    "parallel",
    "parallel_multiple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
"""Every category whose truth is a list of Python calls."""

UNSATISFIABLE: Mapping[str, str] = {
    "live_simple_106-63-0": "The truth accepts no value for auto_loan_payment_start, which 'record' requires.",
    "live_simple_112-68-0": "The truth accepts no value for acc_routing_start, which 'record' requires.",
    "live_multiple_862-181-3": "The truth needs journey_start_time, which 'Trains_1_FindTrains' does not take.",
    "live_multiple_964-207-0": "The truth needs 'question', which 'transfer_to_human_agent' does not take.",
}
"""Entries of which the official checker rejects every call that their own truth describes, and why (measured)."""


@dataclass(frozen=True)
class BFCLTasks:
    """What was loaded."""

    tasks: tuple[Task, ...]  # in the order of the categories and files; ids unique
    excluded: Mapping[str, str]  # id of an entry that cannot be used, to the reason

    @property
    def remarks(self) -> Counter[str]:
        """That entries are left out, to how many."""
        remark = "an entry that cannot be used is left out; `fissile data stats bfcl` lists them"
        return Counter({remark: len(self.excluded)} if self.excluded else {})


def load_bfcl(categories: Sequence[str] = ONE_CALL_CATEGORIES, folder: Path | None = None) -> BFCLTasks:
    """The tasks of some of `CATEGORIES`, without the unsatisfiable ones.

    `folder` is where the package folder `bfcl_eval` lies; None means the cached asset, fetched on first use.

    Raises:
        DataError: an unknown category, or a file that cannot be read.
        AssetError: the asset cannot be fetched.
    """
    return load_entries(categories, CATEGORIES, "a BFCL category of Fissile", folder, _task)


MakeTask = Callable[[dict[str, JSON], JSON, str, Path], Task]
"""(entry, its possible answer or None, category, data folder) -> the task; DataError where the entry cannot be used."""


def load_entries(
    categories: Sequence[str], known: Sequence[str], kind: str, folder: Path | None, make: MakeTask
) -> BFCLTasks:
    """What `make` makes of the entries of some categories; as `load_bfcl`."""
    for category in categories:
        if category not in known:
            raise DataError(f"'{category}' is not {kind}. Choose among {', '.join(known)}.")
    root = (folder or assets.bfcl_path()) / "bfcl_eval" / "data"
    tasks: list[Task] = []
    excluded: dict[str, str] = {}
    for category in dict.fromkeys(categories):
        name = f"BFCL_v4_{category}.json"
        truths = {entry["id"]: entry["ground_truth"] for entry in json_lines(root / "possible_answer" / name)}
        for entry in json_lines(root / name):
            try:
                tasks.append(make(entry, truths.get(entry["id"]), category, root))
            except DataError as error:
                excluded[entry["id"]] = str(error)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                excluded[entry["id"]] = f"The entry is not of BFCL's form ({type(error).__name__}: {error})."
    return BFCLTasks(tuple(tasks), excluded)


def json_lines(path: Path) -> list[dict[str, JSON]]:
    """The objects of a file of BFCL's."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Remove its asset folder and run `fissile fetch`.") from error


def _task(entry: dict[str, JSON], truth: JSON, category: str, _root: Path) -> Task:
    """One entry and its possible answer as a task."""
    if entry["id"] in UNSATISFIABLE:
        raise DataError(UNSATISFIABLE[entry["id"]])
    if not truth:
        raise DataError("The entry has no possible answer.")
    tools = tuple(tool_from_doc(doc) for doc in entry["function"])
    offered = {tool.name: tool for tool in tools}
    (messages,) = entry["question"]  # single turn
    return Task(
        id=entry["id"],
        messages=tuple({"role": message["role"], "content": message["content"]} for message in messages),
        tools=tools,
        ground_truth=tuple(
            _expected_call(name, arguments, offered) for call in truth for name, arguments in call.items()
        ),
        source="bfcl",
        category=category,
        matching="bfcl",
        reference={"function": entry["function"], "possible_answer": truth, "category": category},
    )


def _expected_call(name: str, arguments: dict[str, list[JSON]], offered: Mapping[str, Tool]) -> ExpectedCall:
    """The truth of one call, with the mark "" for "may be left out" turned into `optional`.

    An argument that its function's doc does not name is dropped if it may be left out (the checker refuses it). One
    that the doc requires is never optional (the checker refuses its absence, whatever the mark says).
    """
    tool = offered.get(name)
    if tool is None:
        raise DataError(f"The truth calls '{name}', which is not offered.")
    accepted: dict[str, list[JSON]] = {}
    optional: set[str] = set()
    for argument, values in arguments.items():
        may_be_absent = "" in values and argument not in tool.required
        if argument not in tool.properties:
            if may_be_absent:
                continue
            raise DataError(f"The truth needs the argument '{argument}', which '{name}' does not take.")
        written = [value for value in values if value != ""]
        accepted[argument] = written if written or may_be_absent else values
        if not (accepted[argument] or may_be_absent):
            raise DataError(f"The truth accepts no value for '{argument}', which '{name}' must be given.")
        if may_be_absent:
            optional.add(argument)
    absent = [argument for argument in tool.required if argument not in accepted]
    if absent:
        raise DataError(f"The truth lacks the argument '{absent[0]}', which '{name}' requires.")
    return ExpectedCall(name, accepted, frozenset(optional))


_JSON_SCHEMA_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
"""BFCL's own type names; the others are those of JSON Schema, and "any" becomes no constraint at all."""


def tool_from_doc(doc: dict[str, JSON]) -> Tool:
    """A BFCL function doc as a tool. Equal docs give the same object, since checking a schema takes milliseconds.

    Raises:
        DataError: the doc is not a tool schema even after normalisation.
    """
    return _tool(json.dumps(doc))


@cache
def _tool(doc_text: str) -> Tool:
    doc = json.loads(doc_text)
    return Tool(doc["name"], doc.get("description", ""), json_schema(doc["parameters"]))


def json_schema(schema: dict[str, JSON]) -> dict[str, JSON]:
    """A parameter schema of BFCL as JSON Schema 2020-12, at every depth.

    Type names are translated, the stray key "optional" is dropped, `required` lists only names that exist, and an
    enum of an array's items moves from the array to its items. Everything else (description, default, ...) is kept.
    """
    normal = {key: value for key, value in schema.items() if key not in ("optional", "type")}
    kind = schema.get("type")
    if kind is not None and kind != "any":
        normal = {"type": _JSON_SCHEMA_TYPES.get(kind, kind), **normal}
    if "items" in schema:
        normal["items"] = json_schema(schema["items"])
        if not any(isinstance(value, list) for value in schema.get("enum", [[]])):
            normal["items"]["enum"] = normal.pop("enum")
    if "properties" in schema:
        normal["properties"] = {name: json_schema(inner) for name, inner in schema["properties"].items()}
        normal["required"] = [name for name in schema.get("required", ()) if name in schema["properties"]]
    return normal
