"""Tasks and where they come from: BFCL, JSON lines, Hugging Face datasets; and leak-free splits."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fissile.tasks.bfcl_multi_turn import MULTI_TURN_CATEGORIES, instances, load_bfcl_multi_turn, offered
from fissile.tasks.bfcl_single_turn import CATEGORIES, ONE_CALL_CATEGORIES, BFCLTasks, load_bfcl
from fissile.tasks.files import BUILDERS, Reading, load_dataset, load_jsonl, read_dataset, read_jsonl, tasks_from_rows
from fissile.tasks.scenarios import split_scenarios
from fissile.tasks.splits import Split, split_by_function
from fissile.tasks.task import ExpectedCall, Matching, Message, Task, Turn, World, said
from fissile.tools import Tool

__all__ = [
    "CATEGORIES",
    "MULTI_TURN_CATEGORIES",
    "ONE_CALL_CATEGORIES",
    "BFCLTasks",
    "ExpectedCall",
    "Matching",
    "Message",
    "Reading",
    "Split",
    "Task",
    "Turn",
    "World",
    "instances",
    "load_bfcl",
    "load_bfcl_multi_turn",
    "load_dataset",
    "load_jsonl",
    "load_tasks",
    "offered",
    "read_dataset",
    "read_jsonl",
    "read_tasks",
    "said",
    "split_by_function",
    "split_scenarios",
    "tasks_from_rows",
]


def load_tasks(
    source: str | Path | Iterable[Mapping[str, Any] | Task],
    *,
    categories: Sequence[str] = ONE_CALL_CATEGORIES,
    hub_split: str = "train",
) -> list[Task]:
    """The tasks that a config or a command line names.

    Args:
        source: "bfcl", the path of a file (.jsonl, .json, .parquet, .arrow, .csv), the name of a Hugging Face dataset,
            or rows in memory.
        categories: for BFCL only.
        hub_split: for a dataset by name only.

    Raises:
        DataError: the source cannot be used; the message says what to change.
        AssetError: BFCL cannot be fetched.
    """
    if not isinstance(source, str | Path):
        return tasks_from_rows(source)
    return read_tasks(source, categories=categories, hub_split=hub_split).checked()


def read_tasks(
    source: str | Path,
    *,
    categories: Sequence[str] = ONE_CALL_CATEGORIES,
    hub_split: str = "train",
    tools: Sequence[Tool] = (),
    world: World | None = None,
) -> Reading:
    """As `load_tasks`, with every fault of the rows instead of an error, and what was left out.

    Args:
        source: see `load_tasks`.
        categories: see `load_tasks`.
        hub_split: see `load_tasks`.
        tools: of the tasks that bring none; not for BFCL.
        world: of the tasks that bring none; not for BFCL.

    Raises:
        DataError: the source as a whole cannot be read.
        AssetError: BFCL cannot be fetched.
    """
    source = str(source)
    if source == "bfcl":
        multi_turn = set(categories) <= set(MULTI_TURN_CATEGORIES)
        loaded = load_bfcl_multi_turn(categories) if multi_turn else load_bfcl(categories)
        return Reading(source, list(loaded.tasks), remarks=loaded.remarks)
    is_file = Path(source).expanduser().is_file() and Path(source).suffix not in BUILDERS
    if is_file or source.endswith((".jsonl", ".json")):
        return read_jsonl(source, tools, world)
    return read_dataset(source, hub_split, tools, world)
