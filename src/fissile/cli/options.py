"""Options of several commands: how their texts are read, and that none is given in vain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from fissile.errors import ConfigError

TemplateOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--template-option",
        help="A variable of the chat template, name=value, such as enable_thinking=false; repeatable.",
    ),
]


def template_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """{"name": value} of each "name=value"; a value that is no JSON is a string.

    Raises:
        ConfigError: one looks otherwise.
    """
    return dict(map(_template_option, texts or ()))


def _template_option(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError(f"--template-option '{text}' must look like name=value, such as enable_thinking=false.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def given(context: typer.Context) -> list[str]:
    """Names of the parameters that stand on the command line, in the order of the help."""
    typed = (parameter.name or "" for parameter in context.command.params)
    sources = {name: context.get_parameter_source(name) for name in typed}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def refuse_idle(context: typer.Context, names: Iterable[str], where: str) -> None:
    """Refuse options that would do nothing.

    Args:
        context: of the command.
        names: parameters without a meaning here.
        where: what makes it so, for the message.

    Raises:
        ConfigError: one of them is given.
    """
    wanted = set(names)
    idle = ", ".join("--" + name.replace("_", "-") for name in given(context) if name in wanted)
    if idle:
        raise ConfigError(f"{idle} would do nothing {where}. Leave it out.")
