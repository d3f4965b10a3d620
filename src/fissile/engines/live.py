"""Driving live rollouts: many of them side by side, in batches for a local engine, in threads for an endpoint."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from fissile.calls import ParsedResponse, ToolCall
from fissile.corrections.context import Context
from fissile.dialects import ChatFormat
from fissile.engines.attempts import extended
from fissile.engines.base import Engine, Sampling
from fissile.engines.policy import Policy, Response
from fissile.engines.token_policy import TokenPolicy, TokenWriter
from fissile.environments.base import Environment
from fissile.errors import Interrupted
from fissile.rollouts import CLOSING, Completion, ErrorProtocol, Limits, LiveRollout, Rollout, Step, Writer
from fissile.tasks import Task

EnvironmentMaker = Callable[[Task], Environment]
"""A new, own environment for a task's world."""

Finished = Callable[[Rollout], None]
"""Called with each rollout as it ends, in any order, never twice at once."""

Inject = Callable[[LiveRollout], None]
"""Called with a rollout before its policy is asked: `LiveInjector.begin_turn` answers in the policy's place."""


def roll_out(
    policy: Policy,
    rollouts: Iterable[LiveRollout],
    sampling: Sampling,
    finished: Finished = lambda rollout: None,
    window: int | None = None,
    inject: Inject = lambda rollout: None,
) -> None:
    """Run rollouts to their end.

    Args:
        policy: answers their contexts.
        rollouts: begun or resumed; taken one by one, as places become free.
        sampling: of every response. The seed moves on with each round of a batch, and with each step of a thread.
        finished: receives each rollout as it ends.
        window: rollouts that a batch holds at once; None takes all.
        inject: forces failures where a turn begins. Called in the threads of the rollouts.
    """
    if policy.concurrency is None:
        _in_batches(policy, iter(rollouts), sampling, finished, window, inject)
    else:
        _in_threads(policy, iter(rollouts), sampling, finished, policy.concurrency, inject)


def _in_batches(
    policy: Policy,
    waiting: Iterator[LiveRollout],
    sampling: Sampling,
    finished: Finished,
    window: int | None,
    inject: Inject,
) -> None:
    active: list[LiveRollout] = []
    for turn in itertools.count():
        active += itertools.islice(waiting, None if window is None else window - len(active))
        if not active:
            return
        for rollout in active:
            inject(rollout)
        contexts = {at: rollout.context for at, rollout in enumerate(active) if rollout.context is not None}
        responses = policy.respond(list(contexts.values()), replace(sampling, seed=sampling.seed + turn))
        for at, response in zip(contexts, responses, strict=True):
            active[at].answer(response)
        for rollout in active:
            if rollout.context is None:
                finished(rollout.record())
        active = [rollout for rollout in active if rollout.context is not None]


def _in_threads(
    policy: Policy,
    waiting: Iterator[LiveRollout],
    sampling: Sampling,
    finished: Finished,
    concurrency: int,
    inject: Inject,
) -> None:
    """An exception of one thread stops the others after the response at hand; what has finished stays finished."""
    given_up = threading.Event()

    def run(rollout: LiveRollout) -> Rollout | None:
        turn = 0
        inject(rollout)
        while rollout.context is not None:
            if given_up.is_set():
                return None
            (response,) = policy.respond([rollout.context], replace(sampling, seed=sampling.seed + turn))
            rollout.answer(response)
            inject(rollout)
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


@dataclass(frozen=True)
class LiveSampler:
    """The `Sampler` of tasks with a live world (see `fissile.engines.attempts`).

    Attributes:
        chat: how conversations are written as tokens.
        make_environment: gives each rollout its own world.
        protocol: what becomes of a response that cannot be executed.
        limits: where a rollout is cut.
    """

    chat: ChatFormat
    make_environment: EnvironmentMaker
    protocol: ErrorProtocol = ErrorProtocol.RECOVERY
    limits: Limits = field(default_factory=Limits)

    def context(self, task: Task) -> Context:
        """The explore context of a task: its first turns are demonstrated by the truth up to `task.start`."""
        rollout = LiveRollout(self.make_environment(task), TokenWriter(self.chat), self.protocol)
        rollout.begin(task, self.demonstrate)
        assert rollout.context is not None  # without limits a demonstration does not end early
        return rollout.context

    def extend(self, step: Step, feedback: str) -> tuple[int, ...]:
        """See `Sampler`."""
        return extended(self.chat, step, feedback)

    def sample(
        self, engine: Engine, contexts: Sequence[Context], sampling: Sampling, samples: int = 1
    ) -> list[Rollout]:
        """See `Sampler`. All rollouts go on in step: each round is one call of the engine."""
        policy = TokenPolicy(engine, self.chat)
        rollouts = [self.resumed(context, policy) for context in contexts for _ in range(samples)]
        roll_out(policy, rollouts, sampling)
        return [rollout.record() for rollout in rollouts]

    def demonstrate(self, calls: Sequence[ToolCall]) -> Response:
        """The response that makes these calls; `CLOSING` where there are none."""
        text = self.chat.dialect.render_calls(calls) if calls else CLOSING
        return Response(text, ParsedResponse(tuple(calls)), Completion(self.chat.completion_ids(text)))

    def resumed(self, context: Context, writer: Writer) -> LiveRollout:
        """A rollout that goes on from a context, in a world of its own."""
        rollout = LiveRollout(self.make_environment(context.task), writer, self.protocol, self.limits)
        rollout.resume(context)
        return rollout
