"""The `[method]` table of a recipe: validated with the settings of the method that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from fissile.errors import ConfigError
from fissile.methods import DEFAULT, METHODS, MethodSettings, get_method
from fissile.nearest import nearest

TOLD = "told"
"""Type of a problem whose message names the key itself."""


def read_method(value: Any) -> Any:
    """The settings of a table, by the class of the method that it names; `DEFAULT` where it names none.

    Raises:
        ValueError: there is no such method.
        ValidationError: a key is unknown, another method's, or out of range; all of them are told.
    """
    if isinstance(value, MethodSettings):
        named = (name for name, kind in _known() if kind.Settings is type(value))
        return value if value.name else value.model_copy(update={"name": next(named, "")})
    if not isinstance(value, Mapping):
        return value  # pydantic says what is wrong with it
    name = value.get("name", DEFAULT)
    if not isinstance(name, str):
        raise ValueError(f"method.name = {name!r} is no text. Choose one of {', '.join(METHODS)}.")
    try:
        kind = get_method(name).Settings
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if problems := [_misplaced(key, name, kind) for key in value if key not in kind.model_fields]:
        raise ValidationError.from_exception_data("method", problems)
    return kind.model_validate({**value, "name": name})


def _misplaced(key: str, name: str, kind: type[MethodSettings]) -> InitErrorDetails:
    owners = [other for other, method in _known() if key in method.Settings.model_fields]
    if owners:
        told = f"method.{key} is a setting of {' and '.join(owners)}, not of {name} (method.name)"
    else:
        known = [field for field in kind.model_fields if field != "name"]
        told = f"method.{key}: unknown key; {name} knows {', '.join(known) or 'none'}{nearest(key, known)}"
    return InitErrorDetails(type=PydanticCustomError(TOLD, "{told}", {"told": told}), loc=(key,), input=None)


MethodTable = Annotated[SerializeAsAny[MethodSettings], BeforeValidator(read_method)]
"""A field that holds the settings of any method."""


def method_fields() -> dict[str, FieldInfo]:
    """The keys of a `[method]` table, each as the first method that has it describes it, with all that have it."""
    found: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, kind in _known():
        for key, entry in kind.Settings.model_fields.items():
            found.setdefault(key, []).append((name, entry))
    return {key: _described(key, owners) for key, owners in found.items()}


def _described(key: str, owners: list[tuple[str, FieldInfo]]) -> FieldInfo:
    entry = owners[0][1]
    if key == "name":
        return FieldInfo(annotation=str, default=DEFAULT, description=f"Which method: {', '.join(METHODS)}.")
    differ = {str(owner.default) for _, owner in owners}
    told = [name if len(differ) == 1 else f"{name}: {owner.default}" for name, owner in owners]
    return FieldInfo(
        annotation=entry.annotation, default=entry.default, description=f"{entry.description} Of {', '.join(told)}."
    )


def _known() -> Iterator[tuple[str, Any]]:
    """Each method that can be imported, with its name; what is amiss with another is told when it is asked for."""
    for name in METHODS:
        try:
            yield name, get_method(name)
        except ConfigError:
            continue


def switched(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a run `after` others were laid over those `before`: another method keeps what it has, too.

    Settings of the method `before` that nobody wrote anew, and that the method named `after` does not have, are left
    out. So `[run.method] per_group = 2` holds for every arm with such a setting, and is no mistake in the others.
    """
    old, new = before.get("method", {}), after.get("method")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return dict(after)
    names = [str(table.get("name", DEFAULT)) for table in (old, new)]
    if names[0] == names[1] or not all(name in METHODS for name in names):
        return dict(after)
    had, has = (get_method(name).Settings.model_fields for name in names)
    left = {key for key in old if key in had and key not in has and new.get(key) == old[key]}
    return {**after, "method": {key: value for key, value in new.items() if key not in left}}


# --- the spelling of before ----------------------------------------------------------------------------------------

OLD_TABLES: dict[str, dict[str, str]] = {
    "fission": {},
    "offline": {"tasks": "collect_tasks", "samples": "collect_samples"},
}
"""Tables that the method's took the place of, each with the keys that have other names now."""


def respelled(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The keys of a run in the old spelling (`method = "grpo"`, [fission], [offline], training.refills) in the new one.

    None where they are in no old spelling.
    """
    training = fields.get("training")
    refills = training.get("refills") if isinstance(training, Mapping) else None
    method = fields.get("method", {})
    if not isinstance(method, str) and refills is None and not OLD_TABLES.keys() & fields.keys():
        return None
    table: dict[str, Any] = {"name": method} if isinstance(method, str) else dict(method)
    for old, keys in OLD_TABLES.items():
        values = fields.get(old)
        if isinstance(values, Mapping):
            table |= {keys.get(str(key), str(key)): value for key, value in values.items()}
    if refills is not None:
        table["refills"] = refills
        if table.get("name") == "grpo" and refills:
            table["name"] = "dapo"
    name = str(table.get("name", ""))
    if name in METHODS:
        table = {key: value for key, value in table.items() if key in get_method(name).Settings.model_fields}
    new: dict[str, Any] = {}
    for key, value in fields.items():
        if key in ("method", *OLD_TABLES):
            new.setdefault("method", table)
        elif key == "training" and isinstance(value, Mapping):
            new[key] = {entry: over for entry, over in value.items() if entry != "refills"}
        else:
            new[key] = value
    return {**new, "method": table}


SPELLING = "The method is one table now, with its own settings; [fission], [offline] and training.refills are in it."
"""Said before the new spelling of a recipe in the old one."""


def refuse_old_spelling(fields: Any) -> Any:
    """The keys of a run as they are, unless they are in the old spelling.

    Raises:
        ValueError: they are; the message shows the new one.
    """
    new = respelled(fields) if isinstance(fields, Mapping) else None
    if new is None:
        return fields
    raise ValueError(f"{SPELLING} Write in their place (on the command line: --set method.KEY=VALUE)\n\n{shown(new)}\n")


def shown(fields: Mapping[str, Any], prefix: str = "") -> str:
    """The `[method]` table of a run's keys, as TOML."""
    lines = [f"{key} = {inline(value)}" for key, value in fields["method"].items()]
    return "\n".join([f"[{prefix}method]", *lines])


def inline(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {inline(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value, ensure_ascii=False)
