"""Tasks from JSON lines and from Hugging Face datasets.

One record is one task:

    {"id": "weather-1",                                                   (optional)
     "messages": [{"role": "user", "content": "How warm is it in Oslo?"}],
     "tools": [{"name": "weather", "description": "...", "parameters": {...JSON Schema...}}],
     "ground_truth": [{"name": "weather", "arguments": {"city": "Oslo"}}]}

`tools` also takes the forms of OpenAI, Anthropic, MCP, Gemini and Bedrock, and `ground_truth` the form of a chat
message's `tool_calls`. Where more than one call is right, the call of the truth says so:

     {"name": "weather", "arguments": {"city": "Oslo", "unit": "C"},
      "accepted": {"city": ["Oslo, Norway"]},                             (values that are right as well)
      "optional": ["unit"]}                                               (arguments that may be left out)

An argument that the truth leaves out may be given where it says what the schema's `default` says.

`messages`, `tools`, `ground_truth` and `arguments` may each be a string of JSON, which is the
way to keep them intact in a columnar dataset.

A task that is played in a live world adds the world, and the user's later turns:

     "world": {"name": "python", "setup": {"arguments": {"items": {"apple": 3}}}},
     "turns": [{"messages": [{"role": "user", "content": "And now two pears."}],
                "ground_truth": [{"name": "add", "arguments": {"item": "pear", "quantity": 2}}]}]

Both may be strings of JSON as well. `tools` and `world` may be left out where the caller gives them for all tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.alternatives import require_valid, with_alternatives
from fissile.tasks.task import ExpectedCall, Message, Task, Turn, World
from fissile.tools import Tool

ROLES = ("system", "user", "assistant", "tool")

_TASK_NEEDS = "a task needs 'messages', 'tools' and 'ground_truth'"
_TURN_NEEDS = "a turn needs 'messages' and 'ground_truth'"


class _Given(NamedTuple):
    """What the caller gives to the tasks that do not bring their own."""

    tools: tuple[Tool, ...] = ()
    world: World | None = None


_NOTHING = _Given()


def load_jsonl(path: str | Path, tools: Sequence[Tool] = (), world: World | None = None) -> list[Task]:
    """The tasks of a file with one JSON object a line; blank lines are skipped.

    A task without an `id` gets "<file name without its suffix>:<line>".

    Args:
        path: the file.
        tools: of the tasks without `tools`.
        world: of the tasks without `world`; for those with one, its name and setup where they leave them out.

    Raises:
        DataError: the file or a line cannot be used; the message names file, line and field.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"There is no file {path}. Give the path of a .jsonl file with one task a line.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    records = ((f"{path}:{number}", f"{path.stem}:{number}", line) for number, line in enumerate(lines, 1))
    decoded = ((where, name, _decode(line, where)) for where, name, line in records if line.strip())
    return _tasks(decoded, str(path), _Given(tuple(tools), world))


def load_dataset(name_or_path: str, split: str = "train") -> list[Task]:
    """The tasks of a split of a Hugging Face dataset, or of a local folder that `datasets` can read.

    Columnar files give every row all keys that any row has, with null for the absent ones. So a null in a nested
    column is taken for an absent key; write `arguments` as a string of JSON where a null is meant.

    Raises:
        DataError: the dataset or a row cannot be used; the message names dataset, row and column.
    """
    import datasets  # noqa: PLC0415  (heavy, and rarely needed)

    try:
        rows = datasets.load_dataset(name_or_path, split=split)
    except Exception as error:  # every builder raises its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"The dataset '{name_or_path}', split '{split}', cannot be loaded: {reason} "
            f"Check its name and split, or give the path of a .jsonl file."
        ) from error
    records = (
        (f"{name_or_path}, split {split}, row {index}", f"{split}:{index}", _without_nulls(row))
        for index, row in enumerate(rows)
    )
    return _tasks(records, name_or_path)


def tasks_from_rows(rows: Iterable[Mapping[str, JSON] | Task], source: str = "rows") -> list[Task]:
    """The tasks of rows in memory (of a `datasets.Dataset`, or a list of dicts); tasks pass as they are.

    Raises:
        DataError: a row cannot be used; the message names row and column.
    """
    listed = list(rows)
    given = [row for row in listed if isinstance(row, Task)]
    if len(given) == len(listed):
        return given
    return _tasks(
        ((f"{source}, row {index}", f"{source}:{index}", _without_nulls(row)) for index, row in enumerate(listed)),
        source,
    )


def _tasks(records: Iterable[tuple[str, str, JSON]], source: str, given: _Given = _NOTHING) -> list[Task]:
    """One task for each (where it stands, id to give it, record)."""
    tasks: list[Task] = []
    places: dict[str, str] = {}
    for where, default_id, record in records:
        task = _task(record, where, default_id, source, given)
        if task.id in places:
            raise DataError(f"{where}: the id '{task.id}' is already used by {places[task.id]}. Make the ids unique.")
        places[task.id] = where
        tasks.append(task)
    if not tasks:
        raise DataError(f"{source} holds no tasks.")
    return tasks


