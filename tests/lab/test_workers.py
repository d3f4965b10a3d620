"""Jobs in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lab_jobs
import psutil
import pytest

from fissile.errors import InputError
from fissile.lab.workers import Job, Outcome, Worker, shares, wait_for_news


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(shares(1)[0], lab_jobs.tell_threads)
    yield made
    made.end()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "job.log"


def outcome(worker: Worker, job: Job) -> Outcome:
    worker.begin(job)
    deadline = time.monotonic() + 60
    while (told := worker.poll()) is None:
        assert time.monotonic() < deadline
        wait_for_news([worker])
    return told


def test_jobs_share_a_process_until_one_fails_and_print_to_their_logs(worker: Worker, log: Path) -> None:
    assert outcome(worker, Job(lab_jobs.echo, ("hi",), log)) == Outcome("hi")
    assert set(log.read_text().split("\n")) == {f"cores: {len(shares(1)[0])}", "hi", "HI", "from below", ""}
    other = log.with_name("other.log")
    first = outcome(worker, Job(lab_jobs.process_id, (), other)).result
    assert outcome(worker, Job(lab_jobs.process_id, (), other)).result == first != os.getpid()
    assert other.read_text() == ""

    failed = outcome(worker, Job(lab_jobs.divide, (0,), other))
    assert failed.error == "ZeroDivisionError: division by zero"
    assert "return 1 / number" in failed.traceback
    assert "return 1 / number" in other.read_text()
    assert outcome(worker, Job(lab_jobs.process_id, (), other)).result != first


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_that_kills_its_process_costs_only_itself(worker: Worker, log: Path, number: signal.Signals) -> None:
    died = outcome(worker, Job(lab_jobs.kill_itself, (number,), log))
    assert died == Outcome(error=f"the process died (signal {number.value})")
    if number == signal.SIGSEGV:
        assert "kill_itself" in log.read_text()
    assert outcome(worker, Job(lab_jobs.divide, (4,), log)) == Outcome(0.25)


def test_ctrl_c_is_left_to_the_parent(worker: Worker, log: Path) -> None:
    process = outcome(worker, Job(lab_jobs.process_id, (), log)).result
    os.kill(process, signal.SIGINT)
    assert outcome(worker, Job(lab_jobs.process_id, (), log)).result == process


def test_a_worker_that_is_ended_is_gone(worker: Worker, log: Path) -> None:
    process = outcome(worker, Job(lab_jobs.process_id, (), log)).result
    worker.begin(Job(lab_jobs.sleep, (60.0,), log))
    worker.end()
    assert not psutil.pid_exists(process)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_worker_keeps_to_its_cores(log: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[-1]
    worker = Worker((core,))
    try:
        assert outcome(worker, Job(lab_jobs.affinity, (), log)).result == [core]
    finally:
        worker.end()


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
from fissile.lab.workers import Job, Worker, shares, wait_for_news
if __name__ == "__main__":
    worker = Worker(shares(1)[0])
    worker.begin(Job(lab_jobs.process_id, (), Path(sys.argv[1])))
    while (told := worker.poll()) is None:
        wait_for_news([worker])
    worker.begin(Job(lab_jobs.sleep, (60.0,), Path(sys.argv[1])))
    print(told.result, flush=True)
    time.sleep(60)
"""


def test_a_worker_dies_with_its_parent(log: Path) -> None:
    here = str(Path(lab_jobs.__file__).parent)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([child], timeout=10)[0] == [child]
