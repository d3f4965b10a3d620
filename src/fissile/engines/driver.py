"""Driving open rollouts: many of them side by side, in batches for a local engine, in threads for an endpoint."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

from fissile.corrections.branch import corrective_context, failure_of
from fissile.engines.base import Sampling, watched
from fissile.engines.policy import Policy
from fissile.errors import ConfigError, Interrupted
from fissile.feedback import Diagnoser
from fissile.rollouts import OpenRollout, Rollout

Finished = Callable[[Rollout], None]
"""Called with each rollout as it ends, in any order, never twice at once."""

Inject = Callable[[OpenRollout], None]
"""Called with a rollout before its policy is asked: `Injector.begin_turn` answers in the policy's place."""

ResponseCount = Callable[[int, int], None]
"""Called with (responses made, those and the ones at hand)."""


def roll_out(
    policy: Policy,
    rollouts: Iterable[OpenRollout],
    sampling: Sampling,
    finished: Finished = lambda rollout: None,
    window: int | None = None,
    inject: Inject = lambda rollout: None,
    diagnoser: Diagnoser | None = None,
    progress: ResponseCount = lambda made, known: None,
) -> None:
    """Run rollouts to their end.

    Args:
        policy: answers their contexts.
        rollouts: begun or resumed; taken one by one, as places become free.
        sampling: of every response. The seed moves on with each round of a batch, and with each step of a thread.
        finished: receives each rollout as it ends.
        window: rollouts that a batch holds at once; None takes all.
        inject: forces failures where a turn begins. Called in the threads of the rollouts.
        diagnoser: explains the failures that rollouts with `Limits.retries` wait with, those of a round at once.
        progress: hears how far a policy that answers in batches is.
    """
    beside = _Beside(inject, diagnoser)
    if policy.concurrency is None:
        _in_batches(policy, iter(rollouts), sampling, finished, window, beside, progress)
    else:
        _in_threads(policy, iter(rollouts), sampling, finished, policy.concurrency, beside)


@dataclass(frozen=True)
class _Beside:
    """What happens to rollouts beside the policy's responses."""

    inject: Inject
    diagnoser: Diagnoser | None

    def begin(self, rollouts: Sequence[OpenRollout]) -> None:
        force(rollouts, self.inject, self.diagnoser)

    def follow(self, rollouts: Sequence[OpenRollout]) -> None:
        explain(rollouts, self.diagnoser)


def _in_batches(
    policy: Policy,
    waiting: Iterator[OpenRollout],
    sampling: Sampling,
    finished: Finished,
    window: int | None,
    beside: _Beside,
    progress: ResponseCount,
) -> None:
    active: list[OpenRollout] = []
    made = 0
    for turn in itertools.count():
        active += itertools.islice(waiting, None if window is None else window - len(active))
        if not active:
            return
        beside.begin(active)
        contexts = {at: rollout.context for at, rollout in enumerate(active) if rollout.context is not None}
        with watched(partial(_tell_further, progress, made)):
            responses = policy.respond(list(contexts.values()), replace(sampling, seed=sampling.seed + turn))
        for at, response in zip(contexts, responses, strict=True):
            active[at].answer(response)
        beside.follow(active)
        made += len(contexts)
        progress(made, made + sum(not rollout.is_over for rollout in active))
        for rollout in active:
            if rollout.is_over:
                finished(rollout.record())
        active = [rollout for rollout in active if not rollout.is_over]


def _in_threads(
    policy: Policy,
    waiting: Iterator[OpenRollout],
    sampling: Sampling,
    finished: Finished,
    concurrency: int,
    beside: _Beside,
) -> None:
    """An exception of one thread stops the others after the response at hand; what has finished stays finished."""
    given_up = threading.Event()

    def run(rollout: OpenRollout) -> Rollout | None:
        turn = 0
        beside.begin([rollout])
        while rollout.context is not None:
            if given_up.is_set():
                return None
            (response,) = policy.respond([rollout.context], replace(sampling, seed=sampling.seed + turn))
            rollout.answer(response)
            beside.follow([rollout])
            beside.begin([rollout])
            turn += 1
        return rollout.record()

    running: set[Future[Rollout | None]] = set()
    failure: BaseException | None = None
    pool = ThreadPoolExecutor(concurrency)
    try:
        while True:
            if failure is None:
                next_ones = itertools.islice(waiting, concurrency - len(running))
                running |= {pool.submit(run, rollout) for rollout in next_ones}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                if error := future.exception():
                    failure = failure or error
                    given_up.set()
                elif (record := future.result()) is not None:
                    finished(record)
    finally:
        given_up.set()
        pool.shutdown(wait=sys.exc_info()[0] is not Interrupted, cancel_futures=True)
    if failure is not None:
        raise failure


def force(rollouts: Sequence[OpenRollout], inject: Inject, diagnoser: Diagnoser | None) -> None:
    """Force failures where turns begin, and explain those that no world answers, until none is left to force."""
    for rollout in rollouts:
        inject(rollout)
    while explain(rollouts, diagnoser):
        for rollout in rollouts:
            inject(rollout)


def explain(rollouts: Sequence[OpenRollout], diagnoser: Diagnoser | None) -> bool:
    """Answer every failure that waits among some rollouts with its diagnosis, all at once; True where any did.

    Raises:
        ConfigError: one waits, and there is no diagnoser.
    """
    waiting = [(rollout, step) for rollout in rollouts if (step := rollout.awaiting) is not None]
    if not waiting:
        return False
    if diagnoser is None:
        raise ConfigError(
            "A failed attempt is to be retried, and nobody explains it. Give a diagnoser, such as "
            "Diagnoser('rules') of fissile.feedback, or leave Limits.retries at 0."
        )
    said = diagnoser.diagnose([failure_of(step, step.attempt) for _, step in waiting])
    for (rollout, step), feedback in zip(waiting, said, strict=True):
        rollout.recover(corrective_context(step, step.attempt, feedback.text, rollout.writer))
    return True


def _tell_further(progress: ResponseCount, before: int, made: int, total: int) -> None:
    progress(before + made, before + total)
