"""The official classes of the multi-turn world, and fresh instances of them that share nothing.

The classes run unchanged from the asset. What would leak from one episode to the next is taken away around them: each
instance is made from its own copy of the scenario; the records of long contexts, which the classes hand out by
reference, are handed out as copies; and mutable default arguments are given anew with each call.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

from fissile import assets
from fissile.calls import JSON
from fissile.environments.bfcl_ast import private_package
from fissile.tasks import Task
from fissile.tasks.bfcl_multi_turn import DOC_FILES

MULTI_TURN = "bfcl_eval.eval_checker.multi_turn_eval"
"""The package of the official executor, checker and classes."""

PublicState = dict[str, dict[str, Any]]
"""Class to attribute to value, public attributes only: what the official checker compares."""


@dataclass(frozen=True, slots=True)
class OfficialMethod:
    """A public method of an official class, as far as a call must know it.

    Attributes:
        class_name: the class that has it.
        accepted: names of its parameters.
        required: those without a default, in order.
        mutable_defaults: defaults that a call could change for all later ones.
    """

    class_name: str
    accepted: frozenset[str]
    required: tuple[str, ...]
    mutable_defaults: Mapping[str, Any]


class HandedOutAsCopies(dict[str, Any]):
    """A table whose `items` are copies, so that whoever keeps one cannot change the table."""

    def items(self) -> Any:
        """As of a dict; the values are copied at every call."""
        return copy.deepcopy(dict(self)).items()


def load_sources() -> Mapping[str, ModuleType]:
    """A private copy of the official source modules by full name, with shared records handed out as copies.

    Raises:
        AssetError: the asset cannot be fetched.
    """
    names = [f"{MULTI_TURN}.func_source_code.{file}" for file in DOC_FILES.values()]
    with private_package(assets.bfcl_path() / "bfcl_eval"):
        modules = {name: importlib.import_module(name) for name in (*names, f"{MULTI_TURN}.multi_turn_checker")}
    travel = modules[f"{MULTI_TURN}.func_source_code.travel_booking"]
    for table in ("CREDIT_CARD_EXTENSION", "BOOKING_RECORD_EXTENSION"):
        setattr(travel, table, HandedOutAsCopies(getattr(travel, table)))
    return MappingProxyType(modules)


def class_in(modules: Mapping[str, ModuleType], name: str) -> type[Any]:
    """The official class of that name, a key of `DOC_FILES`."""
    found: type[Any] = getattr(modules[f"{MULTI_TURN}.func_source_code.{DOC_FILES[name]}"], name)
    return found


@cache
def official_classes() -> Mapping[str, type[Any]]:
    """Every class of the world by name."""
    modules = load_sources()
    for module in modules.values():
        if "deepcopy" in vars(module):
            vars(module)["deepcopy"] = plain_copy  # most of the time of a reset
    return MappingProxyType({name: class_in(modules, name) for name in DOC_FILES})


def plain_copy(value: Any) -> Any:
    """`copy.deepcopy`, several times as fast for values of JSON.

    A container that stands in two places becomes two.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is dict:
        return {key: plain_copy(item) for key, item in value.items()}
    return list(map(plain_copy, value)) if kind is list else copy.deepcopy(value)


_ATOMS = frozenset({str, int, float, bool, type(None)})


@cache
def methods() -> Mapping[str, OfficialMethod]:
    """Every callable function of the world by name; the 128 names are unique across the classes."""
    return MappingProxyType(
        {
            name: _method(class_name, function)
            for class_name, official in official_classes().items()
            for name, function in inspect.getmembers(official, predicate=inspect.isfunction)
            if not name.startswith("_")
        }
    )


def _method(class_name: str, function: Callable[..., Any]) -> OfficialMethod:
    parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
    return OfficialMethod(
        class_name=class_name,
        accepted=frozenset(parameter.name for parameter in parameters),
        required=tuple(parameter.name for parameter in parameters if parameter.default is parameter.empty),
        mutable_defaults={
            parameter.name: parameter.default
            for parameter in parameters
            if isinstance(parameter.default, list | dict | set)
        },
    )


def function_names(task: Task) -> frozenset[str]:
    """Names of all functions of a task's classes, offered or not: what its world can be asked to run."""
    classes = task.world.setup["classes"] if task.world else ()
    return frozenset(name for name, method in methods().items() if method.class_name in classes)


def fresh(classes: Sequence[str], scenario: Mapping[str, JSON], long_context: bool) -> dict[str, Any]:
    """New instances by class name, in the state before the first turn.

    Args:
        classes: the involved classes.
        scenario: class to its initial configuration; the instances keep parts of it, so it must be theirs alone.
        long_context: with the padding of that category.
    """
    official = official_classes()
    instances = {}
    for name in classes:
        instance = instances[name] = official[name]()
        if name != "MathAPI":  # the one class without a state
            instance._load_scenario(scenario.get(name, {}), long_context=long_context)
    return instances


def public_state(instances: Mapping[str, Any]) -> PublicState:
    """The public attributes of the instances, not copied."""
    return {
        name: {key: value for key, value in vars(instance).items() if not key.startswith("_")}
        for name, instance in instances.items()
    }


def same_state(instances: Mapping[str, Any], state: PublicState) -> bool:
    """False where a public attribute differs (official: `multi_turn_checker.state_checker`)."""
    for name, attributes in state.items():
        present = vars(instances[name])
        for key, value in attributes.items():
            if present[key] != value:
                return False
    return True
