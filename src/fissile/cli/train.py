"""`fissile train`: a whole run from a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fissile.cli.interruption import keeping
from fissile.config import load_config
from fissile.console import Part, PlainConsole
from fissile.errors import ConfigError

if TYPE_CHECKING:
    from fissile.training.run_folder import RunFolder


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; the shipped ones are in recipes/.")],
    output: Annotated[str | None, typer.Option(help="Run folder, instead of the recipe's.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, over the recipe; may be repeated.")
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(help="A Python file with your tools: functions, or one class whose instance is the state."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, if there is one.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
) -> None:
    """Base model, cold start, reinforcement learning; a recovery evaluation after each."""
    given = {"output": output, "tasks.tools": tools}
    chosen = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    config = load_config(recipe, [*(overrides or []), *chosen])
    console = PlainConsole()
    if dry_run:
        console.print_json(config.model_dump_json())
        return
    if not config.training.steps and not config.cold_start.examples:
        raise ConfigError(
            "training.steps = 0 and cold_start.examples = 0: nothing would be trained. Raise one; `fissile eval` "
            "measures a model as it is."
        )
    from fissile.evaluation.losses import counted  # noqa: PLC0415
    from fissile.reports import write_report  # noqa: PLC0415
    from fissile.training.progress import Progress, recovery_table  # noqa: PLC0415
    from fissile.training.run import Run, quieten_libraries  # noqa: PLC0415
    from fissile.training.run_folder import RunFolder  # noqa: PLC0415

    quieten_libraries()
    folder = RunFolder(Path(config.output))
    with keeping(lambda: kept_of_run(folder), resume=True):
        with folder.entered(config, resume):
            summary = Run(config, folder, Progress(console)).execute()
        write_report(folder.path)
    console.table(recovery_table(summary["stages"]))
    updates, corrections = summary["updates"], summary["corrections"]
    console.say(f"updates: {updates['explore']} explore, {updates['fission']} fission")
    console.say("corrections: " + ", ".join(f"{count} {name}" for name, count in corrections.items()))
    if summary["lost"]:
        console.say((f"rollouts lost and not learned from: {counted(summary['lost'])}", "bold yellow"))
    for line in feedback_lines(summary["feedback"]):
        console.say(*line)
    if summary["stopped"]:
        console.say(("stopped early:", "yellow"), f" {summary['stopped']}")
    console.say(f"report: {folder.report}")


def kept_of_run(folder: RunFolder) -> str:
    """What an interrupted run has left."""
    from fissile.training.checkpoints import latest_checkpoint  # noqa: PLC0415

    done = [f"the evaluation '{report.stem}'" for report in sorted(folder.stages())]
    if (folder.cold_start / "adapter").exists():
        done.append("the cold start")
    places = {"the cold start": folder.cold_start / "checkpoints", "the training": folder.checkpoints}
    for of, checkpoints in places.items():
        checkpoint = latest_checkpoint(checkpoints) if of not in done else None
        if checkpoint is not None:
            done.append(f"{of} up to step {checkpoint.name.rpartition('-')[2]}")
    return f"Kept in '{folder.path}': {', '.join(done) or 'nothing yet'}."


def feedback_lines(feedback: Mapping[str, Any]) -> Iterator[tuple[Part, ...]]:
    """What became of the diagnoses, for a console; loud where most of them were not the source's own.

    Args:
        feedback: as `fissile.feedback.Diagnoser.report` gives it; empty where none were made.
    """
    if not feedback:
        return
    source = feedback["source"]
    blocked, fallen = (
        ", ".join(f"{count} {reason}" for reason, count in feedback[kind].items()) for kind in ("leaks", "fallbacks")
    )
    missing = sum(feedback["leaks"].values()) + sum(feedback["fallbacks"].values())
    yield (
        f"diagnoses: {feedback['diagnosed']} asked of '{source}', {blocked or 'none'} blocked as leaks, "
        f"{fallen or 'none'} without an answer",
    )
    if 2 * missing > feedback["diagnosed"]:
        loud = (
            f"{missing} of {feedback['diagnosed']} diagnoses were not those of '{source}': other sources stood in, and "
            "that is what was trained with."
        )
        yield (loud, "bold yellow"), " See that the source works, then train anew."
