"""One episode's instances, and the calls that run on them: bounded, typed errors, nothing shared, never raising."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from fissile.calls import JSON, ToolResult, shorten
from fissile.environments.bfcl.instances import fresh, methods, plain_copy
from fissile.environments.bfcl.refusals import Asked, cut, too_costly
from fissile.environments.bfcl.result_texts import Answered, domain_error, result_text
from fissile.environments.bfcl.shared import guarded
from fissile.errors import DataError, ErrorKind, ToolError
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl_multi_turn import DOC_FILES, class_tools
from fissile.tools import Tool

Arguments = Mapping[str, JSON]

MAX_QUOTED = 300
"""Characters of an answer or a name that a typed error repeats."""

FORBIDDEN = frozenset({"kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run"})
"""Names that the official executor refuses by a message of its own."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a first state is made from; JSON text, since reading it is the fastest copy.

    Attributes:
        classes: the involved classes.
        config: class to its initial configuration, as JSON text.
        long_context: with the padding of that category.
    """

    classes: tuple[str, ...]
    config: str
    long_context: bool

    @classmethod
    def of(cls, task: Task) -> Scenario:
        """The scenario of a task.

        Raises:
            DataError: the task is not one of this world.
        """
        if task.world is None or task.world.name != "bfcl":
            raise DataError(f"Task '{task.id}' has no BFCL world. Load it with load_bfcl_multi_turn.")
        setup = task.world.setup
        try:
            scenario = cls(tuple(setup["classes"]), json.dumps(setup["initial_config"]), bool(setup["long_context"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"Task '{task.id}': the setup of its world cannot be used ({error!r}).") from error
        for name in scenario.classes:
            if name not in DOC_FILES:
                raise DataError(f"Task '{task.id}': no class of BFCL's world is named '{name}'.")
        return scenario


class Session:
    """Instances of the official classes, from a scenario's first state on.

    Attributes:
        instances: by class name.

    Raises:
        DataError: the scenario's configuration does not fit its classes.
    """

    def __init__(self, scenario: Scenario) -> None:
        try:
            self.instances = fresh(scenario.classes, json.loads(scenario.config), scenario.long_context)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"The initial configuration of a task does not fit its classes ({error!r}).") from error

    def run(self, name: str, arguments: Arguments, index: int = 0) -> ToolResult:
        """Run one call. Whatever the arguments, the answer is a result.

        Args:
            name: the function; only public functions of the involved classes exist.
            arguments: JSON values; the functions get copies.
            index: the place of the call in its attempt.
        """
        method = methods().get(name)
        instance = self.instances.get(method.class_name) if method else None
        if method is None or instance is None:
            return _unknown(name, index)
        reason = too_costly(Asked(name, arguments, instance))
        if reason is not None:
            return refused(name, reason, index)
        try:
            with guarded(name):
                result = getattr(instance, name)(**plain_copy({**method.mutable_defaults, **arguments}))
                text = result_text(result)
            message = domain_error(Answered(name, arguments, result, instance))
        except Exception as error:  # a function may raise anything on arguments that it does not expect
            return _raised(name, arguments, error, index)
        if message is None:
            return ToolResult(cut(text), index)
        failure = ToolError(ErrorKind.DOMAIN_ERROR, shorten(message, MAX_QUOTED), index, name)
        return ToolResult(cut(text), index, failure)


def refused(name: str, reason: str, index: int) -> ToolResult:
    """The answer to a call that is not run, because of its size or cost."""
    name = shorten(name, MAX_QUOTED)
    message = f"{name}() was not run: {reason}."
    return ToolResult(f"Error during execution: {message}", index, ToolError(ErrorKind.TIMEOUT, message, index, name))


def _unknown(name: str, index: int) -> ToolResult:
    name = shorten(name, MAX_QUOTED)
    text = f"Function call {name} is not allowed." if name in FORBIDDEN else f"name '{name}' is not defined"
    error = ToolError(ErrorKind.UNKNOWN_TOOL, f"no tool is named '{name}'.", index, name)
    return ToolResult(f"Error during execution: {text}", index, error)


def _raised(name: str, arguments: Arguments, exception: Exception, index: int) -> ToolResult:
    """The answer where the function raised: the official text, and what the signature and the schema say of it."""
    text = cut(f"Error during execution: {exception}")
    return ToolResult(text, index, _binding_error(name, arguments, index) or _type_error(name, arguments, text, index))


def _binding_error(name: str, arguments: Arguments, index: int) -> ToolError | None:
    """The first argument that the function does not take, or lacks: Python does not run it then."""
    method = methods()[name]
    for argument in (shorten(argument, MAX_QUOTED) for argument in arguments):
        if argument not in method.accepted:
            given = f"an unexpected argument '{argument}'" if argument else "an argument without a name"
            message = f"{name}() got {given}."
            return ToolError(ErrorKind.UNEXPECTED_ARGUMENT, message, index, name, argument)
    for argument in method.required:
        if argument not in arguments:
            message = f"{name}() is missing the required argument '{argument}'."
            return ToolError(ErrorKind.MISSING_ARGUMENT, message, index, name, argument)
    return None


def _type_error(name: str, arguments: Arguments, text: str, index: int) -> ToolError:
    """The argument of a wrong type, where the function's schema knows one; else the exception."""
    violations = _tools()[name].validate(dict(arguments), index)
    wrong = next((violation for violation in violations if violation.kind is ErrorKind.WRONG_TYPE), None)
    return wrong or ToolError(ErrorKind.EXCEPTION, shorten(text, MAX_QUOTED), index, name)


@cache
def _tools() -> Mapping[str, Tool]:
    return {tool.name: tool for name in DOC_FILES for tool in class_tools(name)}


def first_values(call: ExpectedCall) -> dict[str, JSON]:
    """The arguments of a call of the truth: the first accepted value of each."""
    return {name: values[0] for name, values in call.arguments.items()}
