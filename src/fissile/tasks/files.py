"""Tasks from JSON lines, from Hugging Face datasets and from rows in memory; what a row holds: `fissile.tasks.rows`."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.messages import Remarks
from fissile.tasks.nulls import decoded
from fissile.tasks.rows import COLUMNS, Given, Row, RowReader, row_of_text, unread
from fissile.tasks.task import Task, World
from fissile.tools import Tool

logger = logging.getLogger(__name__)

_NOTHING = Given()

BUILDERS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv"}
"""Suffix of a file that `datasets` reads, to the name of what reads it."""


@dataclass
class Reading:
    """What a source holds.

    Attributes:
        source: its name.
        tasks: the ones that can be used.
        faults: what is wrong with each of the others: where it stands, and what to change.
        remarks: what was left out of the tasks or taken as a guess, to how often.
    """

    source: str
    tasks: list[Task] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    remarks: Remarks = field(default_factory=Counter)

    def checked(self) -> list[Task]:
        """The tasks, where all can be used; the remarks are said in the log.

        Raises:
            DataError: a task cannot be used, or there is none.
        """
        if self.faults:
            others = len(self.faults) - 1
            more = f" (`fissile data check` lists this and {others} more.)" if others else ""
            raise DataError(f"{self.faults[0]}{more}")
        if not self.tasks:
            raise DataError(f"{self.source} holds no tasks.")
        for remark, count in self.remarks.items():
            logger.warning("%s: %s (%d times).", self.source, remark, count)
        return self.tasks


def load_jsonl(path: str | Path, tools: Sequence[Tool] = (), world: World | None = None) -> list[Task]:
    """The tasks of a file with one JSON object a line, or with one array of them; blank lines are skipped.

    A task without an `id` gets "<file name without its suffix>:<line>".

    Args:
        path: the file.
        tools: of the tasks without `tools`.
        world: of the tasks without `world`; for those with one, its name and setup where they leave them out.

    Raises:
        DataError: the file or a line cannot be used; the message names file, line and field.
    """
    return read_jsonl(path, tools, world).checked()


def read_jsonl(path: str | Path, tools: Sequence[Tool] = (), world: World | None = None) -> Reading:
    """As `load_jsonl`, with every fault of the lines. Raises DataError: the file cannot be read."""
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"There is no file {path}. Give the path of a .jsonl file with one task a line.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8, or name it .parquet, .arrow or .csv."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    written = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows = [row_of_text(f"{path}:{number}", f"{path.stem}:{number}", line) for number, line in written]
    if text.lstrip().startswith("["):
        rows = _rows_of_array(path, text) or rows
    return _read(rows, str(path), Given(tuple(tools), world))


def _rows_of_array(path: Path, text: str) -> list[Row]:
    """The rows of a file that is one JSON array; none where it is not."""
    named = ((f"{path}, entry {index}", f"{path.stem}:{index}", one) for index, one in enumerate(decoded(text) or ()))
    return [row_of_text(where, name, json.dumps(entry)) for where, name, entry in named]


def load_dataset(name_or_path: str, split: str = "train") -> list[Task]:
    """The tasks of a split of a Hugging Face dataset, or of a local file or folder that `datasets` can read.

    Raises:
        DataError: the dataset or a row cannot be used; the message names dataset, row and column.
    """
    return read_dataset(name_or_path, split).checked()


def read_dataset(
    name_or_path: str, split: str = "train", tools: Sequence[Tool] = (), world: World | None = None
) -> Reading:
    """As `load_dataset`, with every fault of the rows; `tools` and `world` as for `load_jsonl`.

    Raises:
        DataError: the dataset cannot be loaded.
    """
    import datasets  # noqa: PLC0415  (heavy, and rarely needed)

    try:
        path = Path(name_or_path).expanduser()
        if (path / "state.json").is_file():
            loaded = datasets.load_from_disk(path)
        elif (path / "dataset_dict.json").is_file():
            loaded = datasets.load_from_disk(path)[split]
        elif path.suffix in BUILDERS and path.is_file():
            loaded = datasets.load_dataset(BUILDERS[path.suffix], data_files=str(path), split="train")
        else:
            loaded = datasets.load_dataset(name_or_path, split=split)
    except Exception as error:  # every builder raises its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"The dataset '{name_or_path}', split '{split}', cannot be loaded: {reason} "
            f"Check its name and split, or give the path of a .jsonl file."
        ) from error
    rows = [
        Row(f"{name_or_path}, split {split}, row {index}", f"{split}:{index}", row) for index, row in enumerate(loaded)
    ]
    return _read(rows, name_or_path, Given(tuple(tools), world))


def tasks_from_rows(rows: Iterable[Mapping[str, JSON] | Task], source: str = "rows") -> list[Task]:
    """The tasks of rows in memory (of a `datasets.Dataset`, or a list of dicts); tasks pass as they are.

    NumPy's numbers and arrays, as pandas gives them, are read as JSON's.

    Raises:
        DataError: a row cannot be used; the message names row and column.
    """
    if isinstance(rows, Mapping):
        raise DataError(
            f"{source}: several splits ({', '.join(map(str, rows))}), or a row alone. Give the rows of one."
        )
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        raise DataError(f"{source}: a data frame. Give Dataset.from_pandas(...), of the package datasets.")
    listed = list(rows)
    given = [row for row in listed if isinstance(row, Task)]
    if len(given) == len(listed):
        return given
    named = [
        Row(f"{source}, row {index}", f"{source}:{index}", _as_json(row) if isinstance(row, Mapping) else row)
        for index, row in enumerate(listed)
    ]
    return _read(named, source, others_are_used=True).checked()


def _as_json(row: Mapping[str, Any]) -> dict[str, JSON]:
    """A row with JSON values in what is read of it."""
    return {name: _plain(value) if name in COLUMNS else value for name, value in row.items()}


def _plain(value: Any) -> JSON:
    """A value without tuples, and without NumPy's numbers and arrays."""
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value


def _read(rows: Sequence[Row], source: str, given: Given = _NOTHING, others_are_used: bool = False) -> Reading:
    """One task or one fault for each row.

    Other columns than a task's are said, those of rows in memory, which reward functions receive, only where they look
    like one of them.
    """
    reading = Reading(source)
    reader = RowReader(source, given, reading.remarks)
    for row in rows:
        reader.count(row.record)
        for column, place in unread(row.record):
            if place or not others_are_used:
                hint = f"; what it holds is read in {place}" if place else ""
                reading.remarks[f"the column '{column}' is no part of a task{hint}"] += 1
    places: dict[str, str] = {}
    for row in rows:
        try:
            if row.fault:
                raise DataError(row.fault)
            task = reader.task(row)
            if task.id in places:
                raise DataError(
                    f"{row.where}: the id '{task.id}' is already used by {places[task.id]}. Make the ids unique."
                )
        except DataError as error:
            reading.faults.append(str(error))
        else:
            places[task.id] = row.where
            reading.tasks.append(task)
    return reading
