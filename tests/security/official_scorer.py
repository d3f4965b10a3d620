"""The official scorer on exported files: its decoder, and its multi-turn checker.

The module of the decoder imports vendors' clients, so its functions are taken from the source, unchanged.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from benchmarks.official_checker import checker

from fissile import assets
from fissile.environments.bfcl import function_names
from fissile.tasks import Task

DECODER = frozenset(
    {
        "ast_parse",
        "resolve_ast_call",
        "resolve_ast_by_type",
        "default_decode_execute_prompting",
        "parse_nested_value",
        "decoded_output_to_execution_list",
    }
)

Decoder = Callable[[str], list[str]]
"""A response to the calls that the executor evaluates."""


class _ReturnFormat(Enum):
    PYTHON = "python"


@cache
def decoder() -> Decoder:
    """`bfcl_eval.model_handler.utils.default_decode_execute_prompting`."""
    path = assets.bfcl_path() / "bfcl_eval" / "model_handler" / "utils.py"
    module = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name in DECODER]
    assert {function.name for function in functions} == DECODER
    names: dict[str, Any] = {"ast": ast, "ReturnFormat": _ReturnFormat}
    exec(compile(ast.Module(functions, []), str(path), "exec"), names)
    decode: Decoder = names["default_decode_execute_prompting"]
    return decode


def official_score(task: Task, line: str) -> tuple[bool, str]:
    """Whether a line of a result file is right, and its error type, as `_evaluate_single_multi_turn_entry` says."""
    result, truth = json.loads(line)["result"], task.reference["ground_truth"]
    if len(result) != len(truth):
        return False, "force_terminated"
    verdict = checker()(
        [[calls for step in turn if (calls := decoded(step))] for turn in result], truth, task.reference["entry"]
    )
    return verdict["valid"], verdict.get("error_type", "").removeprefix("multi_turn:")


def decoded(response: str) -> list[str]:
    """The calls of a response; none where the decoder fails, as the scorer has it."""
    try:
        return decoder()(response)
    except Exception:
        return []


@dataclass(frozen=True)
class OwnCalls:
    """What a canary expects of the scorer: it compiles what it is told, and runs the world's functions.

    Attributes:
        task: whose functions those are.
    """

    task: Task

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "compile":
            return True
        if event == "object.__setattr__":
            return bool(arguments[1] == "__defaults__")  # of `post_tweet`, which our own `checker` sets back
        if event == "open":
            return arguments[:2] == ("<string>", "rb")  # where Python looks for the line of a syntax error
        if event != "exec":
            return False
        (code,) = arguments
        names = {name for name in code.co_names if not name.startswith("fissile_")}
        inner = [constant for constant in code.co_consts if isinstance(constant, type(code))]
        return code.co_filename == "<string>" and not inner and names <= self._known

    @property
    def _known(self) -> frozenset[str]:
        return function_names(self.task) | {"invalid_call", "json", "loads"}
