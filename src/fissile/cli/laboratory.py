"""`fissile lab`: arms x seeds from one specification, and the page made of them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fissile.cli.interruption import keeping
from fissile.console import PlainConsole
from fissile.errors import RunError
from fissile.lab import Display, LabFolder, LabSpec, PlannedRun, load_spec, make_plan, run_lab

app = typer.Typer(help="Compare arms over seeds: run them all, and report.", no_args_is_help=True)


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="A TOML file with [run] and [arms.*], such as recipes/lab.toml.")],
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side; they share the cores evenly.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="An arm; it alone and the arms that it matches. May be repeated.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="A seed; it alone. May be repeated.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the specification, such as run.training.steps=4."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every run, print the specification and what is left, and stop.")
    ] = False,
) -> None:
    """Make every run that is not finished. A run that fails is kept with its reason, and the others go on."""
    laboratory = load_spec(spec, overrides or ())
    console = PlainConsole()
    folder = LabFolder(Path(laboratory.output))
    if dry_run:
        runs = _runs(folder, make_plan(laboratory, only or (), seed or ()))
        console.print_json(data={"spec": laboratory.model_dump(mode="json"), "runs": runs})
        return
    repeated = command(spec, overrides or ())
    with keeping(lambda: _kept(folder, laboratory, only or (), seed or ())):
        failed = run_lab(laboratory, Display(console, jobs), jobs, only or (), seed or (), repeated)
    if failed:
        console.say((f"{len(failed)} failed", "bold red"), "; the same command tries them again:")
        for key, reason in failed.items():
            console.say(f"  {key}: {reason} ({folder.failure(key)})")
        raise typer.Exit(1)
    console.say(f"all runs are finished. Next: fissile lab report {shlex.quote(str(folder.path))}")


@app.command(hidden=True)
def work(kind: str, failure: Path) -> None:
    """One job of `fissile lab run` in a process of its own: its settings come on stdin, which stays open meanwhile."""
    from fissile.lab.execution import work as do  # noqa: PLC0415

    do(kind, json.loads(sys.stdin.readline()), failure)


def _kept(folder: LabFolder, laboratory: LabSpec, only: Sequence[str], seeds: Sequence[int]) -> str:
    keys = [planned.key for planned in make_plan(laboratory, only, seeds)]
    done = sum(folder.is_finished(key) for key in keys)
    return (
        f"{done} of {len(keys)} runs are finished in '{folder.path}'; one that had begun goes on from its last "
        "checkpoint."
    )


@app.command()
def report(
    labs: Annotated[list[Path], typer.Argument(help="Folders of laboratories, or their specifications.")],
    page: Annotated[
        Path | None,
        typer.Option(help="A Markdown page that gets a section for each laboratory, its plots in a folder beside it."),
    ] = None,
) -> None:
    """Write results.json, the plots and the page of a laboratory, finished or not; of results.json alone, the plots."""
    from fissile.reports.lab import draw_again, update_page, write_lab_report  # noqa: PLC0415

    if page is None and all(_holds_results_alone(lab) for lab in labs):
        for lab in labs:
            draw_again(lab)
            typer.echo(f"plots: {lab / 'plots'}")
        return
    folders = [_folder_of(lab) for lab in labs]
    if page is not None:
        update_page([folder.path for folder in folders], page)
        typer.echo(f"page: {page}")
        return
    for folder in folders:
        write_lab_report(folder.path)
        typer.echo(f"results: {folder.results}")


def _folder_of(lab: Path) -> LabFolder:
    """The folder that a folder or a specification names."""
    folder = LabFolder(lab if lab.is_dir() else Path(load_spec(lab).output))
    if not folder.lab.exists():
        raise RunError(f"'{folder.path}' holds no laboratory (no lab.json). Make it with: fissile lab run SPEC.toml")
    return folder


def _holds_results_alone(lab: Path) -> bool:
    folder = LabFolder(lab)
    return folder.results.exists() and not folder.lab.exists()


def command(spec: Path, overrides: Sequence[str]) -> str:
    """The command that repeats a laboratory."""
    return shlex.join(
        ["fissile", "lab", "run", str(spec), *(part for override in overrides for part in ("--set", override))]
    )


def _runs(folder: LabFolder, plan: Iterable[PlannedRun]) -> dict[str, dict[str, int]]:
    """Arm to its seeds, and how many of them are finished."""
    runs: dict[str, dict[str, int]] = {}
    for planned in plan:
        counts = runs.setdefault(planned.key.arm, {"seeds": 0, "finished": 0})
        counts["seeds"] += 1
        counts["finished"] += folder.is_finished(planned.key)
    return runs
