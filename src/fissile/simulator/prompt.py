"""What a simulator is shown of a failure: request, tools, written against wanted, the run-time's words.

The truth stands in the column "wanted". A simulator must know it to say what is wrong; the leak guard sees to it that
its text does not hand it over.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TypeVar

from fissile.calls import JSON, ToolCall, shorten
from fissile.environments.matching import is_default, match_calls, values_match
from fissile.errors import ConfigError
from fissile.feedback import Failure, NoDiagnosis
from fissile.tasks import ExpectedCall, Message, Task
from fissile.tools import Tool

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_REQUEST = 400
"""Characters of the user's last message that are shown."""

MAX_VALUE = 80
"""Characters of a value that are shown."""

MAX_RUNTIME = 300
"""Characters of the run-time's words that are shown."""

MAX_TOOLS = 12
"""Names of other tools that are listed, and choices of an argument."""

MAX_ARGUMENTS = 10
"""Arguments of a tool that are listed; those that were written or are needed come first."""

FIELDS = ("request", "tools", "comparison", "runtime")
"""What a prompt file may use, each as $name."""

NOTHING_SAID = "no objection"
"""In the place of the run-time's words where it has none."""

OK = "ok"
"""In the column "wanted" where the written value is accepted."""

ABSENT = "absent"
"""In a column where there is no such argument."""

_DIVIDER = "---"


@dataclass(frozen=True, slots=True)
class SimulatorPrompt:
    """How a failure is put to a simulator.

    Attributes:
        system: the instructions.
        user: a `string.Template` with the `FIELDS`.
    """

    system: str
    user: Template

    @classmethod
    def named(cls, name: str) -> SimulatorPrompt:
        """A prompt of this package: "learned", short, for a model that is trained on it, or "endpoint"."""
        return cls.from_file(cls.path_of(name))

    @staticmethod
    def path_of(name: str) -> Path:
        """The file of a prompt of this package."""
        return Path(__file__).with_name("prompts") / f"{name}.txt"

    @classmethod
    def from_file(cls, path: str | Path) -> SimulatorPrompt:
        """The user's own prompt: the instructions, a line with `---`, then the question with $request and so on.

        Raises:
            ConfigError: the file cannot be read, or is not of this form.
        """
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The prompt file '{path}' cannot be read: {error}") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, origin: str = "the prompt") -> SimulatorPrompt:
        """See `from_file`."""
        system, divider, user = text.partition(f"\n{_DIVIDER}\n")
        template = Template(user.strip())
        if not divider or not template.template:
            raise ConfigError(f"{origin} needs a line '{_DIVIDER}' between the instructions and the question.")
        unknown = [name for name in template.get_identifiers() if name not in FIELDS]
        if unknown or not template.is_valid():
            used = f"${unknown[0]}" if unknown else "a single $, which is written $$"
            raise ConfigError(f"{origin} uses {used}. Known are {', '.join(f'${name}' for name in FIELDS)}.")
        if not {"comparison"} & set(template.get_identifiers()):
            raise ConfigError(f"{origin} never uses $comparison, so the model would not know what failed. Add it.")
        return cls(system.strip(), template)

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"{self.system}\n{_DIVIDER}\n{self.user.template}\n"

    def messages(self, failure: Failure) -> tuple[Message, ...]:
        """The failure as a conversation of a system and a user message."""
        fields = {
            "request": shorten(_request(failure.task), MAX_REQUEST),
            "tools": "\n".join(_signatures(failure)),
            "comparison": "\n".join(comparison(failure)),
            "runtime": shorten(" / ".join(_runtime(failure)) or NOTHING_SAID, MAX_RUNTIME),
        }
        return (
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user.substitute(fields)},
        )


def put(failure: Failure, into_words: Callable[[Failure], T]) -> T | NoDiagnosis:
    """A failure as a simulator is asked; one that cannot be put into words costs only itself."""
    try:
        return into_words(failure)
    except Exception as error:
        logger.warning("The failure of %s cannot be put to a simulator: %r", failure.task.id, error)
        return NoDiagnosis(type(error).__name__)


