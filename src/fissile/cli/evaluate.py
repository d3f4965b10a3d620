"""`fissile eval`: accuracy and recovery of one model on the held-out tasks; `fissile eval bfcl` is the suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fissile.cli.eval_bfcl import bfcl
from fissile.cli.interruption import keeping
from fissile.cli.options import given
from fissile.config import load_config
from fissile.console import PlainConsole
from fissile.errors import ConfigError

app = typer.Typer()
app.command("bfcl")(bfcl)


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="'smollm2-135m', a Hugging Face id, or a path.")] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter on top of it.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Take model, tasks and evaluation settings from this recipe.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, over the recipe; may be repeated.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the report and of every attempt.")] = Path("runs/eval"),
) -> None:
    """First-attempt accuracy, then up to K attempts after feedback: all recovery metrics, with intervals."""
    if context.invoked_subcommand is not None:
        if early := ", ".join("--set" if name == "overrides" else f"--{name}" for name in given(context)):
            command = context.invoked_subcommand
            raise ConfigError(
                f"{early} stands before '{command}', where it would be dropped. Put it behind '{command}'."
            )
        return
    console = PlainConsole()
    named = {"output": str(output), "model.path": model, "model.adapter": adapter}
    chosen = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    config = load_config(recipe, [*(overrides or []), *chosen, "cold_start.examples=0", "training.steps=0"])
    from fissile.training.progress import Progress  # noqa: PLC0415
    from fissile.training.run import Run, quieten_libraries  # noqa: PLC0415
    from fissile.training.run_folder import RunFolder  # noqa: PLC0415

    quieten_libraries()
    folder = RunFolder(Path(config.output))
    goes_on = folder.config.exists() and not folder.evaluation("model").exists()  # one that was killed
    with keeping(lambda: "Nothing of the evaluation is kept."), folder.entered(config, resume=goes_on):
        Run(config, folder, Progress(console)).evaluate_only()
    console.say(f"report: {folder.evaluation('model')}")
    console.say(f"attempts: {folder.episodes('model')}")
