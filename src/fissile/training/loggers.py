"""The loggers of a run: checked before any work, told every step and every evaluation, and never the end of a run.

They are the integrations of transformers. What they write lies in the run folder, unless their own environment
variables say otherwise; one that fails is left out from there on, and that is said once.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from fissile.calls import JSON
from fissile.config import TrainingConfig
from fissile.config.logger_names import ALL, LOGGERS
from fissile.errors import ConfigError
from fissile.training.logger_places import close_wandb, environment, in_folder, offline

PROJECT = "fissile"
"""Where runs go that name no project."""

FAREWELL = "on_train_end"
"""It closes most loggers, and the last evaluation comes after the training: they hear it when the run ends."""

STAYS_OPEN = ("wandb",)
"""Loggers that hear the farewell at once: it closes nothing, and they may upload the model, which is then at hand."""


class Loggers:
    """Forwards what a trainer tells its callbacks, and the figures of evaluations.

    Used as a context: entering checks and makes the loggers, leaving closes them.
    """

    def __init__(
        self,
        settings: TrainingConfig,
        folder: Path,
        arguments: Callable[[], TrainingArguments],
        say: Callable[[str], None],
    ) -> None:
        """Make nothing yet. `arguments` makes what the trainer is told, which loggers keep as the run's parameters."""
        self._settings = settings
        self._folder = folder.absolute()
        self._make_arguments = arguments
        self._say = say
        self._callbacks: dict[str, Any] = {}
        self._places = ExitStack()
        self._arguments: TrainingArguments | None = None

    @property
    def run_name(self) -> str:
        """The run's name for the loggers."""
        return self._settings.run_name or os.environ.get("WANDB_NAME") or self._folder.name

    @property
    def project(self) -> str:
        """The loggers' project."""
        return self._settings.project or os.environ.get("WANDB_PROJECT") or PROJECT

    def __enter__(self) -> Self:
        """Check the loggers and make them. Raises ConfigError: one is not installed, or cannot be used here."""
        names = chosen(self._settings.report_to)
        if not names:
            if self._settings.report_to:
                self._say("loggers: none is installed (training.report_to = 'all')")
            return self
        with ExitStack() as made:
            for name in names:
                is_own = self._settings.project is not None
                made.enter_context(_set(environment(name, self._folder, self.project, self.run_name, is_own)))
                made.enter_context(in_folder(name))
                for variable, value, told in offline(name):
                    made.enter_context(_set({variable: value}))
                    self._say(told)
            self._arguments = self._make_arguments()
            self._callbacks = dict(self._made(names))
            self._places = made.pop_all()
        self._say(f"loggers: {', '.join(self._callbacks)} (project '{self.project}', run '{self.run_name}')")
        self._tell("on_init_end", self._arguments, self._state(0), TrainerControl())
        return self

    def _made(self, names: list[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            try:
                yield name, make(name, self._folder)
            except ConfigError as error:
                if self._settings.report_to != [ALL]:
                    raise
                self._say(str(error))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the loggers, whatever ended the run."""
        if self._callbacks:
            for name in [name for name in self._callbacks if name not in STAYS_OPEN]:
                self._tell_one(name, FAREWELL, self._arguments, self._state(0), TrainerControl())
            if "wandb" in self._callbacks:
                close_wandb(exit_code=int(kind is not None))
        self._callbacks = {}
        self._places.close()

    def evaluated(self, stage: str, report: Mapping[str, JSON], step: int, model: Any = None) -> None:
        """Tell the figures of `evaluations/<stage>.json`, of a policy that was trained for so many optimizer steps."""
        if self._callbacks:
            told = self._arguments, self._state(step), TrainerControl()
            self._tell("on_log", *told, logs=figures(stage, report), model=model)

    def __getattr__(self, event: str) -> Callable[..., None]:
        """Each event of a trainer's callbacks, forwarded."""
        if not event.startswith("on_"):
            raise AttributeError(event)
        return partial(self._tell, event)

    def _tell(self, event: str, *told: Any, **more: Any) -> None:
        for name in list(self._callbacks):
            if event != FAREWELL or name in STAYS_OPEN:
                self._tell_one(name, event, *told, **more)

    def _tell_one(self, name: str, event: str, *told: Any, **more: Any) -> None:
        """Tell one logger; foreign code, servers and disks may raise what they like."""
        try:
            getattr(self._callbacks[name], event)(*told, **more)
        except Exception as error:
            del self._callbacks[name]
            self._say(
                f"logger '{name}' failed ({_reason(error)}). The run goes on without it; every figure stands in "
                "metrics.jsonl and evaluations/ of the run folder."
            )

    def _state(self, step: int) -> TrainerState:
        assert self._arguments is not None
        first = self._arguments.process_index == 0
        return TrainerState(
            global_step=step,
            max_steps=self._settings.steps,
            is_world_process_zero=first,
            is_local_process_zero=self._arguments.local_process_index == 0,
        )


def chosen(names: list[str]) -> list[str]:
    """The loggers that `training.report_to` asks for. Raises ConfigError: one is not installed."""
    available = set(get_available_reporting_integrations())
    if names == [ALL]:
        return sorted(available)
    for name in names:
        package = LOGGERS.get(name, "")
        if name not in available and not all(map(_is_installed, package.split())):
            instead = f"; installed are: {', '.join(sorted(available))}" if available else ""
            raise ConfigError(
                f"training.report_to: the logger '{name}' is not installed. Install it (pip install {package}), or "
                f"leave it out{instead}."
            )
    return names


def _is_installed(package: str) -> bool:
    """Whether pip knows it: transformers leaves out of its list what is installed and not configured."""
    return any(True for _ in metadata.distributions(name=package))


def make(name: str, folder: Path) -> Any:
    """The callback of a logger. Raises ConfigError: it cannot be used here; its own reason is told."""
    try:
        if name == "dvclive":
            live = importlib.import_module(name).Live(dir=str(folder / name))
            return INTEGRATION_TO_CALLBACK[name](live=live)
        return INTEGRATION_TO_CALLBACK[name]()
    except Exception as error:
        what = f"training.report_to: the logger '{name}' cannot be used here ({_reason(error)})"
        raise ConfigError(f"{what}. See to that, or leave it out.") from error


def figures(stage: str, report: Mapping[str, JSON]) -> dict[str, float]:
    """Each rate of an evaluation under `eval_<stage>/<metric>`, with its interval and its denominator."""
    return {f"eval_{stage}/{name}": value for name, value in _numbers(report)}


def _numbers(report: Mapping[str, JSON]) -> Iterator[tuple[str, float]]:
    for name, value in report.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value
        elif isinstance(value, Mapping) and {"rate", "num", "den"} <= set(value):
            ends = {"": "rate", "_low": "low", "_high": "high", "_den": "den"}
            yield from ((name + end, value[key]) for end, key in ends.items() if value.get(key) is not None)


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and put them back."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update({name: before[name] for name in variables if name in before})


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
