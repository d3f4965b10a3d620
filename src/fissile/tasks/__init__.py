"""Tasks and where they come from: BFCL, JSON lines, Hugging Face datasets; and leak-free splits."""

from collections.abc import Sequence
from pathlib import Path

from fissile.tasks.bfcl import CATEGORIES, ONE_CALL_CATEGORIES, BFCLTasks, load_bfcl
from fissile.tasks.bfcl_multi_turn import MULTI_TURN_CATEGORIES, instances, load_bfcl_multi_turn, offered
from fissile.tasks.files import load_dataset, load_jsonl, tasks_from_rows
from fissile.tasks.scenarios import split_scenarios
from fissile.tasks.splits import Split, split_by_function
from fissile.tasks.task import ExpectedCall, Matching, Message, Task, Turn, World

__all__ = [
    "CATEGORIES",
    "MULTI_TURN_CATEGORIES",
    "ONE_CALL_CATEGORIES",
    "BFCLTasks",
    "ExpectedCall",
    "Matching",
    "Message",
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
    "split_by_function",
    "split_scenarios",
    "tasks_from_rows",
]


def load_tasks(source: str, *, categories: Sequence[str] = ONE_CALL_CATEGORIES, hub_split: str = "train") -> list[Task]:
    """The tasks that a config or a command line names.

    Args:
        source: "bfcl", the path of a .jsonl file, or the name of a Hugging Face dataset.
        categories: for BFCL only.
        hub_split: for a dataset only.

    Raises:
        DataError: the source cannot be used; the message says what to change.
        AssetError: BFCL cannot be fetched.
    """
    if source == "bfcl" and set(categories) <= set(MULTI_TURN_CATEGORIES):
        return list(load_bfcl_multi_turn(categories).tasks)
    if source == "bfcl":
        return list(load_bfcl(categories).tasks)
    if source.endswith(".jsonl") or Path(source).expanduser().is_file():
        return load_jsonl(source)
    return load_dataset(source, hub_split)
