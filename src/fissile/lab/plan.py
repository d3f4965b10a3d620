"""The runs of a laboratory in their order, and which of them may start when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from fissile.config import RunConfig
from fissile.errors import ConfigError, RunError
from fissile.lab.lab_folder import LabFolder, RunKey
from fissile.lab.spec import LabSpec


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be made.

    Attributes:
        key: which one.
        match: the run whose spent tokens are its budget.
    """

    key: RunKey
    match: RunKey | None = None


def make_plan(spec: LabSpec, only: Collection[str] = (), seeds: Collection[int] = ()) -> list[PlannedRun]:
    """All runs, seed after seed, so that a laboratory that is cut short compares all arms; matched arms come first.

    Args:
        spec: the laboratory.
        only: names of arms; they alone and the arms that they match. Empty for all.
        seeds: they alone. Empty for all.

    Raises:
        ConfigError: there is no such arm, or no arm among them has such a seed.
    """
    for name in only:
        if name not in spec.arms:
            raise ConfigError(f"--only {name}: there is no such arm; known: {', '.join(spec.arms)}")
    chosen = {*only, *(before for name in only for before in spec.matched(name))} if only else set(spec.arms)
    arms = sorted((name for name in spec.arms if name in chosen), key=lambda name: len(spec.matched(name)))
    most = max(map(spec.seeds_of, arms))
    for seed in seeds:
        if not 0 <= seed < most:
            raise ConfigError(f"--seed {seed}: there is no such seed; there are {most}, counted from 0")
    return [
        _planned(spec, RunKey(arm, seed))
        for seed in (sorted(set(seeds)) or range(most))
        for arm in arms
        if seed < spec.seeds_of(arm)
    ]


def _planned(spec: LabSpec, key: RunKey) -> PlannedRun:
    match = spec.arms[key.arm].match
    return PlannedRun(key, None if match is None else RunKey(match, key.seed))


def configure(spec: LabSpec, folder: LabFolder, run: PlannedRun) -> RunConfig:
    """The configuration of a run, with the budget of the one that it matches, which is finished.

    Raises:
        RunError: the matched run does not tell what it spent.
    """
    tokens = None if run.match is None else folder.spent_tokens(run.match)
    return spec.run_config(run.key.arm, run.key.seed, folder.run(run.key).path, tokens)


def refuse_other_runs(spec: LabSpec, folder: LabFolder, plan: Sequence[PlannedRun]) -> None:
    """Check the runs that have begun, finished or not, against the specification.

    Raises:
        RunError: one was made with another configuration; the message names what changed.
    """
    for run in plan:
        if not folder.is_begun(run.key) or (run.match is not None and not folder.is_finished(run.match)):
            continue
        try:
            folder.run(run.key).enter(configure(spec, folder, run), resume=True)
        except RunError as error:
            raise RunError(
                f"{error}\nOf a laboratory: take the specification back to what that run was made with, choose "
                "another folder with --set output=FOLDER, or remove the folder of that run to repeat it."
            ) from None


@dataclass
class LabSchedule:
    """Which run comes next. A run waits for the one that it matches, and fails with it.

    Every run ends in exactly one of `finished` and `failed`; whoever calls `take` until nothing is left and reports
    every run that it got by `finish` or `fail` is never stuck, since matches form no circle.

    Attributes:
        waiting: not started, in order.
        finished: done, now or before.
        failed: reason of each failure.
    """

    waiting: list[PlannedRun]
    finished: set[RunKey] = field(default_factory=set)
    failed: dict[RunKey, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Sequence[PlannedRun], finished: Collection[RunKey]) -> LabSchedule:
        """The schedule of what is left of a plan."""
        return cls([run for run in plan if run.key not in finished], set(finished))

    def take(self) -> PlannedRun | None:
        """The first run that may start now; None where there is none, or none yet."""
        ready = (run for run in self.waiting if run.match is None or run.match in self.finished)
        run = next(ready, None)
        if run is not None:
            self.waiting.remove(run)
        return run

    def finish(self, key: RunKey) -> None:
        """A run is done."""
        self.finished.add(key)

    def fail(self, key: RunKey, reason: str) -> Iterator[tuple[RunKey, str]]:
        """A run failed: it and all that match it, with their reasons."""
        self.failed[key] = reason
        yield key, reason
        for run in [run for run in self.waiting if run.match == key]:
            self.waiting.remove(run)
            yield from self.fail(run.key, f"the run that it matches, {key}, failed: {reason}")
