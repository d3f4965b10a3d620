"""`fissile simulate`: make, train, judge and merge an error simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fissile.cli.interruption import keeping
from fissile.config.simulator_recipe import SimulatorRecipe, load_simulator_recipe
from fissile.console import PlainConsole
from fissile.training.progress import Progress

if TYPE_CHECKING:
    from fissile.simulator.diagnosed_failure import DiagnosedFailure
    from fissile.training.simulator_folder import SimulatorFolder

app = typer.Typer(help="The error simulator: its data, its training, its evaluation.", no_args_is_help=True)

Recipe = Annotated[Path | None, typer.Argument(help="A TOML file, usually recipes/simulator.toml.")]
Output = Annotated[str | None, typer.Option(help="Folder, instead of the recipe's.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, over the recipe; may be repeated.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and stop.")]


@app.command()
def data(recipe: Recipe = None, output: Output = None, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Failed calls with their diagnoses: corrupted truths, executed where there is a world, and policies' failures."""
    config = _load(recipe, output, overrides)
    console = PlainConsole()
    if dry_run:
        console.print_json(config.model_dump_json())
        return
    folder = _enter(config)
    with keeping(lambda: _kept(folder)):
        _make_data(config, folder, console)


@app.command()
def train(recipe: Recipe = None, output: Output = None, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Teach the model to diagnose (supervised LoRA, by TRL); makes the data first, and goes on where it was cut."""
    config = _load(recipe, output, overrides)
    console = PlainConsole()
    if dry_run:
        console.print_json(config.model_dump_json())
        return
    folder = _enter(config)
    with keeping(lambda: _kept(folder)):
        rows = _make_data(config, folder, console)
        from fissile.training.run import quieten_libraries  # noqa: PLC0415
        from fissile.training.simulator_stages import teach  # noqa: PLC0415

        quieten_libraries()
        was_taught = teach(config, folder, rows, Progress(console))
    console.say(f"{'adapter' if was_taught else 'already trained'}: {folder.adapter}")


def _kept(folder: SimulatorFolder) -> str:
    """What an interrupted command has left: the stages that are done, and the training's last checkpoint."""
    from fissile.training.checkpoints import latest_checkpoint  # noqa: PLC0415

    stages = ["data", "training", *sorted(f"evaluation/{path.stem}" for path in folder.path.glob("evaluation/*.json"))]
    done = [stage for stage in stages if folder.record(stage).exists()]
    checkpoint = latest_checkpoint(folder.path / "checkpoints") if "training" not in done else None
    if checkpoint is not None:
        done.append(f"the training up to step {checkpoint.name.rpartition('-')[2]}")
    return f"Kept in '{folder.path}': {', '.join(done) or 'nothing yet'}."


def _load(recipe: Path | None, output: str | None, overrides: list[str] | None) -> SimulatorRecipe:
    chosen = [] if output is None else [f"output={json.dumps(output)}"]
    return load_simulator_recipe(recipe, [*(overrides or []), *chosen])


def _enter(config: SimulatorRecipe) -> SimulatorFolder:
    from fissile.training.simulator_folder import SimulatorFolder  # noqa: PLC0415

    folder = SimulatorFolder(Path(config.output))
    folder.path.mkdir(parents=True, exist_ok=True)
    return folder


def _make_data(config: SimulatorRecipe, folder: SimulatorFolder, console: PlainConsole) -> list[DiagnosedFailure]:
    """The rows of the folder, made unless they are there."""
    from fissile.training.simulator_stages import make_data  # noqa: PLC0415

    rows = make_data(config, folder, Progress(console))
    statistics = json.loads(folder.record("data").read_text(encoding="utf-8"))["statistics"]
    console.table(data_table(statistics))
    console.say(f"data: {folder.rows}")
    return rows


def data_table(statistics: dict[str, Any]) -> Table:
    """Rows by side, and by kind, origin, teacher and domain within it; below it where they are fewer than asked for."""
    from fissile.simulator.dataset import shortfalls  # noqa: PLC0415

    sides = statistics["sides"]
    table = Table("", *sides, title=f"{statistics['rows']} rows", title_justify="left", caption_justify="left")
    for name in ("rows", "tasks", "functions"):
        table.add_row(name, *(str(side[name]) for side in sides.values()))
    for group in ("kinds", "origins", "teachers", "domains"):
        table.add_section()
        for key in dict.fromkeys(key for side in sides.values() for key in side[group]):
            table.add_row(key, *(str(side[group].get(key, 0)) for side in sides.values()))
    table.add_section()
    for reason, count in statistics["left_out"].items():
        table.add_row(f"left out, {reason}", str(count))
    table.caption = "\n".join(shortfalls(statistics)) or None
    return table


@app.command("eval")
def evaluate(
    recipe: Recipe = None,
    output: Output = None,
    overrides: Overrides = None,
    sources: Annotated[
        str | None,
        typer.Option(help="Comma-separated; fixed, environment, rules and learned by default, endpoint with a server."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Run folder of the policy that must recover, from recipes/reader.toml; none: no usefulness."),
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="Adapter of 'learned', instead of the folder's.")] = None,
) -> None:
    """Judge sources on unseen functions: leaks, right kind and field, length, speed, and usefulness."""
    config = _load(recipe, output, overrides)
    console = PlainConsole()
    folder = _enter(config)
    with keeping(lambda: _kept(folder)):
        outcome = _evaluate(config, folder, console, sources, policy, adapter)
    console.table(source_table(outcome["sources"]))
    from fissile.reports.simulator_card import card  # noqa: PLC0415

    (folder.path / "card.md").write_text(card(folder.path), encoding="utf-8")
    console.say(f"figures: {folder.evaluation}")
    console.say(f"card: {folder.path / 'card.md'}")


def _evaluate(
    config: SimulatorRecipe,
    folder: SimulatorFolder,
    console: PlainConsole,
    sources: str | None,
    policy: str | None,
    adapter: str | None,
) -> dict[str, Any]:
    """What the evaluation of the sources finds."""
    _make_data(config, folder, console)
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.simulator_evaluation import TABLE, SourceEvaluation  # noqa: PLC0415

    quieten_libraries()
    names = [name.strip() for name in sources.split(",")] if sources else list(TABLE)
    if sources is None and config.endpoint is not None:
        names.append("endpoint")
    return SourceEvaluation(config, folder, policy, Progress(console), adapter).run(names)


def source_table(sources: dict[str, Any]) -> Table:
    """One column a source."""
    from fissile.reports.simulator_card import figures  # noqa: PLC0415

    table = Table("", *sources, title="on unseen functions, 95 % intervals clustered by task", title_justify="left")
    for title, values in figures(sources):
        table.add_row(title, *values)
    return table


@app.command()
def merge(
    recipe: Recipe = None,
    output: Output = None,
    overrides: Overrides = None,
    adapter: Annotated[str | None, typer.Option(help="Adapter, instead of the folder's.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Folder of the whole model; by default merged in the recipe's.")
    ] = None,
) -> None:
    """Write the taught model without its adapter, as any server loads it: `vllm serve` or `transformers serve`."""
    config = _load(recipe, output, overrides)
    from fissile.training.run import quieten_libraries  # noqa: PLC0415
    from fissile.training.simulator_making import merge_adapter  # noqa: PLC0415

    quieten_libraries()
    learned = config.learned(adapter or Path(config.output) / "adapter")
    folder = merge_adapter(learned, Path(to) if to else Path(config.output) / "merged")
    PlainConsole().say(
        f"model: {folder}\nprompt: {folder / 'prompt.txt'}\n"
        f"Serve it with `vllm serve {folder}` or `transformers serve {folder}`."
    )
