"""The command `fissile`: one file a sub-command. Importing it loads neither torch nor transformers."""

from __future__ import annotations

import errno
import sys

import typer
from rich.console import Console
from rich.markup import escape

from fissile.cli import data, evaluate, lab, simulate
from fissile.cli.config import config
from fissile.cli.fetch import fetch
from fissile.cli.report import report
from fissile.cli.train import train
from fissile.errors import InfrastructureError, InputError

app = typer.Typer(
    name="fissile",
    help="Language models that recover from their tool errors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train)
app.command("fetch")(fetch)
app.command("report")(report)
app.command("config")(config)
app.add_typer(evaluate.app, name="eval")
app.add_typer(data.app, name="data")
app.add_typer(simulate.app, name="simulate")
app.add_typer(lab.app, name="lab")

DISK_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES}
"""Errors of the operating system that the user can do something about."""

GO_ON = "What is done is kept: run the command again, with --resume where it takes that."
"""To whoever was interrupted."""


def main() -> None:
    """Run the command. The user's errors, and a machine that fails, become one message on stderr and exit code 2."""
    try:
        app()
    except (InputError, InfrastructureError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        _fail(
            f"{error.filename or 'A file'} cannot be written ({error.strerror}). Free some space or choose another "
            f"folder. {GO_ON}"
        )
    except KeyboardInterrupt:
        _fail(f"interrupted. {GO_ON}", code=130)


def _fail(message: str, code: int = 2) -> None:
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True)
    sys.exit(code)