def comparison(failure: Failure) -> Iterator[str]:
    """Line by line what was written and what was wanted, call by call and argument by argument."""
    task, calls = failure.task, failure.attempt.calls
    pairing = match_calls(calls, task.ground_truth, task.matching, task.tools)
    wanted = {call: task.ground_truth[truth] for call, truth in pairing.pairs}
    right = {call: task.oracle_calls()[truth] for call, truth in pairing.pairs}
    for index, call in enumerate(calls):
        expected = wanted.get(index)
        name = expected.name if expected else "no call"
        if call.parse_error is not None:
            yield f"{_line(call.text)} | {name}: the text of the call cannot be read"
            continue
        is_right = expected is not None and call.name == expected.name
        yield f"{_line(call.name or '')} | {OK if is_right else name}"
        if expected is not None and is_right:
            yield from _arguments(call, expected, right[index], task)
    if not calls:
        yield f"{_line(failure.attempt.text)} | a tool call" if task.ground_truth else "| no call"
    for truth in pairing.missing:
        yield f"no call | {task.ground_truth[truth].name}"


def _arguments(call: ToolCall, expected: ExpectedCall, right: ToolCall, task: Task) -> Iterator[str]:
    written, oracle = call.arguments or {}, right.arguments or {}
    tool = task.tool(call.name)
    properties = tool.properties if tool else {}
    names = [*written, *(name for name in expected.required if name not in written)]
    for name in names:
        accepted = expected.arguments.get(name)
        shown = _value(written[name]) if name in written else ABSENT
        if accepted is None:
            is_right = task.matching != "bfcl" and is_default(tool, name, written[name])
            yield f"  {_line(name)}: {shown} | {OK if is_right else ABSENT}"
        elif name in written and values_match(written[name], accepted, task.matching):
            yield f"  {_line(name)}: {shown} | {OK}"
        else:
            hint = shorten(" ".join(str(properties.get(name, {}).get("description", "")).split()), MAX_VALUE)
            others = [f"or {_value(value)}" for value in accepted[:1]]
            value = _value(oracle[name]) if name in oracle else " ".join([ABSENT, *others])
            yield f"  {_line(name)}: {shown} | {value}" + (f" # {hint}" if hint else "")


def _signatures(failure: Failure) -> Iterator[str]:
    """The tools that were called or wanted with their arguments, then the names of the others."""
    task = failure.task
    concerned: dict[str, set[str]] = {}
    calls = [(call.name or "", call.arguments or {}) for call in failure.attempt.calls]
    for name, arguments in [*calls, *((call.name, call.arguments) for call in task.ground_truth)]:
        concerned.setdefault(name, set()).update(arguments)
    yield from (_signature(tool, concerned[tool.name]) for tool in task.tools if tool.name in concerned)
    others = [tool.name for tool in task.tools if tool.name not in concerned]
    if others:
        yield "others: " + ", ".join(others[:MAX_TOOLS])


def _signature(tool: Tool, concerned: set[str]) -> str:
    """One line: book(city: string, nights?: integer, view?: "sea" | "garden")."""
    first = [name for name in tool.properties if name in concerned or name in tool.required]
    kept = {*first, *[name for name in tool.properties if name not in first][: max(0, MAX_ARGUMENTS - len(first))]}
    listed = [
        f"{name}{'' if name in tool.required else '?'}: {_type(schema)}"
        for name, schema in tool.properties.items()
        if name in kept
    ]
    rest = ["..."] if len(kept) < len(tool.properties) else []
    return f"{tool.name}({', '.join([*listed, *rest])})"


def _type(schema: JSON) -> str:
    if not isinstance(schema, dict):
        return "any"
    choices = schema.get("enum")
    if choices:
        return " | ".join(_value(choice) for choice in choices[:MAX_TOOLS])
    kind = schema.get("type", "any")
    return kind if isinstance(kind, str) else " | ".join(map(str, kind))


def _runtime(failure: Failure) -> Iterator[str]:
    """What a run-time that does not know the truth says: the world's answers, or parser and schema."""
    if failure.silent:
        return
    failed = failure.attempt.failed_calls
    if failure.answers:
        yield from (_line(answer, MAX_RUNTIME) for index, answer in enumerate(failure.answers) if index in failed)
        return
    for call in failure.attempt.calls[:MAX_TOOLS]:
        if call.parse_error is not None:
            yield f"cannot be parsed: {call.parse_error.reason} (character {call.parse_error.position})"
        elif (tool := failure.task.tool(call.name)) is None:
            yield f"no tool is named '{_line(call.name or '')}'"
        else:
            yield from (error.message for error in tool.validate(call.arguments or {}))
    if failure.attempt.truncated:
        yield "the response reached its length limit"


def _request(task: Task) -> str:
    said = [message["content"] for message in task.messages if message["role"] == "user"]
    return " ".join(said[-1].split()) if said else ""


def _value(value: JSON) -> str:
    return _line(json.dumps(value, ensure_ascii=False))


def _line(text: str, limit: int = MAX_VALUE) -> str:
    return shorten(" ".join(text[: 4 * limit].split()), limit)
