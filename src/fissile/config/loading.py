"""From TOML and `section.key=value` overrides to a validated table; every wrong key is named with what is accepted."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from fissile.config.method import TOLD, method_fields
from fissile.errors import ConfigError
from fissile.methods import MethodSettings
from fissile.nearest import nearest


class Section(BaseModel):
    """A table of the configuration: immutable, and no unknown key passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Table = TypeVar("Table", bound=BaseModel)


Fields = dict[str, Any]


def load(
    schema: type[Table],
    path: str | Path | None,
    overrides: Sequence[str] = (),
    settle: Callable[[Fields, Fields], Fields] = lambda before, after: after,
) -> Table:
    """A table from a TOML file (or the defaults) and `section.key=value` overrides.

    Override values are TOML; bare words are strings. `settle` makes one of the keys before and after the overrides.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, or a value is out of range.
    """
    before = _read(path) if path is not None else {}
    fields = copy.deepcopy(before)
    for override in overrides:
        _apply(fields, override)
    return parse(schema, settle(before, fields), str(path or "the command line"))


def parse(schema: type[Table], fields: dict[str, Any], origin: str = "the config") -> Table:
    """Validate `fields`; one ConfigError names every wrong key with what is accepted."""
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in _explain(error, schema))
        raise ConfigError(f"{origin} cannot be run:\n{problems}") from None


def _read(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no config file '{path}'. The shipped ones are in recipes/.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"'{path}' cannot be read as TOML: {error}") from None


def _apply(fields: dict[str, Any], override: str) -> None:
    """Set one `section.key=value` in place."""
    key, separator, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not separator or not name:
        raise ConfigError(f"--set '{override}' must look like section.key=value.")
    for section in sections:
        fields = fields.setdefault(section, {})
        if not isinstance(fields, dict):
            raise ConfigError(f"--set '{override}': '{section}' is a value, not a table.")
    try:
        fields[name] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        fields[name] = text


def _explain(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == TOLD:
            yield problem["msg"]
        elif problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"], root)
            name = str(problem["loc"][-1])
            hint = nearest(name, known) or _in_other_tables(name, root)
            yield f"{where}: unknown key; known here: {', '.join(known)}{hint}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            got = "" if problem["type"] in {"value_error", "missing"} else f" (got {problem['input']!r})"
            yield f"{where}: {message}{got}" if where else message


def _known_keys(location: tuple[int | str, ...], section: type[BaseModel]) -> list[str]:
    for part in location[:-1]:
        if str(part) not in fields_of(section):
            continue  # the name of one among tables of a kind
        inner = section_of(fields_of(section)[str(part)].annotation)
        if inner is None:
            return []
        section = inner
    return list(fields_of(section))


def _in_other_tables(name: str, root: type[BaseModel]) -> str:
    """` (is it 'training.steps'?)` for a key that stands in the wrong table; "" where none has that name."""
    found = [key for key in _keys(root) if key.rpartition(".")[2] == name]
    return f" (is it {' or '.join(repr(key) for key in found[:3])}?)" if found else ""


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, entry in fields_of(section).items():
        table = section_of(entry.annotation)
        if table is None:
            yield f"{prefix}{name}"
        else:
            yield from _keys(table, f"{prefix}{name}.")


def fields_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table; of the method's those of all methods."""
    return method_fields() if section is MethodSettings else section.model_fields


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, be it optional; None where it holds a value."""
    members = (annotation, *get_args(annotation))
    return next((one for one in members if isinstance(one, type) and issubclass(one, BaseModel)), None)
