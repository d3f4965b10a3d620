"""The recovery evaluation in live worlds: whole episodes over every scripted turn, one record each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fissile.calls import Attempt
from fissile.engines.base import Sampling
from fissile.engines.live import EnvironmentMaker, Inject, roll_out
from fissile.engines.policy import Policy
from fissile.metrics import Episode
from fissile.rollouts import End, ErrorProtocol, Limits, LiveRollout, Rollout
from fissile.serial import from_json, to_json
from fissile.tasks import Task

FEEDBACK: Mapping[ErrorProtocol, str] = {
    ErrorProtocol.RECOVERY: "environment",
    ErrorProtocol.OFFICIAL: "environment (none after a malformed call)",
}
"""Where the feedback of an evaluation comes from: the world itself answers."""


@dataclass(frozen=True, slots=True)
class LiveEpisode:
    """What an evaluated episode leaves behind, JSON-ready by `to_dict`.

    Attributes:
        task_id: the task.
        category: its category.
        valid: every turn was finished and judged right.
        reason: why it is not: the judge's key for the first wrong turn, or how the rollout was cut; "" when valid.
        end: how it ended.
        verdicts: for each finished turn "" or the judge's key.
        steps: one for each response: turn, attempt, the tools' answers, whether the judge blames it, whether it gave
            up, and whether a fault injector forced it.
        lost: where the engine or the world failed, why: a short reason, a colon and what happened; else "".
    """

    task_id: str
    category: str
    valid: bool
    reason: str
    end: str
    verdicts: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    lost: str = ""

    @classmethod
    def of(cls, rollout: Rollout) -> LiveEpisode:
        """The record of a rollout."""
        task = rollout.context.task
        steps = tuple(
            {
                "turn": step.context.turn,
                "attempt": to_json(step.attempt),
                "results": [result.content for result in step.results],
                "silent": index in rollout.silent,
                "gave_up": index in rollout.gave_up,
                "injected": step.injected,
            }
            for index, step in enumerate(rollout.steps)
        )
        verdicts = tuple(verdict.reason for verdict in rollout.verdicts)
        reason, end = failure_reason(rollout), rollout.end.value
        return cls(task.id, task.category, rollout.correct, reason, end, verdicts, steps, rollout.lost)

    def episode(self, feedback: str, cluster: str) -> Episode | None:
        """The same for the metrics; None where it holds no attempt.

        A response is an attempt if it calls tools, fails, is blamed, or gives up: what merely ends a turn is none. An
        episode that is not valid and holds no attempt, such as one cut before it began, has its first response for one.
        """
        chosen = [step for step in self.steps if _is_attempt(step)]
        if not chosen and not self.valid and self.steps:
            chosen = [{**self.steps[0], "silent": True}]
        if not chosen:
            return None
        return Episode(
            self.task_id,
            tuple(from_json(Attempt, step["attempt"]) for step in chosen),
            feedback,
            self.valid,
            tuple(step["turn"] for step in chosen),
            tuple(index for index, step in enumerate(chosen) if step["silent"]),
            cluster,
            tuple(index for index, step in enumerate(chosen) if step.get("injected")),  # older records do not say
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "task_id": self.task_id,
            "category": self.category,
            "valid": self.valid,
            "reason": self.reason,
            "end": self.end,
            "verdicts": list(self.verdicts),
            "steps": list(self.steps),
            **({"lost": self.lost} if self.lost else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LiveEpisode:
        """The inverse of `to_dict`."""
        return cls(**{**fields, "verdicts": tuple(fields["verdicts"]), "steps": tuple(fields["steps"])})


def failure_reason(rollout: Rollout) -> str:
    """Why a rollout is not valid, as BFCL's checker says it; "" when it is.

    A rollout that was cut before its last turn is "force_terminated", whatever its earlier turns were; then the first
    wrong turn decides.
    """
    task = rollout.context.task
    if rollout.end is End.INFRASTRUCTURE:
        return "infrastructure"
    if rollout.context.turn + len(rollout.verdicts) < len(task.turns):
        return "force_terminated"
    return next((verdict.reason for verdict in rollout.verdicts if not verdict.valid), "")


def begun_turns(tasks: Sequence[Task], episodes: Sequence[LiveEpisode]) -> Iterator[tuple[Task, int, bool]]:
    """Every turn that began in an episode: its task, its index, and whether it begins with a forced failure."""
    by_id = {task.id: task for task in tasks}
    for episode in episodes:
        forced: dict[int, bool] = {}
        for step in episode.steps:
            forced[step["turn"]] = forced.get(step["turn"], False) or bool(step.get("injected"))
        yield from ((by_id[episode.task_id], turn, is_forced) for turn, is_forced in forced.items())


def evaluate_live(
    policy: Policy,
    tasks: Sequence[Task],
    make_environment: EnvironmentMaker,
    sampling: Sampling,
    record: Callable[[LiveEpisode], None],
    protocol: ErrorProtocol = ErrorProtocol.RECOVERY,
    limits: Limits | None = None,
    window: int | None = None,
    inject: Inject = lambda rollout: None,
) -> None:
    """Run one episode of each task.

    Args:
        policy: who answers.
        tasks: tasks with a world.
        make_environment: gives each episode its own world.
        sampling: of every response.
        record: receives each episode as it ends, in any order. One that the engine failed on has `end`
            "infrastructure": it says nothing about the policy.
        protocol: what becomes of a response that cannot be executed.
        limits: where an episode is cut.
        window: episodes side by side of a policy that answers in batches; None takes all.
        inject: forces failures where a turn begins (`LiveInjector.begin_turn`); by default none.
    """

    def begun() -> Iterator[LiveRollout]:
        for task in tasks:
            rollout = LiveRollout(make_environment(task), policy, protocol, limits or Limits())
            rollout.begin(task)
            yield rollout

    roll_out(policy, begun(), sampling, lambda rollout: record(LiveEpisode.of(rollout)), window, inject)


def _is_attempt(step: Mapping[str, Any]) -> bool:
    attempt = step["attempt"]
    return bool(
        attempt.get("calls") or attempt.get("errors") or step["silent"] or step.get("gave_up")
    )  # older ones do not say