def _task(record: JSON, where: str, default_id: str, source: str, given: _Given) -> Task:
    if not isinstance(record, dict):
        _fail(where, "a task must be a JSON object with 'messages', 'tools' and 'ground_truth'")
    try:
        task = Task(
            id=str(record.get("id", default_id)),
            messages=tuple(_message(entry, where) for entry in _list(record, "messages", where)),
            tools=_tools(record, where, given),
            ground_truth=_truth(record, where),
            source=source,
            world=_world(record, where, given),
            later=_later(record, where),
        )
    except DataError as error:
        if str(error).startswith(where):
            raise
        raise DataError(f"{where}: {error}") from None
    if not task.messages:
        _fail(where, "'messages' is empty; a task needs at least the user's message")
    if task.later and task.world is None:
        _fail(where, "'turns' needs a 'world', in which the turns are played, such as {'name': 'python'}")
    for index in range(len(task.turns)):
        _require_valid_truth(task, index, where if index == 0 else _turn(where, index - 1))
    return task


def _tools(record: dict[str, JSON], where: str, given: _Given) -> tuple[Tool, ...]:
    if "tools" not in record and given.tools:
        return given.tools
    return tuple(Tool.from_schema(_decode(schema, where)) for schema in _list(record, "tools", where))


def _truth(record: dict[str, JSON], where: str, needs: str = _TASK_NEEDS) -> tuple[ExpectedCall, ...]:
    return tuple(_expected_call(entry, where) for entry in _list(record, "ground_truth", where, needs))


def _world(record: dict[str, JSON], where: str, given: _Given) -> World | None:
    world = _decode(record.get("world"), where, "world")
    if world is None:
        return given.world
    if not isinstance(world, dict):
        _fail(where, f"'world' must be an object such as {{'name': 'python'}}, not {type(world).__name__}")
    name, setup = (given.world.name, given.world.setup) if given.world is not None else (None, {})
    name, setup = world.get("name", name), _decode(world.get("setup", setup), where, "setup")
    if not isinstance(name, str) or not name:
        _fail(where, "'world' needs a 'name', such as {'name': 'python'}")
    if not isinstance(setup, dict):
        _fail(where, f"the 'setup' of 'world' must be an object, not {type(setup).__name__}")
    unknown = ", ".join(repr(key) for key in world if key not in ("name", "setup"))
    if unknown:
        _fail(where, f"'world' has {unknown}, besides 'name' and 'setup'; what makes its first state goes into 'setup'")
    return World(name, setup)


def _later(record: dict[str, JSON], where: str) -> tuple[Turn, ...]:
    if record.get("turns") is None:
        return ()
    turns = []
    for index, entry in enumerate(_list(record, "turns", where)):
        place = _turn(where, index)
        turn = _decode(entry, place)
        if not isinstance(turn, dict):
            _fail(place, f"a turn must be an object; {_TURN_NEEDS}")
        messages = tuple(_message(message, place) for message in _list(turn, "messages", place, _TURN_NEEDS))
        if not messages:
            _fail(place, "'messages' is empty; a turn needs at least the user's message")
        turns.append(Turn(messages, _truth(turn, place, _TURN_NEEDS)))
    return tuple(turns)


def _turn(where: str, index: int) -> str:
    return f"{where}, turns[{index}]"


def _list(record: dict[str, JSON], column: str, where: str, needs: str = _TASK_NEEDS) -> list[JSON]:
    if column not in record:
        _fail(where, f"'{column}' is missing; {needs}")
    value = _decode(record[column], where, column)
    if not isinstance(value, list):
        _fail(where, f"'{column}' must be a list, not {type(value).__name__}")
    return value


def _message(entry: JSON, where: str) -> Message:
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        _fail(where, "a message must be an object with a 'role' and a text 'content'")
    if entry.get("role") not in ROLES:
        _fail(where, f"a message has the role {entry.get('role')!r}; choose among {', '.join(ROLES)}")
    if entry.get("tool_calls"):
        _fail(where, "a message has 'tool_calls'; write earlier calls into its 'content', in the model's own format")
    return {"role": entry["role"], "content": entry["content"]}


def _expected_call(entry: JSON, where: str) -> ExpectedCall:
    call = entry.get("function", entry) if isinstance(entry, dict) else None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        _fail(where, "a call of 'ground_truth' must be an object with a 'name' and 'arguments'")
    arguments = _decode(call.get("arguments", {}), where, "arguments")
    if not isinstance(arguments, dict):
        _fail(where, f"the 'arguments' of '{call['name']}' must be an object, not {type(arguments).__name__}")
    return with_alternatives(ExpectedCall.exactly(call["name"], arguments), {**entry, **call}, where)


def _require_valid_truth(task: Task, turn: int, where: str) -> None:
    """A truth that its own tool refuses could never be matched: every attempt would fail."""
    posed = task.at_turn(turn)
    unknown = [call.name for call in task.turns[turn].ground_truth if posed.tool(call.name) is None]
    if unknown:
        offered = ", ".join(tool.name for tool in posed.tools) or "none"
        _fail(where, f"the ground truth calls '{unknown[0]}', which is not among the tools ({offered})")
    for expected, call in zip(posed.ground_truth, posed.oracle_calls(), strict=True):
        tool = posed.tool(call.name)
        if tool is not None:
            require_valid(expected, call, tool, where, is_live=task.world is not None)


def _decode(value: JSON, where: str, column: str = "") -> JSON:
    """`value`, decoded if it is a string of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        subject = f"'{column}'" if column else "it"
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        _fail(where, f"{subject} is not JSON: {reason}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _fail(where: str, problem: str) -> NoReturn:
    raise DataError(f"{where}: {problem}.")
