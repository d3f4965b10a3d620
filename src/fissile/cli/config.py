"""`fissile config`: every key of a recipe, its default and what it means."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from fissile.config import RunConfig


def config() -> None:
    """Every key of a recipe, its default and what it means."""
    table = Table("key", "default", "meaning", title="recipe keys", title_justify="left")
    for key, default, meaning in reference(RunConfig):
        table.add_row(key, default, meaning)
    Console(highlight=False).print(table)


def reference(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of every field, tables flattened."""
    for name, entry in section.model_fields.items():
        if isinstance(entry.annotation, type) and issubclass(entry.annotation, BaseModel):
            yield from reference(entry.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(entry), entry.description or ""


def _default(entry: FieldInfo) -> str:
    return str(entry.get_default(call_default_factory=True))
