"""The official BFCL checker of multi-turn episodes, as a verdict over parsed calls.

The checker (`bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker`) and its executor run from the cached asset,
unchanged, on a private copy of the classes. The executor evaluates text, rewrites what looks like a call even inside
strings, keeps instances in its module's globals by the model's name, and takes a name with an operator in it for a
reason to call every trajectory right. So it sees nothing but calls that are made here from parsed ones: a whitelisted
name and literals without an opening parenthesis, for a model of a new, plain name each time.
"""

from __future__ import annotations

import decimal
import importlib
import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from fissile.calls import JSON, ToolCall
from fissile.environments.bfcl.bfcl_world import BFCLWorld
from fissile.environments.bfcl.instances import MULTI_TURN, class_in, function_names, load_sources
from fissile.errors import DataError, ErrorKind
from fissile.evaluation.bfcl_layout import is_argument_name
from fissile.tasks import Task

REFUSED = "refused_call()"
"""Stands for a call that must not reach the executor: there it is an error without effect, too."""

Turns = Sequence[Sequence[Sequence[ToolCall]]]
"""Turns of steps of calls."""


class MultiTurnVerdict(NamedTuple):
    """What the official checker says.

    Attributes:
        valid: the episode is right.
        error_type: its key for what is wrong, without the prefix "multi_turn:"; "checker_exception" where it raised;
            "" when valid.
    """

    valid: bool
    error_type: str = ""


def official_multi_turn(task: Task, turns: Turns, force_terminated: bool = False) -> MultiTurnVerdict:
    """The official verdict on an episode.

    Args:
        task: a task of `load_bfcl_multi_turn`, or one of its `instances`: those are judged up to their last turn.
        turns: for each turn the calls of each step, in order. Malformed calls and steps without a call do not count,
            as officially. Calls that our world refuses because of their cost are shown as an error.
        force_terminated: the episode was cut. That fails it, unless it was cut in the last turn: so, as officially,
            only turns that are missing tell.

    Raises:
        DataError: the task carries no BFCL reference, or an episode that was not cut lacks turns.
        AssetError: the asset cannot be fetched.
    """
    if not {"entry", "ground_truth"} <= task.reference.keys():
        raise DataError(f"Task '{task.id}' has no BFCL reference. The verdict is for tasks of load_bfcl_multi_turn.")
    truth = task.reference["ground_truth"][: len(task.turns)]
    if len(turns) < len(truth) and force_terminated:
        return MultiTurnVerdict(False, "force_terminated")
    if len(turns) != len(truth):
        raise DataError(f"Task '{task.id}' has {len(truth)} turns, the episode {len(turns)}. Give one list for each.")
    try:
        verdict = checker()(_sources(task, turns), truth, task.reference["entry"])
    except Exception:  # states or results that the checker did not expect
        return MultiTurnVerdict(False, "checker_exception")
    return MultiTurnVerdict(verdict["valid"], verdict.get("error_type", "").removeprefix("multi_turn:"))


def call_source(call: ToolCall, allowed: frozenset[str]) -> str:
    """A parsed call as the text that the official executor evaluates, or `REFUSED`.

    Args:
        call: well-formed.
        allowed: names of the functions of the task's world.
    """
    arguments = call.arguments or {}
    if call.name not in allowed or not all(map(is_argument_name, arguments)):
        return REFUSED
    return f"{call.name}({', '.join(f'{name}={literal(value)}' for name, value in arguments.items())})"


def literal(value: JSON) -> str:
    r"""A JSON value as a Python expression of literals.

    A parenthesis in a string becomes \x28, since the executor takes a word before it for a function; numbers that
    Python has no literal for become an expression of some that it has.
    """
    match value:
        case str():
            return repr(value).replace("(", r"\x28")
        case bool() | None:
            return repr(value)
        case int():
            return hex(value)
        case float():
            return repr(value) if math.isfinite(value) else {math.inf: "1e999", -math.inf: "-1e999"}.get(value, _NAN)
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case _:
            return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"


_NAN = "-(1e999-1e999)"


def _sources(task: Task, turns: Turns) -> list[list[list[str]]]:
    """The episode as text, with `REFUSED` in the place of the calls that our own world refuses."""
    world = BFCLWorld()
    world.reset(task)
    allowed = function_names(task)
    told = []
    for turn in turns:
        steps = []
        for step in turn:
            calls = [call for call in step if call.is_well_formed]
            results = world.execute(calls)
            refused = [result.error is not None and result.error.kind is ErrorKind.TIMEOUT for result in results]
            steps.append(
                [REFUSED if no else call_source(call, allowed) for call, no in zip(calls, refused, strict=True)]
            )
        told.append([step for step in steps if step])
    return told


Checker = Callable[[list[list[list[str]]], list[list[str]], Mapping[str, Any]], dict[str, Any]]
"""(episode, ground truth, entry) to the checker's own verdict."""

_one_at_a_time = threading.Lock()
_numbers = itertools.count()


@cache
def checker() -> Checker:
    """The official function on its own copy of the sources, which it finds and leaves clean.

    It is for trusted text: what it is told is evaluated. `official_multi_turn` makes such text from parsed calls.
    """
    modules = load_sources()
    mpmath: Any = importlib.import_module("mpmath")
    judge = modules[f"{MULTI_TURN}.multi_turn_checker"].multi_turn_checker
    executor = judge.__globals__["execute_multi_turn_func_call"].__globals__
    executor["importlib"] = SimpleNamespace(import_module=modules.__getitem__)  # the package has left sys.modules
    twitter: Any = class_in(modules, "TwitterAPI")

    def check(told: list[list[list[str]]], truth: list[list[str]], entry: Mapping[str, Any]) -> dict[str, Any]:
        model = f"fissile_{next(_numbers)}"
        with _one_at_a_time, decimal.localcontext(), mpmath.workdps(mpmath.mp.dps):
            twitter.post_tweet.__defaults__ = ([], [])  # which earlier episodes may have filled
            try:
                verdict: dict[str, Any] = judge(told, truth, entry, "", model)
            finally:
                for name in [name for name in executor if name.startswith(f"{model}_")]:
                    del executor[name]
        return verdict

    return check
