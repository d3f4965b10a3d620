"""The section `loggers` of docs/compatibility.md."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from compatibility.page import Row, assert_section
from fissile.config import load_config
from fissile.config.logger_names import LOGGERS
from fissile.errors import ConfigError
from fissile.training.logger_places import FOLDERS, PROJECTS, environment, offline
from fissile.training.loggers import Loggers, figures

FOLDER = Path("/runs/mine")
RATIO = {"num": 1, "den": 4, "rate": 0.25, "low": 0.05, "high": 0.7}


def report_to(*values: str) -> list[str]:
    return load_config(None, [f"training.report_to={value}" for value in values]).training.report_to


def refused(act: Callable[[], object], *told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        act()
    for text in told:
        assert text in str(raised.value)


def made(names: list[str], said: list[str] | None = None, folder: Path = FOLDER) -> Loggers:
    settings = load_config(None, [f"training.report_to={names}"]).training
    said = [] if said is None else said
    return Loggers(settings, folder, lambda: TrainingArguments(output_dir=str(folder), use_cpu=True), said.append)


@contextmanager
def in_place_of_tensorboard(callback: type[TrainerCallback]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(INTEGRATION_TO_CALLBACK, "tensorboard", callback)
        yield


class Breaks(TrainerCallback):  # type: ignore[misc]
    """A logger whose server goes away."""

    def on_log(self, *told: object, **more: object) -> None:
        raise ConnectionError("the server is gone")


def misspelt() -> None:
    refused(lambda: report_to("wanbd"), "there is no logger 'wanbd' (did you mean 'wandb'?)", "tensorboard")
    refused(lambda: report_to("W&B"), "there is no logger 'W&B'")
    refused(lambda: report_to('["tensorboard", "Comet-ML"]'), "did you mean 'comet_ml'?")


def not_installed() -> None:
    missing = next(name for name in LOGGERS if LOGGERS[name] and name not in get_available_reporting_integrations())
    refused(made([missing]).__enter__, f"'{missing}' is not installed", f"pip install {LOGGERS[missing]}")


def one_name() -> None:
    assert report_to("tensorboard") == ["tensorboard"]


def several() -> None:
    assert report_to('["tensorboard", "wandb", "tensorboard"]') == ["tensorboard", "wandb"]
    assert report_to("tensorboard, wandb") == ["tensorboard", "wandb"]


def none() -> None:
    assert report_to("none") == report_to('["none"]') == report_to("[]") == []


def all_installed() -> None:
    with in_place_of_tensorboard(TrainerCallback), made(["all"]) as loggers:
        assert sorted(loggers._callbacks) == sorted(get_available_reporting_integrations())


def all_beside_others() -> None:
    refused(lambda: report_to('["all", "wandb"]'), "'all' stands alone")
    refused(lambda: report_to('["none", "wandb"]'), "'none' stands alone")


def outside_its_platform() -> None:
    refused(made(["kubeflow"]).__enter__, "'kubeflow' cannot be used here", "KUBEFLOW_TRAINER_SERVER_URL")


def without_a_login() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        patch.setenv("WANDB_DIR", str(FOLDER))
        wandb = SimpleNamespace(login=lambda prompt: False, teardown=lambda: None)
        patch.setitem(sys.modules, "wandb", wandb)
        ((variable, value, told),) = offline("wandb")
        assert (variable, value) == ("WANDB_MODE", "offline")
        assert f"{FOLDER}/wandb" in told
        wandb.login = lambda prompt: True
        assert not list(offline("wandb"))


def files() -> None:
    for name in FOLDERS:
        with pytest.MonkeyPatch.context() as patch:
            for variable in FOLDERS[name]:
                patch.delenv(variable, raising=False)
            places = environment(name, FOLDER, "fissile", "mine", is_own_project=False)
            assert all(str(FOLDER) in places[variable] for variable in FOLDERS[name])


def own_places() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DIR", "/elsewhere")
        patch.setenv("WANDB_PROJECT", "theirs")
        assert environment("wandb", FOLDER, "fissile", "mine", is_own_project=False) == {}


def project() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable in (*PROJECTS.values(), "WANDB_NAME"):
            patch.delenv(variable, raising=False)
        assert (made([]).project, made([]).run_name) == ("fissile", "mine")
        for name, variable in PROJECTS.items():
            assert environment(name, FOLDER, "fissile", "mine", is_own_project=False)[variable] == "fissile"
            patch.setenv(variable, "theirs")
            assert environment(name, FOLDER, "named", "mine", is_own_project=True)[variable] == "named"


def evaluations() -> None:
    told = figures("base", {"n_tasks": 4, "recovery_rate": RATIO, "feedback": "service", "settings": {"seed": 0}})
    assert told == {
        "eval_base/n_tasks": 4,
        "eval_base/recovery_rate": 0.25,
        "eval_base/recovery_rate_low": 0.05,
        "eval_base/recovery_rate_high": 0.7,
        "eval_base/recovery_rate_den": 4,
    }


def of_your_own() -> None:
    heard: list[object] = []

    class Mine(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args, state, control, logs, **more):
            heard.append((state.global_step, logs["eval_steps/recovery_rate"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(INTEGRATION_TO_CALLBACK, "mine", Mine)
        with made(["mine"]) as loggers:
            loggers.evaluated("steps", {"recovery_rate": RATIO}, 7)
    assert heard == [(7, 0.25)]


def breaks_on_the_way() -> None:
    said: list[str] = []
    with in_place_of_tensorboard(Breaks), made(["tensorboard"], said) as loggers:
        for step in (1, 2, 3):
            loggers.evaluated("steps", {"recovery_rate": RATIO}, step)
    assert [line for line in said if "failed" in line] == [
        "logger 'tensorboard' failed (the server is gone). The run goes on without it; every figure stands in "
        "metrics.jsonl and evaluations/ of the run folder."
    ]
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ, "and the environment is as it was"


ROWS = [
    Row('`report_to = "tensorboard"`, one name', "works", "As a list of one.", one_name),
    Row('`report_to = ["wandb", "trackio"]`', "works", "Each is told everything, once.", several),
    Row('`report_to = "none"` or `[]`', "works", "No logger.", none),
    Row('`report_to = "all"`', "works", "Those that are installed; which, is said.", all_installed),
    Row('"all" or "none" beside names', "refused", "Name the loggers one by one.", all_beside_others),
    Row('a misspelt name, `"wanbd"`', "refused", "Before anything is loaded, with the nearest known name.", misspelt),
    Row("a logger that is not installed", "refused", "Before any work, with what pip installs.", not_installed),
    Row("`kubeflow` outside of Kubeflow", "refused", "Before any work, with its own reason.", outside_its_platform),
    Row(
        "`wandb` without a login",
        "converted",
        "It logs offline, and that is said; `wandb sync` sends it.",
        without_a_login,
    ),
    Row(
        "a logger that fails on the way (network, disk, its server)",
        "works",
        "It is left out from there on, which is said once; the run goes on.",
        breaks_on_the_way,
    ),
    Row(
        "a callback of your own, `INTEGRATION_TO_CALLBACK[name] = ...` of transformers",
        "works",
        "As any other, where your program registers it before the recipe is read.",
        of_your_own,
    ),
    Row(
        "files of `wandb`, `tensorboard`, `trackio`, `mlflow`, `comet_ml`, `swanlab`",
        "works",
        "They lie in the run folder.",
        files,
    ),
    Row("WANDB_DIR, WANDB_PROJECT and the like, set by you", "works", "They stay.", own_places),
    Row(
        "`training.project`, `training.run_name`",
        "works",
        "By default 'fissile' and the run folder's name; a project in the recipe wins over the environment.",
        project,
    ),
    Row(
        "the recovery evaluations",
        "works",
        "As `eval_<stage>/<metric>` with `_low`, `_high`, `_den`, at their step; a learning curve is `eval_steps`.",
        evaluations,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("loggers", ROWS)


def test_every_integration_of_transformers_is_known() -> None:
    assert set(LOGGERS) == set(INTEGRATION_TO_CALLBACK)
