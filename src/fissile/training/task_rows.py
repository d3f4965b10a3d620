"""What the datasets of a trainer hold: tasks, and columns of the user's own, which reward functions receive."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from datasets import Dataset
from datasets import IterableDataset as HubStream
from torch.utils.data import IterableDataset as TorchStream

from fissile.contexts import Context
from fissile.errors import ConfigError, DataError
from fissile.tasks import Task, tasks_from_rows

TRAIN, EVAL = "train_dataset", "eval_dataset"

GIVEN = frozenset({"task", "attempt", "task_id", "composite", "env_mask"})
"""Columns that the trainer itself gives to reward functions."""

TRLS_OWN = frozenset(
    (
        *("prompt", "prompts", "completion", "completions", "completion_ids", "image", "images"),
        *("trainer_state", "log_extra", "log_metric", "environments"),
    )
)
"""Names that TRL means something else by, in a row or among the arguments of a reward function."""


class TaskRows:
    """The tasks of every dataset that a trainer was given, by the id that stands in TRL's rows.

    Attributes:
        train: the training tasks by their ids.
    """

    def __init__(self, keep_columns: bool = True) -> None:
        """Nothing is known yet. `keep_columns`: the columns of a dataset are handed to reward functions."""
        self.train: dict[str, Task] = {}
        self._known: dict[str, Task] = {}
        self._columns: dict[str, dict[str, Any]] = {}
        self._keep_columns = keep_columns

    def read_train(self, dataset: Any) -> Dataset:
        """The training tasks as TRL's rows.

        Raises:
            ConfigError: no task, a stream, or a dataset of several splits.
            DataError: a row is no task, two have the same id, or a column cannot be handed on.
        """
        if isinstance(dataset, Mapping):
            names = ", ".join(map(repr, dataset))
            raise ConfigError(f"train_dataset holds several splits ({names}). Give one of them.")
        rows = _listed(dataset, TRAIN)
        if not rows:
            raise ConfigError("train_dataset holds no task. Give at least one.")
        tasks = list(tasks_from_rows(rows))
        self.train = {task.id: task for task in tasks}
        if len(self.train) < len(tasks):
            raise DataError("Two tasks of train_dataset have the same id. Give every task its own.")
        return self._read(tasks, rows, TRAIN)

    def read_eval(self, dataset: Any, source: str = EVAL) -> Any:
        """The tasks of an evaluation as TRL's rows; a mapping of datasets stays one, and what was read before passes.

        Raises:
            ConfigError: a stream, no task, or live tasks beside single-step ones.
            DataError: a row is no task, or has the id of another task.
        """
        if dataset is None or isinstance(dataset, str):  # the latter names one of several
            return dataset
        if isinstance(dataset, Mapping):
            return {name: self.read_eval(part, f"{source}['{name}']") for name, part in dataset.items()}
        rows = _listed(dataset, source)
        if rows and all(isinstance(row, Mapping) and row.get("task_id") in self._known for row in rows):
            return dataset
        if not rows:
            raise ConfigError(f"{source} holds no task. Give at least one, or leave it out.")
        tasks = [self._named(task, row) for task, row in zip(tasks_from_rows(rows, source), rows, strict=True)]
        return self._read(tasks, rows, source)

    def task(self, row: Mapping[str, Any]) -> Task:
        """The task of one of TRL's rows.

        Raises:
            DataError: the row is of a dataset that was put into the trainer past its constructor.
        """
        if row.get("task_id") not in self._known:
            raise DataError(
                "A row is of no task that the trainer was given. Give datasets to its constructor or to evaluate(), "
                "rather than setting train_dataset or eval_dataset."
            )
        return self._known[row["task_id"]]

    def row(self, context: Context) -> dict[str, Any]:
        """What TRL hands on for a rollout that begins in `context`: the conversation, and the dataset's own columns."""
        task = context.task
        columns = copy.deepcopy(self._columns.get(task.id, {}))
        return {**columns, "prompt": conversation(context), "task_id": task.id}

    def _read(self, tasks: list[Task], rows: list[Any], source: str) -> Dataset:
        self._known |= {task.id: task for task in tasks}
        if len({task.world is not None for task in self._known.values()}) > 1:
            raise ConfigError("Some tasks have a live world and others have none. Train on one kind at a time.")
        if self._keep_columns:
            own = [row if isinstance(row, Mapping) else {} for row in rows]
            names = list(dict.fromkeys(name for row in own for name in row))
            _refuse_columns(names, source)
            self._columns |= {
                task.id: {name: row.get(name) for name in names} for task, row in zip(tasks, own, strict=True)
            }
        return Dataset.from_list([{"prompt": list(task.messages), "task_id": task.id} for task in tasks])

    def _named(self, task: Task, row: Any) -> Task:
        """A task for evaluation under an id that means no other task."""
        while (known := self._known.get(task.id)) is not None and replace(known, source=task.source) != task:
            if isinstance(row, Task) or "id" in row:
                raise DataError(f"The id '{task.id}' is that of two different tasks. Give every task its own.")
            task = replace(task, id=f"{task.id}+")
        return known or task


def conversation(context: Context) -> list[dict[str, Any]]:
    """What stands before a rollout, as messages: the task's, and of a corrective context the failures and answers."""
    messages: list[dict[str, Any]] = list(context.task.messages)
    for exchange in context.dialogue:
        results = [{"role": "tool", "content": result} for result in exchange.results]
        messages += [{"role": "assistant", "content": exchange.text}, *results, *exchange.messages]
    return messages


def _listed(dataset: Any, source: str) -> list[Any]:
    if isinstance(dataset, HubStream | TorchStream):
        raise ConfigError(
            f"{source} is a stream, and all tasks must be known before the first step. Take a part of it: "
            "Dataset.from_list(list(stream.take(1000)))."
        )
    if isinstance(dataset, str | bytes) or (dataset is not None and not isinstance(dataset, Iterable)):
        raise ConfigError(f"{source} must be tasks or rows, not {dataset!r}. Read a file with load_tasks(...).")
    if hasattr(dataset, "to_dict") and hasattr(dataset, "columns"):
        raise ConfigError(f"{source} is a data frame. Give Dataset.from_pandas(...), of the package datasets.")
    return [] if dataset is None else list(dataset)


def _refuse_columns(names: list[str], source: str) -> None:
    wrong = "under which reward functions get something else from the trainer. Rename it."
    trls = (
        "that TRL reads in its own way. Rename or remove it; the prompt of a task is its 'messages', and only text is "
        "trained on."
    )
    for name in names:
        if name in GIVEN or name in TRLS_OWN:
            raise DataError(f"The column '{name}' of {source} has a name {wrong if name in GIVEN else trls}")
