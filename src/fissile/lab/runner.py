"""Running a laboratory: what is left of it, in processes of their own, whatever becomes of single runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fissile.config import SimulatorRecipe
from fissile.config.start_recipe import StartConfig
from fissile.errors import InputError, RunError
from fissile.feedback.source_names import LEARNED
from fissile.lab.display import Display
from fissile.lab.lab_folder import LabFolder, RunKey
from fissile.lab.plan import LabSchedule, PlannedRun, configure, make_plan, refuse_other_runs
from fissile.lab.provenance import write_lab
from fissile.lab.spec import LabSpec
from fissile.lab.workers import COMMAND, Job, JobEnd, LabWorker, shares
from fissile.machine import usable_cores

LOOK_SECONDS = 0.2
"""Between two looks at what goes on."""


def run_lab(
    spec: LabSpec,
    display: Display,
    jobs: int = 1,
    only: Collection[str] = (),
    seeds: Collection[int] = (),
    command: str = "",
    program: Sequence[str] = COMMAND,
) -> Mapping[RunKey, str]:
    """Make every run that is not finished; one that fails is written down, and the others go on.

    Args:
        spec: the laboratory.
        display: is told what happens.
        jobs: runs side by side.
        only: names of arms; they alone and the arms that they match. Empty for all.
        seeds: they alone. Empty for all.
        command: repeats this; kept in `lab.json`.
        program: the command that does a job.

    Returns:
        The reason of each failure, in the order in which they came.

    Raises:
        InputError: the folder holds something else, the start cannot be made, or there are fewer cores than jobs.
    """
    folder = LabFolder(Path(spec.output))
    plan, recipe = make_plan(spec, only, seeds), spec.simulator_recipe()
    workers = [LabWorker(share, program) for share in shares(jobs)]
    with folder.locked():
        folder.refuse_other_start(spec.start)
        folder.refuse_other_simulator(recipe)
        refuse_other_runs(spec, folder, make_plan(spec))
        summaries = {run.key: folder.read_summary(run.key) for run in plan if folder.is_finished(run.key)}
        schedule = LabSchedule.of(plan, summaries)
        write_lab(folder, spec, command, runs=bool(schedule.waiting))
        display.open(spec.title, [run.key for run in schedule.waiting], summaries)
        cores = len(usable_cores())
        if idle := cores % jobs:
            display.say(f"--jobs {jobs}: {idle} of {cores} cores idle, since all runs get equally many")
        try:
            if schedule.waiting and spec.start is not None:
                _make_start(spec.start, folder, workers[0], display)
            lacking = ""
            if recipe is not None and any(
                spec.asks_simulator(arm) for arm in {run.key.arm for run in schedule.waiting}
            ):
                lacking = _make_simulator(recipe, folder, workers[0], display)
            _Session(spec, folder, schedule, display, lacking).work_through(workers)
        finally:
            for worker in workers:
                worker.end()
            display.close()
    return schedule.failed


def _make_start(start: StartConfig, folder: LabFolder, worker: LabWorker, display: Display) -> None:
    """The small policy, unless it is there.

    Raises:
        RunError: it cannot be made.
    """
    if folder.start.is_finished:
        return
    with display.making("the small policy", folder.start_log):
        settings = {"start": start.model_dump(mode="json"), "folder": str(folder.start.path)}
        outcome = _done(Job("start", settings, folder.start_log), worker, display)
    if outcome.error:
        raise RunError(f"The small policy could not be made: {outcome.error}. See '{folder.start_log}'.")


def _make_simulator(recipe: SimulatorRecipe, folder: LabFolder, worker: LabWorker, display: Display) -> str:
    """The error simulator, unless it is there. Why it could not be made: the runs that ask it fail of that; else ""."""
    if folder.has_simulator(recipe):
        return ""
    with display.making("the error simulator", folder.simulator_log):
        outcome = _done(Job("simulator", recipe.model_dump(mode="json"), folder.simulator_log), worker, display)
    if not outcome.error:
        return ""
    return f"The error simulator could not be made: {outcome.error}. See '{folder.simulator_log}'."


def _done(job: Job, worker: LabWorker, display: Display) -> JobEnd:
    """What became of a job that all others wait for."""
    worker.begin(job)
    while (outcome := worker.poll()) is None:
        time.sleep(LOOK_SECONDS)
        display.tick()
    return outcome


@dataclass(frozen=True)
class _Session:
    """One pass over what is left."""

    spec: LabSpec
    folder: LabFolder
    schedule: LabSchedule
    display: Display
    lacking: str
    """Why there is no error simulator; "" where there is one, or none is needed."""

    def work_through(self, workers: Sequence[LabWorker]) -> None:
        """Return when nothing is left that can be run."""
        busy: dict[LabWorker, PlannedRun] = {}
        while True:
            for worker in workers:
                if worker not in busy and (run := self._begin_next(worker)) is not None:
                    busy[worker] = run
            if not busy:
                return
            time.sleep(LOOK_SECONDS)
            self.display.tick()
            for worker, run in list(busy.items()):
                if (outcome := worker.poll()) is not None:
                    del busy[worker]
                    self._end(run.key, outcome)

    def _begin_next(self, worker: LabWorker) -> PlannedRun | None:
        """Start the first run that may; None where none may."""
        while (run := self.schedule.take()) is not None:
            self.folder.failure(run.key).unlink(missing_ok=True)
            self.folder.clear_unbegun(run.key)
            try:
                config = configure(self.spec, self.folder, run)
            except InputError as error:
                self._fail(run.key, JobEnd(error=str(error)))
                continue
            if self.lacking and LEARNED in config.sources:
                self._fail(run.key, JobEnd(error=self.lacking))
                continue
            self.display.began(run.key)
            worker.begin(Job("run", config.model_dump(mode="json"), self.folder.log(run.key)))
            return run
        return None

    def _end(self, key: RunKey, outcome: JobEnd) -> None:
        if outcome.error:
            self._fail(key, outcome)
        elif not self.folder.is_finished(key):
            self._fail(key, JobEnd(error=f"it ended without '{self.folder.run(key).summary}'"))
        else:
            self.schedule.finish(key)
            self.display.finished(key, self.folder.read_summary(key))

    def _fail(self, failed: RunKey, outcome: JobEnd) -> None:
        """Write a failure down, and those of the runs that wait for this one."""
        for key, reason in self.schedule.fail(failed, outcome.error):
            self.folder.write_failure(key, reason, outcome.traceback if key == failed else "")
            self.display.failed(key, reason, self.folder.log(failed))
