"""The recovery evaluation: whole episodes over every scripted turn, one record each.

A single-step task is an episode of one response. Its failure is answered by a feedback source, and the policy tries
again, up to `Limits.retries` times. A world that runs calls answers for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fissile.calls import Attempt
from fissile.engines.base import Sampling
from fissile.engines.driver import Inject, roll_out
from fissile.engines.policy import Policy
from fissile.environments.base import EnvironmentMaker, ErrorProtocol
from fissile.feedback import Diagnoser
from fissile.metrics import Episode
from fissile.rollouts import End, Limits, OpenRollout, Rollout
from fissile.tasks import Task

FEEDBACK: Mapping[ErrorProtocol, str] = {
    ErrorProtocol.RECOVERY: "environment",
    ErrorProtocol.OFFICIAL: "environment (none after a malformed call)",
}
"""Where the feedback of an evaluation comes from where the world itself answers."""

SAMPLE_SEEDS = 1_000_003
"""Between the seeds of two samples of a task that are asked for one by one; more than an episode has steps."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a response leaves behind.

    Attributes:
        turn: index of the scripted turn.
        attempt: the response, its calls, its errors.
        results: what the world answered.
        silent: the judge blames it for a wrong turn although nothing complained.
        gave_up: it calls nothing after a failed one, in a turn that ended wrong.
        injected: a fault injector forced it.
    """

    turn: int
    attempt: Attempt
    results: tuple[str, ...] = ()
    silent: bool = False
    gave_up: bool = False
    injected: bool = False

    @property
    def is_attempt(self) -> bool:
        """True where it calls tools, fails, is blamed, or gives up: what merely ends a turn is no attempt."""
        return bool(self.attempt.calls or self.attempt.errors or self.silent or self.gave_up)


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """What an evaluated episode leaves behind; JSON-ready by `fissile.serial`.

    Attributes:
        task_id: the task.
        category: its category.
        valid: every turn was finished and judged right.
        end: how it ended.
        reason: why it is not: the judge's key for the first wrong turn, or how the rollout was cut; "" when valid.
        verdicts: for each finished turn "" or the judge's key.
        steps: one for each response.
        lost: where the engine or the world failed, why: a short reason, a colon and what happened; else "".
        judged_at_once: a single-step task: every response is an attempt, and the last one decides.
    """

    task_id: str
    category: str
    valid: bool
    end: End
    reason: str = ""
    verdicts: tuple[str, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    lost: str = ""
    judged_at_once: bool = False

    @classmethod
    def of(cls, rollout: Rollout) -> EpisodeRecord:
        """The record of a rollout."""
        task, gave_up = rollout.context.task, rollout.gave_up
        steps = tuple(
            StepRecord(
                step.context.turn,
                step.attempt,
                tuple(result.content for result in step.results),
                index in rollout.silent,
                index in gave_up,
                step.injected,
            )
            for index, step in enumerate(rollout.steps)
        )
        verdicts = tuple(verdict.reason for verdict in rollout.verdicts)
        return cls(
            task.id,
            task.category,
            rollout.correct,
            rollout.end,
            failure_reason(rollout),
            verdicts,
            steps,
            rollout.lost,
            rollout.judged_at_once,
        )

    @property
    def is_lost(self) -> bool:
        """The engine or the world failed: it says nothing of how the policy would have ended."""
        return self.end is End.INFRASTRUCTURE

    def episode(self, feedback: str, cluster: str = "") -> Episode | None:
        """The same for the metrics; None where it holds no attempt.

        An episode that is not valid and holds no attempt, such as one cut before it began, has its first response for
        one. A single-step episode whose retry was lost ends before it, and is marked as lost.
        """
        if self.judged_at_once:
            return self._single_step(feedback)
        chosen = [step for step in self.steps if step.is_attempt] or ([] if self.valid else list(self.steps[:1]))
        if not chosen:
            return None
        blamed = [index for index, step in enumerate(chosen) if step.silent or not step.is_attempt]
        turns = tuple(step.turn for step in chosen)
        return self._of(chosen, feedback, correct=self.valid, turns=turns, silent=tuple(blamed), cluster=cluster)

    def _single_step(self, feedback: str) -> Episode | None:
        made = self.steps[:-1] if self.is_lost else self.steps
        if all(step.injected for step in made):
            return None
        blamed = tuple(index for index, step in enumerate(made) if step.silent)
        overruled = not self.is_lost and self.valid == made[-1].attempt.failed  # a world may say so only when it judges
        return self._of(made, feedback, lost=self.is_lost, silent=blamed, correct=self.valid if overruled else None)

    def _of(self, steps: Sequence[StepRecord], feedback: str, **judged: object) -> Episode:
        injected = tuple(index for index, step in enumerate(steps) if step.injected)
        attempts = tuple(step.attempt for step in steps)
        return Episode(self.task_id, attempts, feedback, injected=injected, **judged)  # type: ignore[arg-type]


def failure_reason(rollout: Rollout) -> str:
    """Why a rollout is not valid, as BFCL's checker says it; "" when it is.

    A rollout that was cut before its last turn is "force_terminated", whatever its earlier turns were; then the first
    wrong turn decides.
    """
    if rollout.end is End.INFRASTRUCTURE:
        return "infrastructure"
    if rollout.context.turn + len(rollout.verdicts) < len(rollout.context.task.turns):
        return "force_terminated"
    return next((verdict.reason for verdict in rollout.verdicts if not verdict.valid), "")


def begun_turns(tasks: Sequence[Task], episodes: Sequence[EpisodeRecord]) -> Iterator[tuple[Task, int, bool]]:
    """Every turn that began in an episode: its task, its index, and whether it begins with a forced failure."""
    by_id = {task.id: task for task in tasks}
    for episode in episodes:
        forced: dict[int, bool] = {}
        for step in episode.steps:
            forced[step.turn] = forced.get(step.turn, False) or step.injected
        yield from ((by_id[episode.task_id], turn, is_forced) for turn, is_forced in forced.items())


def evaluate(
    policy: Policy,
    tasks: Sequence[Task],
    make_environment: EnvironmentMaker,
    sampling: Sampling,
    record: Callable[[EpisodeRecord], None],
    limits: Limits | None = None,
    *,
    samples: int = 1,
    window: int | None = None,
    inject: Inject = lambda rollout: None,
    diagnoser: Diagnoser | None = None,
    progress: Callable[[int, int], None] = lambda made, known: None,
) -> None:
    """Run `samples` episodes of each task.

    Args:
        policy: who answers.
        tasks: any.
        make_environment: gives each episode its own world.
        sampling: of every response; those of a later round draw from other seeds.
        record: receives each episode as it ends, in any order. One that the engine failed on has `end`
            "infrastructure": it says nothing about the policy.
        limits: where an episode is cut.
        samples: episodes of a task.
        window: episodes side by side of a policy that answers in batches; None takes all.
        inject: forces failures where a turn begins (`Injector.begin_turn`); by default none.
        diagnoser: explains the failures of single-step tasks to the policy, where `limits` allow retries.
        progress: called with (responses made, those and the ones at hand) as they come.
    """
    passes = 1 if policy.concurrency is None else samples  # a server that heeds the seed would answer a sample twice

    def begun() -> Iterator[OpenRollout]:
        for task in tasks:
            for _ in range(samples // passes):
                rollout = OpenRollout(make_environment(task), policy, limits or Limits())
                rollout.begin(task)
                yield rollout

    def finished(rollout: Rollout) -> None:
        record(EpisodeRecord.of(rollout))

    for number in range(passes):
        drawn = replace(sampling, seed=sampling.seed + SAMPLE_SEEDS * number)
        roll_out(policy, begun(), drawn, finished, window, inject, diagnoser, progress)
