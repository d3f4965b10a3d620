"""The official BFCL checker of single-turn calls, as a verdict over parsed calls.

The checker (`bfcl_eval.eval_checker.ast_eval.ast_checker`) runs from the cached asset, unchanged. Two things are kept
away from it: its package's import side effects (vendor clients, folders created in site-packages), by importing it
under a stub of the package that lives only as long as the import; and raw model text, since the official decoder
evaluates parts of it. It sees JSON values that our parser made.
"""

from __future__ import annotations

import copy
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from fissile import assets
from fissile.calls import JSON, ToolCall
from fissile.errors import DataError
from fissile.tasks import Task

_PACKAGE = "bfcl_eval"
_MODEL = "fissile"
"""The name under which the checker looks up the one fact it wants of a model: dots in names are not underscores."""


@dataclass(frozen=True, slots=True)
class ASTVerdict:
    """What the official checker says.

    Attributes:
        valid: the calls are right.
        error_type: its key for what is wrong ("value_error:string", ...), "malformed_call" for a call that it was not
            shown, "checker_exception" where it raised; "" when valid.
        message: its explanation, "" when valid. **It quotes the accepted values: never show it to a policy.**
    """

    valid: bool
    error_type: str = ""
    message: str = ""


def official_verdict(task: Task, calls: Sequence[ToolCall]) -> ASTVerdict:
    """The official verdict on the calls of one response.

    Args:
        task: a task of `load_bfcl`.
        calls: the parsed calls in order; a malformed one makes the response invalid, as it does officially.

    Raises:
        DataError: the task carries no BFCL reference.
        AssetError: the asset cannot be fetched.
    """
    if not {"function", "possible_answer", "category"} <= task.reference.keys():
        raise DataError(f"Task '{task.id}' has no BFCL reference. The official verdict is for tasks of load_bfcl.")
    for call in calls:
        if not call.is_well_formed:
            return ASTVerdict(False, "malformed_call", call.parse_error.reason if call.parse_error else "")
    check = _checker()
    try:
        verdict = check(task.reference, [{call.name: copy.deepcopy(call.arguments)} for call in calls])
    except Exception as error:  # values that the checker did not expect: a list of non-objects, a huge integer, ...
        return ASTVerdict(False, "checker_exception", f"{type(error).__name__}: {error}")
    if verdict["valid"]:
        return ASTVerdict(True)
    return ASTVerdict(False, verdict["error_type"], "\n".join(map(str, verdict["error"])))


def is_valid(task: Task, calls: Sequence[ToolCall]) -> bool:
    """Whether `official_verdict` accepts the calls."""
    return official_verdict(task, calls).valid


Checker = Callable[[dict[str, Any], list[dict[str | None, JSON]]], dict[str, Any]]
"""(a task's reference, one {name: arguments} for each call) to the checker's own verdict."""


@cache
def _checker() -> Checker:
    """The official function, imported from the asset."""
    with private_package(assets.bfcl_path() / _PACKAGE):
        module = importlib.import_module(f"{_PACKAGE}.eval_checker.ast_eval.ast_checker")

    def check(reference: dict[str, Any], output: list[dict[str | None, JSON]]) -> dict[str, Any]:
        verdict: dict[str, Any] = module.ast_checker(
            reference["function"],
            output,
            reference["possible_answer"],
            module.Language.PYTHON,
            reference["category"],
            _MODEL,
        )
        return verdict

    return check


_import_lock = threading.Lock()


@contextmanager
def private_package(folder: Path) -> Iterator[None]:
    """Inside the block `bfcl_eval` is the package at `folder`, with a stub in the place of its model table.

    `bfcl_eval.constants.model_config` imports every vendor's client; the checker needs one flag of it. Afterwards
    `sys.modules` holds what it held before, an installed `bfcl_eval` included.
    """
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    table = ModuleType(f"{_PACKAGE}.constants.model_config")
    table.MODEL_CONFIG_MAPPING = {_MODEL: SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    with _import_lock:
        before = _take_modules()
        sys.modules.update({_PACKAGE: package, table.__name__: table})
        try:
            yield
        finally:
            _take_modules()
            sys.modules.update(before)


def _take_modules() -> dict[str, ModuleType]:
    """Remove the package and its submodules from `sys.modules` and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]
    return {name: sys.modules.pop(name) for name in names}
