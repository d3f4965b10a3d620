"""`fissile report`: make the page of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fissile.reports import write_report


def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html of a run, finished or not."""
    typer.echo(f"report: {write_report(folder)}")
