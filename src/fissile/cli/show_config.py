"""`fissile config`: every key of a recipe, its default and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from typing import get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.table import Column, Table

from fissile.config import RunConfig, SimulatorRecipe, fields_of, section_of
from fissile.console import PlainConsole
from fissile.lab import LabSpec

SCHEMAS: dict[str, type[BaseModel]] = {
    "fissile train": RunConfig,
    "fissile simulate": SimulatorRecipe,
    "fissile lab run": LabSpec,
}
"""Command to the recipe that it takes."""


def config() -> None:
    """Every key of a recipe, its default and what it means."""
    console = PlainConsole()
    for command, schema in SCHEMAS.items():
        title = f"recipe keys of {command}"
        table = Table(Column("key", no_wrap=True), "default", "meaning", title=title, title_justify="left")
        for key, default, meaning in reference(schema):
            table.add_row(key, default, meaning)
        console.table(table)


def reference(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every field, tables flattened; of tables of one kind, one stands for all."""
    for name, entry in fields_of(section).items():
        table = section_of(entry.annotation)
        if table is not None:
            one = "<name>." if get_origin(entry.annotation) is dict else ""
            yield from reference(table, f"{prefix}{name}.{one}")
        else:
            yield f"{prefix}{name}", _default(entry), entry.description or ""


def _default(entry: FieldInfo) -> str:
    return "(needed)" if entry.is_required() else _shown(entry.get_default(call_default_factory=True)) or '""'


def _shown(value: object) -> str:
    """A default as a recipe holds it: the value of an enum, not its name in Python."""
    if isinstance(value, list | tuple):
        return json.dumps([str(part.value) if isinstance(part, Enum) else part for part in value], default=str)
    return str(value.value) if isinstance(value, Enum) else str(value)
