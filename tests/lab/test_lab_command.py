"""`fissile lab` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fissile.lab import LabFolder, RunKey
from tiny_world import make_world

ARMS = """
[arms.start]
set = { training = { steps = 0 }, evaluation = { base = true } }
[arms.grpo]
label = "GRPO"
set = { method = { name = "grpo" } }
[arms.fission]
set = { method = { feedback = "fixed" } }
"""


def make_spec(folder: Path, steps: int = 2) -> Path:
    """A specification of the tiny world: its recipe as what all runs share."""
    head, *tables = make_world(folder, steps).read_text(encoding="utf-8").split("\n[")
    assert "seed = 3" in head
    run = "\n".join(f"[run.{table}" for table in tables).replace("examples = 8", "examples = 0")
    run = run.replace("[run.evaluation]", "[run.evaluation]\nbase = false")
    path = folder / "lab.toml"
    path.write_text(f'output = "{folder / "lab"}"\nseeds = 2\n{run}{ARMS}', encoding="utf-8")
    return path


def fissile(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fissile.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_dry_run_tells_the_runs_and_writes_nothing(tmp_path: Path) -> None:
    told = fissile("lab", "run", make_spec(tmp_path), "--dry-run", "--set", "arms.grpo.seeds=1", "--only", "grpo")
    assert told.returncode == 0, told.stderr
    fields = json.loads(told.stdout)
    assert fields["runs"] == {"grpo": {"seeds": 1, "finished": 0}}
    assert fields["spec"]["arms"]["grpo"]["label"] == "GRPO"
    assert not (tmp_path / "lab").exists()


def test_a_dry_run_tells_the_seeds_that_are_asked(tmp_path: Path) -> None:
    told = fissile("lab", "run", make_spec(tmp_path), "--dry-run", "--seed", "1")
    assert json.loads(told.stdout)["runs"] == {arm: {"seeds": 1, "finished": 0} for arm in ("start", "grpo", "fission")}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "run.training.stepz=3"), "training.stepz: unknown key"),
        (("--only", "dapo"), "there is no such arm"),
        (("--seed", "7"), "--seed 7: there is no such seed"),
        (("--jobs", "1000"), "--jobs 1000: this process may use"),
    ],
)
def test_bad_input_is_one_message_and_code_2(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    refused = fissile("lab", "run", make_spec(tmp_path), *arguments)
    assert refused.returncode == 2
    assert told in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "lab").exists()


def test_there_is_no_report_of_what_is_no_laboratory(tmp_path: Path) -> None:
    refused = fissile("lab", "report", tmp_path)
    assert refused.returncode == 2
    assert "holds no laboratory" in refused.stderr


INTERRUPTED = """\
import sys
from rich.console import Console
import lab_jobs
from fissile.lab import Display, LabSpec, run_lab
if __name__ == "__main__":
    spec = LabSpec.model_validate({"output": sys.argv[1], "seeds": 1, "arms": {"grpo": {}, "sleeping": {}}})
    print(run_lab(spec, Display(Console()), program=lab_jobs.COMMAND))
"""


def test_ctrl_c_ends_everything_and_the_next_run_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(program), str(tmp_path / "lab")]
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = LabFolder(tmp_path / "lab")
    tries = folder.run(RunKey("sleeping", 0)).path / "tries"
    deadline = time.monotonic() + 60
    while not (tries.exists() and tries.read_text().endswith("\n")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert not psutil.pid_exists(int(tries.read_text()))
    assert folder.is_finished(RunKey("grpo", 0))
    assert not folder.failure(RunKey("sleeping", 0)).exists()

    (folder.path / "mended").touch()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "2 runs, 1 finished before, 1 to do" in again.stdout


@pytest.mark.slow
def test_real_runs_are_those_of_fissile_train(tmp_path: Path) -> None:
    """Three arms and two seeds of a tiny model; one arm fails at first, and a run behind others equals one alone."""
    spec = make_spec(tmp_path, steps=4)  # in fewer, a group whose rewards differ may not come up
    wrong = fissile("lab", "run", spec, "--set", "arms.start.set.tasks.max_prompt_tokens=16")
    assert wrong.returncode == 1, wrong.stderr
    assert "2 failed" in wrong.stdout
    assert "start seed 1: No training task is left" in " ".join(wrong.stdout.split())
    folder = LabFolder(tmp_path / "lab")
    for seed in (0, 1):
        assert folder.failure(RunKey("start", seed)).exists()
    right = fissile("lab", "run", spec)
    assert right.returncode == 0, right.stderr + right.stdout
    assert "6 runs, 4 finished before, 2 to do" in right.stdout
    assert "start seed 0 · " in right.stdout
    assert not list(folder.path.rglob("*.failure.json"))
    for arm, stage in (("start", "base"), ("grpo", "grpo"), ("fission", "fission")):
        for seed in (0, 1):
            run = folder.run(RunKey(arm, seed))
            assert [path.stem for path in run.evaluation(stage).parent.glob("*.json")] == [stage]
            assert json.loads(run.summary.read_text(encoding="utf-8"))["seed"] == seed

    alone = tmp_path / "alone"
    recipe = tmp_path / "alone.toml"
    shared = spec.read_text(encoding="utf-8").partition("[run.")[2].partition("[arms.")[0]
    recipe.write_text(f"[run.{shared}".replace("[run.", "["), encoding="utf-8")
    overrides = ["--set", "seed=1", "--set", "method.feedback=fixed", "--output", str(alone)]
    assert fissile("train", recipe, *overrides).returncode == 0
    name = Path("evaluations") / "fission.episodes.jsonl"
    among = folder.run(RunKey("fission", 1))
    assert (among.path / name).read_bytes() == (alone / name).read_bytes()
    assert among.corrections.read_bytes() == (alone / "corrections.jsonl").read_bytes()
    assert among.corrections.stat().st_size
