"""Systematic corruptions of right calls, for demonstrated recoveries and for tests.

Each is a mistake that a model makes. A corruption is really wrong: what it yields differs from everything that the
ground truth accepts. Deterministic: the state of the `random.Random` decides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fissile.calls import JSON, ParseError, ToolCall, canonical_json
from fissile.dialects.base import Dialect
from fissile.environments import judge, values_match
from fissile.errors import ErrorKind
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool, json_equal, json_type, part

MAX_POOLED = 4
"""Values of the pool that enter one draw, so that they do not crowd out those of the task itself."""


class Fault(StrEnum):
    """A way to be wrong."""

    DROPPED_ARGUMENT = "dropped_argument"
    RENAMED_ARGUMENT = "renamed_argument"
    EXTRA_ARGUMENT = "extra_argument"
    WRONG_TYPE = "wrong_type"
    WRONG_VALUE = "wrong_value"
    WRONG_TOOL = "wrong_tool"
    UNKNOWN_TOOL = "unknown_tool"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class FaultyCall:
    """A wrong response.

    Attributes:
        fault: what is wrong with it.
        text: the assistant text in the dialect.
        call_index: the corrupted call.
        argument: the argument concerned, as it stands in the schema or, for one that is not there, as it is written;
            None where the fault is the call's.
    """

    fault: Fault
    text: str
    call_index: int
    argument: str | None = None


def corrupt(
    task: Task, dialect: Dialect, rng: random.Random, fault: Fault | None = None, pool: Sequence[JSON] = ()
) -> FaultyCall | None:
    """The right calls of a task with one fault in one of them.

    Args:
        task: the task; its first accepted values make the right calls.
        dialect: writes the text.
        rng: draws the call, the argument and the corruption.
        fault: the kind; None draws one that applies.
        pool: more values for `WRONG_VALUE`, such as those of other tasks.

    Returns:
        None where the fault does not apply: nothing to drop, no other tool, or no right call at all.
    """
    calls = task.oracle_calls()
    for kind in [fault] if fault else rng.sample(list(Fault), len(Fault)):
        for index in rng.sample(range(len(calls)), len(calls)):
            scene = _Scene(task, task.ground_truth[index], calls[index], dialect, rng, tuple(pool))
            for call, argument in _CORRUPTIONS[kind](scene):
                text = dialect.render_calls([*calls[:index], call, *calls[index + 1 :]])
                if judge(task, dialect.parse(text)):
                    return FaultyCall(kind, text, index, argument)
    return None


@dataclass(frozen=True)
class _Scene:
    """One right call that is to be corrupted."""

    task: Task
    expected: ExpectedCall
    call: ToolCall
    dialect: Dialect
    rng: random.Random
    pool: tuple[JSON, ...]

    @property
    def arguments(self) -> dict[str, JSON]:
        """Of the right call."""
        return self.call.arguments or {}

    @property
    def tool(self) -> Tool:
        """Of the right call."""
        tool = self.task.tool(self.expected.name)
        assert tool is not None, "a task's truth calls only tools that it offers"
        return tool

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        """`items` in a drawn order."""
        return self.rng.sample(list(items), len(items))

    def accepts(self, argument: str, value: JSON) -> bool:
        """True where the truth of any call to this tool accepts the value."""
        truths = [call.arguments for call in self.task.ground_truth if call.name == self.expected.name]
        return any(values_match(value, truth.get(argument, []), self.task.matching) for truth in truths)

    def violations(self, argument: str, value: JSON) -> set[ErrorKind]:
        """What the schema says to the value."""
        errors = self.tool.validate({**self.arguments, argument: value})
        return {error.kind for error in errors if error.argument and error.argument.startswith(argument)}

    def with_arguments(self, arguments: dict[str, JSON]) -> ToolCall:
        """The call with other arguments."""
        return ToolCall.of(self.expected.name, arguments)


Corrupted = Iterator[tuple[ToolCall, str | None]]
"""Corrupted calls in a drawn order, each with the argument concerned."""


def _dropped_argument(scene: _Scene) -> Corrupted:
    for argument in scene.shuffled(scene.expected.required):
        yield scene.with_arguments(_without(scene.arguments, argument)), argument


def _renamed_argument(scene: _Scene) -> Corrupted:
    for argument in scene.shuffled(list(scene.arguments)):
        for name in scene.shuffled(list(_misspelled(argument))):
            if not scene.tool.takes(name) and name not in scene.arguments:
                renamed = {name if key == argument else key: value for key, value in scene.arguments.items()}
                yield scene.with_arguments(renamed), name


_STRAY_ARGUMENTS: dict[str, JSON] = {"verbose": True, "limit": 10, "language": "en", "format": "json", "options": {}}


def _extra_argument(scene: _Scene) -> Corrupted:
    """An argument of another offered tool, or one that tools often take."""
    others = {
        name: value
        for tool in scene.task.tools
        for name, schema in tool.properties.items()
        if (value := _plausible(schema, scene)) is not None
    }
    candidates = scene.shuffled(list(others.items())) + scene.shuffled(list(_STRAY_ARGUMENTS.items()))
    for name, value in candidates:
        if not scene.tool.takes(name):
            yield scene.with_arguments({**scene.arguments, name: value}), name


def _wrong_type(scene: _Scene) -> Corrupted:
    for argument in scene.shuffled(list(scene.arguments)):
        for value in scene.shuffled(list(_retyped(scene.arguments[argument]))):
            if ErrorKind.WRONG_TYPE in scene.violations(argument, value) and not scene.accepts(argument, value):
                yield scene.with_arguments({**scene.arguments, argument: value}), argument


def _wrong_value(scene: _Scene) -> Corrupted:
    for argument in scene.shuffled(list(scene.arguments)):
        schema = scene.tool.properties.get(argument, {})
        for value in _alternatives(scene.arguments[argument], schema, scene):
            if not scene.accepts(argument, value) and not scene.violations(argument, value):
                yield scene.with_arguments({**scene.arguments, argument: value}), argument


def _wrong_tool(scene: _Scene) -> Corrupted:
    """Another offered tool with values for what it requires."""
    for tool in scene.shuffled([tool for tool in scene.task.tools if tool.name not in scene.task.functions]):
        values = {
            name: scene.arguments.get(name, _plausible(tool.properties.get(name, {}), scene)) for name in tool.required
        }
        yield ToolCall.of(tool.name, {name: value for name, value in values.items() if value is not None}), None


def _unknown_tool(scene: _Scene) -> Corrupted:
    for name in scene.shuffled(list(_misspelled(scene.expected.name))):
        if scene.task.tool(name) is None:
            yield ToolCall.of(name, scene.arguments), None


def _malformed(scene: _Scene) -> Corrupted:
    """The call as the dialect writes it, broken so that the dialect cannot read it."""
    (written,) = scene.dialect.parse(scene.dialect.render_calls([scene.call])).calls
    for text in scene.shuffled(list(_broken(written.text, scene.rng))):
        call = ToolCall(None, None, text, parse_error=ParseError("broken on purpose", 0))
        if not all(read.is_well_formed for read in scene.dialect.parse(scene.dialect.render_calls([call])).calls):
            yield call, None


_CORRUPTIONS: dict[Fault, Callable[[_Scene], Corrupted]] = {
    Fault.DROPPED_ARGUMENT: _dropped_argument,
    Fault.RENAMED_ARGUMENT: _renamed_argument,
    Fault.EXTRA_ARGUMENT: _extra_argument,
    Fault.WRONG_TYPE: _wrong_type,
    Fault.WRONG_VALUE: _wrong_value,
    Fault.WRONG_TOOL: _wrong_tool,
    Fault.UNKNOWN_TOOL: _unknown_tool,
    Fault.MALFORMED: _malformed,
}


def _without(arguments: dict[str, JSON], name: str) -> dict[str, JSON]:
    return {key: value for key, value in arguments.items() if key != name}


def _broken(text: str, rng: random.Random) -> Iterator[str]:
    """`text` cut off, without its last bracket, in single quotes, with a trailing comma, or without one quote."""
    yield text[: rng.randint(len(text) // 2, max(len(text) - 2, 0))]
    yield text[:-1]
    yield text.replace('"', "'")
    yield f"{text[:-1]},{text[-1:]}"
    quotes = [at for at, letter in enumerate(text) if letter == '"']
    if quotes:
        lost = rng.choice(quotes)
        yield text[:lost] + text[lost + 1 :]


def _misspelled(name: str) -> Iterator[str]:
    """Names that a model could take for `name`."""
    head, *tail = re.split(r"[_.]", name)
    yield head + "".join(part.capitalize() for part in tail) if tail else f"{name}_value"
    yield name[:-1] if name.endswith("s") else f"{name}s"
    yield re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
    yield name.replace(".", "_") if "." in name else f"get_{name}"
    if len(name) > 3:
        yield name[: len(name) // 2] + name[len(name) // 2 + 1 :]


def _retyped(value: JSON) -> Iterator[JSON]:
    """The same content in another JSON type."""
    match value:
        case bool():
            yield from (str(value).lower(), int(value))
        case int() | float():
            yield from (str(value), [value])
        case str():
            yield from ([value], {"value": value}, len(value))
        case list():
            yield from (", ".join(map(str, value)), value[0] if value else "")
        case _:
            yield canonical_json(value)


def _alternatives(value: JSON, schema: dict[str, JSON], scene: _Scene) -> list[JSON]:
    """Plausible values of the same type in a drawn order; some may be right by accident."""
    same_type = [other for other in scene.pool if json_type(other) == json_type(value)]
    enum = [choice for choice in schema.get("enum", ()) if not json_equal(choice, value)]
    if enum:
        return scene.shuffled(enum)
    others: list[JSON] = [other for other in scene.arguments.values() if json_type(other) == json_type(value)]
    match value:
        case bool():
            others = [not value]
        case int() | float():
            others += [value + 1, value - 1, value * 10, -value]
            others += [type(value)(number) for number in _numbers(scene.task)]
        case str():
            others += _phrases(scene.task)
        case list():
            others += [value[:-1], [*value, *value[-1:]], value[::-1], *_altered_items(value, schema, scene)]
        case dict():
            others += _altered_fields(value, schema, scene)
    return scene.shuffled(others + scene.rng.sample(same_type, min(len(same_type), MAX_POOLED)))


def _altered_items(items: list[JSON], schema: dict[str, JSON], scene: _Scene) -> Iterator[JSON]:
    for at, item in enumerate(items):
        for other in _alternatives(item, part(schema, str(at)), scene)[:2]:
            yield [*items[:at], other, *items[at + 1 :]]


def _altered_fields(fields: dict[str, JSON], schema: dict[str, JSON], scene: _Scene) -> Iterator[JSON]:
    for key, inner in fields.items():
        for other in _alternatives(inner, part(schema, key), scene)[:2]:
            yield {**fields, key: other}


def _plausible(schema: dict[str, JSON], scene: _Scene) -> JSON:
    """A value that the schema is likely to allow, taken from the conversation; None if there is none."""
    plausible: dict[str, Callable[[], JSON]] = {
        "string": lambda: scene.rng.choice(_phrases(scene.task) or ["default"]),
        "integer": lambda: scene.rng.choice(_numbers(scene.task) or [1]),
        "number": lambda: scene.rng.choice(_numbers(scene.task) or [1]),
        "boolean": lambda: True,
        "array": lambda: [item] if (item := _plausible(schema.get("items", {}), scene)) is not None else [],
        "object": dict,
    }
    if schema.get("enum"):
        return scene.rng.choice(schema["enum"])
    kind = schema.get("type")
    kind = next((name for name in kind if name != "null"), None) if isinstance(kind, list) else kind
    return plausible[kind]() if isinstance(kind, str) and kind in plausible else None


def _user_text(task: Task) -> str:
    return "\n".join(message["content"] for message in task.messages if message["role"] == "user")


def _phrases(task: Task) -> list[str]:
    """Runs of capitalised words and single longer words of the user's, in order."""
    return list(dict.fromkeys(re.findall(r"[A-Z]\w+(?: [A-Z]\w+)*|\b\w{4,}\b", _user_text(task))))


def _numbers(task: Task) -> list[int]:
    """Whole numbers that the user wrote, in order."""
    return list(dict.fromkeys(int(digits) for digits in re.findall(r"\b\d{1,9}\b", _user_text(task))))
