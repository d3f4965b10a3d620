"""What the workers of a laboratory do in tests: `COMMAND` runs this file."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fissile.config import RunConfig, SimulatorRecipe
from fissile.config.start_recipe import StartConfig
from fissile.errors import DataError
from fissile.lab import execution
from fissile.training.progress import Progress
from fissile.training.run_folder import RunFolder
from fissile.training.simulator_folder import SimulatorFolder, data_settings, training_settings

SPENT = 70


def act(settings: Mapping[str, Any], progress: Progress) -> None:
    """A run that does what the name of its arm says, and counts its tries."""
    config = RunConfig.model_validate(settings)
    folder = RunFolder(Path(config.output))
    folder.enter(config, resume=True)
    with (folder.path / "tries").open("a") as tries:
        tries.write(f"{os.getpid()}\n")
    print("hello from", folder.path.parent.name)
    mended = (folder.path.parents[2] / "mended").exists()
    if not mended:
        match folder.path.parent.name:
            case "raising":
                raise ZeroDivisionError("no more")
            case "refusing":
                raise DataError("Give it other tasks.")
            case "dying":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exiting":
                os._exit(3)
            case "leaving":
                return
            case "sleeping":
                time.sleep(60)
    spent = {"rollouts": 4, "context_tokens": SPENT - 20 + config.seed, "sampled_tokens": 20}
    ratio = {"num": 1, "den": 2, "rate": 0.5, "low": 0.1, "high": 0.9}
    summary = {"stages": {"grpo": {"first_attempt_accuracy": ratio}}, "seconds": {"grpo": 1.0}, "spent": spent}
    folder.summary.write_text(json.dumps(summary), encoding="utf-8")


def make_small_policy(settings: Mapping[str, Any], progress: Progress) -> None:
    """A start that cannot be made where its seed is 13."""
    config, folder = StartConfig.model_validate(settings["start"]), Path(settings["folder"])
    if config.seed == 13:
        raise ZeroDivisionError("unlucky")
    folder.mkdir()
    (folder / "start.json").write_text(json.dumps({"config": config.model_dump(mode="json")}), encoding="utf-8")


def make_small_simulator(settings: Mapping[str, Any], progress: Progress) -> None:
    """A simulator that cannot be made where its seed is 13; it counts its tries."""
    recipe = SimulatorRecipe.model_validate(settings)
    folder = SimulatorFolder(Path(recipe.output))
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / "tries").open("a") as tries:
        tries.write(f"{recipe.model.path}\n")
    if recipe.seed == 13 and not (folder.path.parent / "mended").exists():
        raise ZeroDivisionError("unlucky")
    folder.finish("data", data_settings(recipe), {})
    folder.finish("training", training_settings(recipe), {})


def echo(settings: Mapping[str, Any], progress: Progress) -> None:
    """Say where it is, in every way in which a process can."""
    print("of", os.getpid(), "threads", os.environ["OMP_NUM_THREADS"])
    print("cores", sorted(os.sched_getaffinity(0)), file=sys.stderr)
    progress.say("a line of progress")
    os.write(1, b"from below\n")


def divide(settings: Mapping[str, Any], progress: Progress) -> None:
    print(1 / settings["number"])


def kill_itself(settings: Mapping[str, Any], progress: Progress) -> None:
    os.kill(os.getpid(), settings["number"])


def sleep(settings: Mapping[str, Any], progress: Progress) -> None:
    print("process", os.getpid(), flush=True)
    time.sleep(60)


COMMAND = (sys.executable, __file__)
JOBS = {"run": act, "start": make_small_policy, "simulator": make_small_simulator} | {
    job.__name__: job for job in (echo, divide, kill_itself, sleep)
}

if __name__ == "__main__":
    execution.JOBS |= JOBS
    execution.work(sys.argv[1], json.loads(sys.stdin.readline()), Path(sys.argv[2]))
