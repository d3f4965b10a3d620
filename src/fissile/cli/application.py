"""The commands under one name, and what becomes of what ends them. Imports neither torch nor transformers."""

from __future__ import annotations

import errno
import logging
import sys

import typer

from fissile.cli import data, evaluate, laboratory, simulate
from fissile.cli.fetch import fetch
from fissile.cli.help import WholeHelp
from fissile.cli.show_config import config
from fissile.cli.train import train
from fissile.cli.write_report import report
from fissile.console import PlainConsole
from fissile.errors import InfrastructureError, InputError

app = typer.Typer(
    name="fissile",
    help="Language models that recover from their tool errors.",
    cls=WholeHelp,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a help text is no markup: what stands in brackets is shown
)
app.command("train")(train)
app.command("fetch")(fetch)
app.command("report")(report)
app.command("config")(config)
app.add_typer(evaluate.app, name="eval", cls=WholeHelp)
app.add_typer(data.app, name="data", cls=WholeHelp)
app.add_typer(simulate.app, name="simulate", cls=WholeHelp)
app.add_typer(laboratory.app, name="lab", cls=WholeHelp)

DISK_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES}
"""Errors of the operating system that the user can do something about."""

GO_ON = "What is done is kept: run the command again, with --resume where it takes that."
"""To whoever had no space left."""


def run() -> None:
    """Run the command. The user's errors, and a machine that fails, become one message on stderr and exit code 2."""
    _announce_downloads()
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


def _fail(message: str) -> None:
    PlainConsole(stderr=True).say(("error:", "bold red"), " ", message)
    sys.exit(2)


def _announce_downloads() -> None:
    """A first use downloads what it needs: that is told wherever it happens, since it may take a while."""
    logger = logging.getLogger("fissile.assets")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
