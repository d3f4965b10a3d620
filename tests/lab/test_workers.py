"""Jobs in processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import lab_jobs
import psutil
import pytest

from fissile.errors import InputError
from fissile.lab.workers import Job, JobEnd, LabWorker, shares

T = TypeVar("T")


@pytest.fixture
def worker() -> Iterator[LabWorker]:
    made = LabWorker(shares(1)[0], lab_jobs.COMMAND)
    yield made
    made.end()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "job.log"


def end_of(worker: LabWorker, job: Job) -> JobEnd:
    worker.begin(job)
    return wait_for(worker.poll)


def wait_for(told: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + 60
    while not (found := told()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def process_in(log: Path) -> int | None:
    """The process that a sleeping job is."""
    told = re.search(r"process (\d+)\n", log.read_text() if log.exists() else "")
    return None if told is None else int(told[1])


def test_a_job_prints_to_its_log_and_has_as_many_threads_as_cores(
    worker: LabWorker, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert end_of(worker, Job("echo", {}, log)) == JobEnd()
    for line in ("a line of progress\n", "from below\n", f" threads {len(shares(1)[0])}\n"):
        assert line in log.read_text()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    other = log.with_name("other.log")
    assert end_of(worker, Job("echo", {}, other)) == JobEnd()
    assert " threads 7\n" in other.read_text()


def test_a_failed_job_says_why(worker: LabWorker, log: Path) -> None:
    failed = end_of(worker, Job("divide", {"number": 0}, log))
    assert failed.error == "ZeroDivisionError: division by zero"
    for told in (failed.traceback, log.read_text(), log.with_name("job.failure.json").read_text()):
        assert "print(1 / settings[" in told
    assert end_of(worker, Job("divide", {"number": 4}, log)) == JobEnd()
    assert not log.with_name("job.failure.json").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_that_kills_its_process_costs_only_itself(worker: LabWorker, log: Path, number: signal.Signals) -> None:
    died = end_of(worker, Job("kill_itself", {"number": number}, log))
    assert died == JobEnd(error=f"the process died (signal {number.value})")
    if number == signal.SIGSEGV:
        assert "kill_itself" in log.read_text()
    assert end_of(worker, Job("divide", {"number": 4}, log)) == JobEnd()


def test_a_worker_that_is_ended_is_gone(worker: LabWorker, log: Path) -> None:
    worker.begin(Job("sleep", {}, log))
    process = wait_for(lambda: process_in(log))
    worker.end()
    assert not psutil.pid_exists(process)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_worker_keeps_to_its_cores(log: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[-1]
    assert end_of(LabWorker((core,), lab_jobs.COMMAND), Job("echo", {}, log)) == JobEnd()
    assert f"cores [{core}]" in log.read_text()


def test_cores_are_dealt_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 0, 1, 6, 7}, raising=False)
    assert shares(1) == [(0, 1, 3, 6, 7)]
    assert shares(2) == [(0, 1), (3, 6)]
    with pytest.raises(InputError, match="--jobs 6: this process may use 5 cores"):
        shares(6)


PARENT = """\
import sys, time
from pathlib import Path
import lab_jobs
from fissile.lab.workers import Job, LabWorker, shares
LabWorker(shares(1)[0], lab_jobs.COMMAND).begin(Job("sleep", {}, Path(sys.argv[1])))
time.sleep(60)
"""


def test_a_worker_dies_with_its_parent(log: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], env=environment)
    child = psutil.Process(wait_for(lambda: process_in(log)))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([child], timeout=10)[0] == [child]
