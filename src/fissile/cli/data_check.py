"""`fissile data check`: what training would refuse, before it begins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fissile.config import load_config
from fissile.console import PlainConsole
from fissile.tasks import CATEGORIES

if TYPE_CHECKING:
    from fissile.config import RunConfig
    from fissile.environments.base import EnvironmentMaker
    from fissile.training.task_check import CountOf, PromptLength, TaskCheck


def check(
    recipe: Annotated[Path | None, typer.Option(help="A recipe, whose tasks and model are meant.")] = None,
    source: Annotated[
        str | None, typer.Option(help="'bfcl', a JSON-lines file, or a Hugging Face dataset id: as tasks.source.")
    ] = None,
    categories: Annotated[str | None, typer.Option(help="BFCL categories, separated by commas, or 'all'.")] = None,
    tools: Annotated[str | None, typer.Option(help="A Python file with the tools of the tasks: live worlds.")] = None,
    dialect: Annotated[str | None, typer.Option(help="Tool-call format, as model.dialect.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Measure the prompts with this model's tokenizer and chat template.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, as for `fissile train`; may be repeated.")
    ] = None,
) -> None:
    """Replay every truth in its world, list all faults at once, and show split and prompt lengths.

    Exit code 2 where training would refuse something, or where a truth is not right in its own world.
    """
    names = None
    if categories is not None:
        chosen = [name.strip() for name in categories.split(",") if name.strip()]
        names = list(CATEGORIES) if chosen == ["all"] else chosen
    given = {
        "tasks.source": source,
        "tasks.categories": names,
        "tasks.tools": tools,
        "model.dialect": dialect,
        "model.path": model,
    }
    chosen_settings = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    config = load_config(recipe, [*(overrides or []), *chosen_settings])
    from fissile.training.task_check import check_tasks  # noqa: PLC0415

    measures = model is not None or recipe is not None
    console = PlainConsole()
    found = check_tasks(config, (lambda make: _prompt_length(config, make)) if measures else None, _counts())
    _print(found, console)
    if not measures:
        console.say("prompt lengths: give --model (or --recipe) to measure them")
    if found.faults:
        raise typer.Exit(2)


def _prompt_length(config: RunConfig, make: EnvironmentMaker) -> PromptLength:
    """Measures prompts as the trainer's sampler writes them. Imports torch."""
    from fissile.dialects import ChatFormat, get_dialect  # noqa: PLC0415
    from fissile.engines.sampler import Sampler  # noqa: PLC0415
    from fissile.training.policy_model import load_tokenizer  # noqa: PLC0415

    model = config.model
    chat = ChatFormat(load_tokenizer(model.path), get_dialect(model.dialect), model.template_options)
    sampler = Sampler(chat, make)
    return lambda task: sampler.context(task).length


def _print(found: TaskCheck, console: PlainConsole) -> None:
    console.say(f"{found.reading.source}: {len(found.reading.tasks) + len(found.reading.faults)} tasks")
    for remark, count in found.reading.remarks.items():
        console.say(f"note: {remark} ({count} times)")
    if found.sides is not None:
        table = Table("side", "tasks", title="split", title_justify="left")
        for name, side in found.sides.split._asdict().items():
            table.add_row(name, str(len(side)))
        console.table(table)
    if found.lengths:
        lengths = sorted(found.lengths)
        over = sum(length > found.limit for length in lengths)
        console.say(
            f"prompts: {len(lengths)} measured, half have up to {lengths[len(lengths) // 2]} tokens, the longest has "
            f"{lengths[-1]}; {over} exceed tasks.max_prompt_tokens = {found.limit} and would be left out",
        )
    for note in found.notes:
        console.say(f"note: {note}; mend it where that is not wanted")
    for number, fault in enumerate(found.faults, 1):
        console.say(f"{number}. {fault}")
    verdict = f"{len(found.faults)} faults" if found.faults else "no faults: training would take these tasks"
    console.say(verdict if len(found.faults) != 1 else "1 fault")


def _counts() -> CountOf:
    """Tells on stderr how far it is, where that takes more than seconds."""
    from fissile.training.progress import Progress  # noqa: PLC0415

    progress = Progress(PlainConsole(stderr=True))
    counts: dict[str, Callable[[int, int], None]] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in counts:
            counts[what] = progress.count(what, "a task", "tasks")
        counts[what](done, total)

    return tell
