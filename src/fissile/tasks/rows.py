"""What a row holds, be it a line of a file, of a dataset or in memory: all are read alike.

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

`messages`, `tools`, `ground_truth` and `arguments` may each be a string of JSON, which is the way to keep them intact
in a columnar dataset. What else messages may hold: `fissile.tasks.messages`; what a null means: `fissile.tasks.nulls`.

Other names are read, too: `prompt` or `conversations` for `messages`; `system` for a system message before them; and
where there is no `ground_truth`, the calls of the assistant's last message, at the end of `messages` or as
`completion`.

A task that is played in a live world adds the world, and the user's later turns:

     "world": {"name": "python", "setup": {"arguments": {"items": {"apple": 3}}}},
     "turns": [{"messages": [{"role": "user", "content": "And now two pears."}],
                "ground_truth": [{"name": "add", "arguments": {"item": "pear", "quantity": 2}}]}]

A turn holds nothing else. Both may be strings of JSON as well. `tools` and `world` may be left out where the caller
gives them for all tasks.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from fissile.calls import JSON
from fissile.errors import DataError
from fissile.tasks.alternatives import refuse_alternatives, require_valid, with_alternatives
from fissile.tasks.messages import Remarks, call_of, read_arguments, read_messages, require_open_end
from fissile.tasks.nulls import Census, decoded, read_json, schema_without_nulls, without_fillers, without_null_keys
from fissile.tasks.task import ExpectedCall, Message, Task, Turn, World
from fissile.tools import Tool

_TASK_NEEDS = "a task needs 'messages', 'tools' and 'ground_truth'"
_TURN_NEEDS = "a turn needs 'messages' and 'ground_truth'"
_NAMES_OF_MESSAGES = ("messages", "prompt", "conversations")
COLUMNS = ("id", *_NAMES_OF_MESSAGES, "system", "tools", "ground_truth", "completion", "world", "turns")
"""What of a row is read."""
_OF_A_TURN = ("messages", "ground_truth")
_MEANT = {"system_prompt": "'system'", "environment": "'world'"}


class Given(NamedTuple):
    """What the caller gives to the tasks that do not bring their own."""

    tools: tuple[Tool, ...] = ()
    world: World | None = None


class Row(NamedTuple):
    """A record, where it stands, and the id to give it; or why it cannot be read at all."""

    where: str
    name: str
    record: JSON
    fault: str = ""


def unread(record: JSON) -> Iterator[tuple[str, str]]:
    """The columns of a row that make no part of its task, and where what they hold would be read; "" if unclear."""
    for column in without_null_keys(record).keys() - set(COLUMNS) if isinstance(record, dict) else ():
        near = difflib.get_close_matches(column.casefold(), COLUMNS, n=1, cutoff=0.8)
        yield column, _MEANT.get(column.casefold(), f"'{near[0]}'" if near else "")


def row_of_text(where: str, name: str, line: str) -> Row:
    """The row of a line of JSON."""
    try:
        return Row(where, name, read_json(line))
    except DataError as error:
        return Row(where, name, None, f"{where}: {error}.")


@dataclass
class RowReader:
    """Reads the rows of one source."""

    source: str  # its name
    given: Given  # for the tasks that do not bring their own
    remarks: Remarks  # counts what is left out
    truths: Census = field(default_factory=Census)  # the keys of the arguments that the truths hold as objects
    history: Census = field(default_factory=Census)  # the keys of the arguments of earlier calls, in messages
    setups: Census = field(default_factory=Census)  # the keys of the worlds' setups

    def count(self, record: JSON) -> None:
        """Take a record into account for what its nulls may mean."""
        if not isinstance(record, dict):
            return
        turns = decoded(record.get("turns"))
        for holder in (record, *(map(decoded, turns) if isinstance(turns, list) else ())):
            for arguments in _arguments(holder, "ground_truth"):
                self.truths.count(arguments)
        for column in (*_NAMES_OF_MESSAGES, "completion"):
            for message in _entries(record, column):
                for arguments in _arguments(message, "tool_calls"):
                    self.history.count(arguments)
        world = record.get("world")
        if isinstance(world, dict) and isinstance(world.get("setup"), dict):
            self.setups.count(world["setup"])

    def task(self, row: Row) -> Task:
        """The task of a row. Raises DataError: it is none; the message says where it stands."""
        with _at(row.where):
            if not isinstance(row.record, dict):
                raise DataError("a task must be a JSON object with 'messages', 'tools' and 'ground_truth'")
            record = without_null_keys(row.record)
            tools = self._tools(record)
            messages, truth = self._opening(record, tools)
            task = Task(
                id=str(record.get("id", row.name)),
                messages=messages,
                tools=tools,
                ground_truth=truth,
                source=self.source,
                world=self._world(record),
                later=self._later(record, row.where, tools),
            )
            if task.later and task.world is None:
                raise DataError("'turns' needs a 'world', in which the turns are played, such as {'name': 'python'}")
            for holder in (record, *map(decoded, _entries(record, "turns"))) if task.world is not None else ():
                refuse_alternatives(_entries(holder, "ground_truth"))
        for index in range(len(task.turns)):
            with _at(row.where if index == 0 else _turn(row.where, index - 1)):
                _require_valid_truth(task, index)
        return task

    def _opening(
        self, record: dict[str, JSON], tools: Sequence[Tool]
    ) -> tuple[tuple[Message, ...], tuple[ExpectedCall, ...]]:
        """The messages and the truth of the first turn, under whatever names they stand."""
        given = [name for name in _NAMES_OF_MESSAGES if name in record]
        if len(given) > 1:
            raise DataError(f"'{given[0]}' and '{given[1]}' both hold the conversation; keep one of them")
        column = given[0] if given else "messages"
        if column == "prompt" and isinstance(record["prompt"], str) and not record["prompt"].lstrip().startswith("["):
            record = {**record, "prompt": [{"role": "user", "content": record["prompt"]}]}
        settle = partial(self._settled, tools)
        messages = list(read_messages(_list(record, column), self.remarks, settle))
        if not messages:
            raise DataError(f"'{column}' is empty; a task needs at least the user's message")
        if "system" in record and record["system"] not in ("", []):
            if messages[0]["role"] == "system":
                raise DataError(f"'system' and the first of '{column}' are both a system message; keep one of them")
            messages[:0] = read_messages([{"role": "system", "content": record["system"]}], self.remarks)
        if "ground_truth" in record:
            truth = self._truth(record, tools)
            if "completion" in record:
                self.remarks["'completion' is left out: 'ground_truth' is the truth"] += 1
        else:
            completion = read_json(record.get("completion", []), "completion")
            answer = list(read_messages(completion, self.remarks, settle)) if isinstance(completion, list) else []
            answer = answer or ([messages.pop()] if messages[-1]["role"] == "assistant" else [])
            calls = answer[0].get("tool_calls", []) if len(answer) == 1 else []
            if not calls:
                instead = _WITHOUT_TRUTH if answer or completion else ""
                raise DataError(f"'ground_truth' is missing; {_TASK_NEEDS}{instead}")
            truth = tuple(self._expected_call(call, tools) for call in calls)
        if not messages:
            raise DataError(f"'{column}' holds the right calls alone; a task needs the user's message before them")
        require_open_end(messages)
        return tuple(messages), truth

    def _tools(self, record: dict[str, JSON]) -> tuple[Tool, ...]:
        if "tools" not in record and self.given.tools:
            return self.given.tools
        schemas = [schema_without_nulls(read_json(schema)) for schema in _list(record, "tools")]
        return tuple(Tool.from_schema(schema) for schema in schemas)

    def _truth(
        self, record: dict[str, JSON], tools: Sequence[Tool], needs: str = _TASK_NEEDS
    ) -> tuple[ExpectedCall, ...]:
        return tuple(self._expected_call(entry, tools) for entry in _list(record, "ground_truth", needs))

    def _expected_call(self, entry: JSON, tools: Sequence[Tool]) -> ExpectedCall:
        try:
            name, given = call_of(entry)
        except DataError as error:
            raise DataError(str(error).replace("a call must", "a call of 'ground_truth' must")) from None
        call = with_alternatives(ExpectedCall.exactly(name, read_arguments(name, given)), entry)
        tool = next((tool for tool in tools if tool.name == name), None)
        return call if tool is None else self._without_fillers(call, tool, isinstance(given, dict))

    def _without_fillers(self, call: ExpectedCall, tool: Tool, as_object: bool) -> ExpectedCall:
        """The call with its nulls settled: those that stand for absent keys are left out, and counted.

        Where the schema admits null and the rows do not tell whether it was meant, both are right.
        """
        kept, dropped = without_fillers({name: values[0] for name, values in call.arguments.items()}, tool)
        self.remarks += Counter({_DROPPED: dropped})
        settled = {name: [value, *call.arguments[name][1:]] for name, value in kept.items()}
        optional = set(call.optional)
        for name, value in kept.items() if as_object else ():
            if value is None and self.truths.may_fill(name) and name not in tool.required:
                optional.add(name)
                self.remarks[_DOUBTFUL] += 1
            elif value is not None:
                fewer, count = self.truths.filled.get(name, _UNKNOWN).without_fillers(value)
                settled[name] += [fewer] if count else []
                self.remarks += Counter({_DOUBTFUL: count})
        return replace(call, arguments=settled, optional=frozenset(optional))

    def _settled(self, tools: Sequence[Tool], name: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
        """The arguments of an earlier call without the nulls that stand for absent keys, counted."""
        tool = next((tool for tool in tools if tool.name == name), None)
        kept, dropped = (arguments, 0) if tool is None else without_fillers(arguments, tool)
        settled, more = self.history.without_fillers(kept)
        self.remarks += Counter({_DROPPED_EARLIER: dropped + more})
        return dict(settled)

    def _world(self, record: dict[str, JSON]) -> World | None:
        world = read_json(record.get("world"), "world")
        given = self.given.world
        if world is None:
            return given
        if not isinstance(world, dict):
            raise DataError(f"'world' must be an object such as {{'name': 'python'}}, not {type(world).__name__}")
        world = without_null_keys(world)
        name, setup = (given.name, given.setup) if given is not None else (None, {})
        name, setup = world.get("name", name), read_json(world.get("setup", setup), "setup")
        if not isinstance(name, str) or not name:
            raise DataError("'world' needs a 'name', such as {'name': 'python'}")
        if not isinstance(setup, dict):
            raise DataError(f"the 'setup' of 'world' must be an object, not {type(setup).__name__}")
        if unknown := ", ".join(repr(key) for key in world if key not in ("name", "setup")):
            what = f"'world' has {unknown}, besides 'name' and 'setup'"
            raise DataError(f"{what}; what makes its first state goes into 'setup'")
        if isinstance(record["world"], dict) and isinstance(world.get("setup"), dict):
            setup, dropped = self.setups.without_fillers(setup)
            self.remarks += Counter({_DROPPED_SETUP: dropped})
        return World(name, setup)

    def _later(self, record: dict[str, JSON], where: str, tools: Sequence[Tool]) -> tuple[Turn, ...]:
        turns = []
        for index, entry in enumerate(_list(record, "turns") if "turns" in record else ()):
            with _at(_turn(where, index)):
                turns.append(self._later_turn(read_json(entry), tools))
        return tuple(turns)

    def _later_turn(self, turn: JSON, tools: Sequence[Tool]) -> Turn:
        if not isinstance(turn, dict):
            raise DataError(f"a turn must be an object; {_TURN_NEEDS}")
        turn = without_null_keys(turn)
        if other := next((repr(key) for key in turn if key not in _OF_A_TURN), ""):
            raise DataError(f"a turn holds 'messages' and 'ground_truth' alone, not {other}; the rest is the row's")
        messages = read_messages(_list(turn, "messages", _TURN_NEEDS), self.remarks)
        if not messages:
            raise DataError("'messages' is empty; a turn needs at least the user's message")
        if strange := next((one["role"] for one in messages if one["role"] in ("assistant", "tool")), None):
            raise DataError(f"'messages' has the role '{strange}'; a later turn holds what the user says next")
        return Turn(messages, self._truth(turn, tools, _TURN_NEEDS))


_UNKNOWN = Census()

_DROPPED = (
    "null arguments of the truth are left out, because their tools' schemas do not admit null: such a null stands for "
    "an absent key"
)
_DOUBTFUL = (
    "null arguments of the truth are admitted by their schemas, and may as well stand for absent keys, since every "
    "call of these rows has them: null and absence both count as right; write 'arguments' as JSON text to tell them "
    "apart"
)
_DROPPED_EARLIER = (
    "null arguments of earlier calls are left out: the schema does not admit them, or every call of these rows has "
    "them, as columnar storage writes it"
)
_DROPPED_SETUP = (
    "nulls in 'world.setup' are left out, since every row has their keys, as columnar storage writes it; write 'setup' "
    "as JSON text where null is meant"
)
_WITHOUT_TRUTH = "; without it the one message behind the conversation must make the right calls, in 'tool_calls'"


def _entries(holder: JSON, column: str) -> list[JSON]:
    """What a column lists; nothing where it cannot be read."""
    listed = decoded(holder.get(column)) if isinstance(holder, dict) else None
    return listed if isinstance(listed, list) else []


def _arguments(holder: JSON, column: str) -> Iterator[dict[str, JSON]]:
    """The arguments, where they are objects, of the calls that a column lists."""
    for entry in _entries(holder, column):
        try:
            _, arguments = call_of(entry)
        except DataError:
            continue
        if isinstance(arguments, dict):
            yield arguments


def _turn(where: str, index: int) -> str:
    return f"{where}, turns[{index}]"


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say where it is that something is wrong, once."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(where):
            raise
        raise DataError(f"{where}: {str(error).removesuffix('.')}.") from None


def _list(record: dict[str, JSON], column: str, needs: str = _TASK_NEEDS) -> list[JSON]:
    if column not in record:
        raise DataError(f"'{column}' is missing; {needs}")
    value = read_json(record[column], column)
    if not isinstance(value, list):
        raise DataError(f"'{column}' must be a list, not {type(value).__name__}")
    return value


def _require_valid_truth(task: Task, turn: int) -> None:
    """A truth that its own tool refuses could never be matched: every attempt would fail."""
    posed = task.at_turn(turn)
    unknown = [call.name for call in task.turns[turn].ground_truth if posed.tool(call.name) is None]
    if unknown:
        offered = ", ".join(tool.name for tool in posed.tools) or "none"
        raise DataError(f"the ground truth calls '{unknown[0]}', which is not among the tools ({offered})")
    for expected, call in zip(posed.ground_truth, posed.oracle_calls(), strict=True):
        if (tool := posed.tool(call.name)) is not None:
            require_valid(expected, call, tool)
