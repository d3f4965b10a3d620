"""Ctrl-C and SIGTERM, sent to real commands: the exit code, what is said, and that nobody is left behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fault_server import Handler, after, completion, serving
from tiny_world import make_world

TESTS = Path(__file__).parents[1]
COMMAND = "from fissile.cli import main; main()"
LAB = """\
import functools
import fissile.cli.laboratory
import lab_jobs
from fissile.cli import main
fissile.cli.laboratory.run_lab = functools.partial(fissile.cli.laboratory.run_lab, program=lab_jobs.COMMAND)
if __name__ == "__main__":
    main()
"""


@contextmanager
def running(*arguments: object, program: str | Path = COMMAND, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a group of its own, as a shell starts it."""
    how = [str(program)] if isinstance(program, Path) else ["-c", program]
    process = subprocess.Popen(
        [sys.executable, *how, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(process: subprocess.Popen[str], number: signal.Signals, times: int = 1) -> str:
    """What the command says when its whole group gets a signal; nothing that it started outlives it."""
    children = psutil.Process(process.pid).children(recursive=True)
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    return errors


def closes_turns(handler: Handler) -> None:
    handler.send(200, completion("Done."))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_evaluation_keeps_its_episodes_and_waits_for_no_server(
    bfcl: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "a run"
    options = ("--model", "m", "--categories", "multi_turn_base", "--tasks", 9, "--concurrency", 1, "--output", folder)
    with serving(*[closes_turns] * 8, after(60, closes_turns)) as server:
        with running("eval", "bfcl", "--endpoint", server.url, *options) as process:
            wait_for(lambda: len(server.bodies) == 9, process)
            began = time.monotonic()
            errors = ended(process, number)
        assert time.monotonic() - began < 15
    done = (folder / "episodes.jsonl").read_bytes().count(b"\n")
    assert f"interrupted: {done} of 9 episodes are kept in '{folder}'" in errors
    assert errors.rstrip().endswith(f"--output {shlex.quote(str(folder))} --resume")


def test_before_anything_was_begun(tmp_path: Path) -> None:
    hanging = f"import fissile.cli, time; fissile.cli.import_module = lambda name: time.sleep(60)\n{COMMAND}"
    with running("train", "recipe.toml", program=f"print('here', flush=True)\n{hanging}") as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        errors = ended(process, signal.SIGINT)
    assert "Nothing is left half-written. Start again with: fissile train recipe.toml" in errors


def test_a_training_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    recipe = make_world(tmp_path)
    set_up = ("--set", "training.save_steps=1", "--set", "evaluation.base=false", "--set", "cold_start.examples=0")
    checkpoints = tmp_path / "run" / "checkpoints"
    with running("train", recipe, *set_up) as process:
        wait_for(lambda: any(checkpoints.glob("checkpoint-2")), process)
        errors = ended(process, signal.SIGTERM)
    assert "the training up to step" in errors
    assert f"Kept in '{tmp_path / 'run'}'" in errors
    assert errors.rstrip().endswith("cold_start.examples=0 --resume")
    kept = {int(path.parent.name.rpartition("-")[2]) for path in checkpoints.glob("checkpoint-*/fissile_state_0.json")}
    assert kept
    assert f"step {max(kept)}" in errors


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_a_laboratory_and_its_workers(tmp_path: Path, number: signal.Signals, times: int) -> None:
    (tmp_path / "program.py").write_text(LAB, encoding="utf-8")
    spec = tmp_path / "lab.toml"
    spec.write_text(f'output = "{tmp_path}/lab"\nseeds = 1\n[arms.grpo]\n[arms.sleeping]\n', encoding="utf-8")
    with running("lab", "run", spec, program=tmp_path / "program.py", PYTHONPATH=_path(TESTS / "lab")) as process:
        wait_for(lambda: any((tmp_path / "lab").rglob("sleeping/*/tries")), process)
        errors = ended(process, number, times)
    assert not any((tmp_path / "lab").rglob("failure.json"))
    if times == 2:
        assert "interrupted: " in errors or "ended at once" in errors
        return
    assert "interrupted: 1 of 2 runs are finished in" in errors
    assert f"Go on with: fissile lab run {spec}" in errors


def _path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_download_is_thrown_away(tmp_path: Path) -> None:
    with serving(after(60, closes_turns)) as server:
        index = {"PIP_INDEX_URL": server.url, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "*"}
        with running("fetch", FISSILE_CACHE=str(tmp_path / "cache"), **index) as process:
            wait_for(lambda: any((tmp_path / "cache").glob(".fetch-*/pip.log")), process)
            errors = ended(process, signal.SIGINT)
    assert "In the cache: nothing yet. A part of a download is thrown away. Go on with: fissile fetch" in errors
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_who_asks_to_be_left_alone_is(tmp_path: Path) -> None:
    """As `nohup` and the background of a shell's script do."""
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    asked = f"{deaf}from fissile.cli.interruption import interruptible\nwith interruptible():\n print(1, flush=True)"
    with running(program=f"{asked}; import os, signal; os.kill(os.getpid(), signal.SIGINT); print(2)") as process:
        assert process.communicate(timeout=60) == ("1\n2\n", "")
        assert process.returncode == 0
