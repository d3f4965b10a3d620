"""Many rollouts side by side: in batches, in threads, and as the sampler of a training step."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from fissile.contexts import Context
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.policy import Response
from fissile.engines.sampler import Sampler
from fissile.engines.scripted import ScriptedEngine
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, ScriptedPolicy
from fissile.environments.base import Environment
from fissile.errors import InfrastructureError, InputError
from fissile.rollouts import Completion, End, Limits, OpenRollout, Rollout
from fissile.tasks import Task
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
TASKS = [replace(LIVE, id=f"live-{n}") for n in range(7)]


@dataclass(frozen=True)
class Spy(CorruptedOraclePolicy):
    """Notes the seed and the tasks of each batch; as many threads as it is told."""

    threads: int | None = None
    batches: list[tuple[int, list[str]]] = field(default_factory=list)
    breaks_at: str = ""
    others_are_done: threading.Event = field(default_factory=threading.Event)

    @property
    def concurrency(self) -> int | None:  # type: ignore[override]
        return self.threads

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        self.batches.append((sampling.seed, [context.task.id for context in contexts]))
        if self.breaks_at in [context.task.id for context in contexts]:
            self.others_are_done.wait(5)
            raise InputError("The server is gone.")
        return super().respond(contexts, sampling)


def begun(policy: ScriptedPolicy, **limits: int) -> Iterator[OpenRollout]:
    for task in TASKS:
        rollout = OpenRollout(Tally(), policy, limits=Limits(**limits))
        rollout.begin(task)
        yield rollout


def outcome(rollout: Rollout) -> tuple[str, bool, int]:
    return rollout.context.task.id, rollout.correct, len(rollout.steps)


@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_every_rollout_ends_as_it_does_alone(window: int | None, threads: int | None) -> None:
    ended: list[Rollout] = []
    roll_out(Spy(HERMES, threads=threads), begun(Spy(HERMES)), Sampling(), ended.append, window)
    assert sorted(map(outcome, ended)) == [(task.id, True, 9) for task in TASKS]


def test_a_window_is_refilled_as_places_become_free() -> None:
    policy = Spy(HERMES)
    roll_out(policy, begun(policy), Sampling(seed=5), window=3)
    sizes = [len(tasks) for _, tasks in policy.batches]
    assert max(sizes) == 3
    assert sum(sizes) == 7 * 9
    assert [seed for seed, _ in policy.batches] == list(range(5, 5 + len(sizes)))


def test_rollouts_are_begun_only_when_there_is_room() -> None:
    policy, started = Spy(HERMES), 0

    def counted() -> Iterator[OpenRollout]:
        nonlocal started
        for rollout in begun(policy):
            started += 1
            yield rollout

    seen: list[int] = []
    roll_out(policy, counted(), Sampling(), lambda rollout: seen.append(started), window=2)
    assert seen[0] == 2


def test_rollouts_that_are_over_before_they_begin() -> None:
    policy = Spy(HERMES)
    ended: list[Rollout] = []
    roll_out(policy, begun(policy, context_tokens=-1), Sampling(), ended.append, window=2)
    assert [rollout.end for rollout in ended] == [End.CONTEXT_LIMIT] * len(TASKS)
    roll_out(policy, iter(()), Sampling(), ended.append)
    assert len(ended) == len(TASKS)


def test_the_seed_moves_on_with_each_step_of_a_thread() -> None:
    policy = Spy(HERMES, threads=1)
    roll_out(policy, begun(policy), Sampling(seed=3))
    assert [seed for seed, tasks in policy.batches if tasks == ["live-4"]] == list(range(3, 12))


def test_what_has_finished_stays_finished_when_a_thread_fails() -> None:
    policy = Spy(HERMES, threads=2, breaks_at="live-4")
    ended: list[str] = []

    def finished(rollout: Rollout) -> None:
        ended.append(rollout.context.task.id)
        if len(ended) == 4:
            policy.others_are_done.set()

    with pytest.raises(InputError, match="gone"):
        roll_out(policy, begun(policy), Sampling(), finished)
    assert set(ended) >= {"live-0", "live-1", "live-2", "live-3"}
    assert "live-4" not in ended


# --- the sampler -------------------------------------------------------------------------------------------------


def sampler(limits: Limits | None = None) -> Sampler:
    def make(task: Task) -> Environment:
        return Tally()

    return Sampler(CHAT, make, limits=limits or Limits())


def answers_right(prompt: tuple[int, ...], sample: int) -> tuple[int, ...]:
    """The truth, then the end of the turn."""
    text = CHAT.tokenizer.decode(prompt)
    answered = "<tool_response>" in text[text.rfind("Add 1") :]
    calls = HERMES.render_calls(TURN.oracle_calls())
    return CHAT.completion_ids("Done." if answered else calls)


TURN = replace(LIVE, later=())


def test_samples_stand_by_their_contexts() -> None:
    engine = ScriptedEngine(answers_right)
    contexts = [sampler().context(replace(TURN, id=name)) for name in ("a", "b")]
    rollouts = sampler().sample(engine, contexts, Sampling(max_new_tokens=500, seed=11), samples=3)
    assert [rollout.context.task.id for rollout in rollouts] == ["a"] * 3 + ["b"] * 3
    assert [rollout.correct for rollout in rollouts] == [True] * 6
    assert [(len(prompts), sampling.seed, samples) for prompts, sampling, samples in engine.calls] == [
        (2, 11, 3),
        (6, 12, 1),
    ]


@dataclass(frozen=True)
class Broken:
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        raise InfrastructureError("out_of_memory", "no memory")


def test_an_engine_that_fails_is_data() -> None:
    rollouts = sampler().sample(Broken(), [sampler().context(TURN)], Sampling(), samples=2)
    assert [rollout.end for rollout in rollouts] == [End.INFRASTRUCTURE] * 2
    assert rollouts[0].completion_ids == ()


def test_a_context_without_room_costs_no_sample() -> None:
    engine = ScriptedEngine(answers_right)
    (rollout,) = sampler(Limits(context_tokens=3)).sample(engine, [sampler().context(TURN)], Sampling())
    assert (rollout.end, engine.calls) == (End.CONTEXT_LIMIT, [])


def test_a_demonstration_is_written_as_a_sample_would_be() -> None:
    shown = sampler().demonstrate(TURN.oracle_calls())
    assert HERMES.parse(shown.text).calls[0].signature == TURN.oracle_calls()[0].signature
    assert shown.completion.ids == CHAT.completion_ids(shown.text)
    assert sampler().demonstrate(()).parsed.calls == ()


def test_one_by_one_and_all_at_once_leave_the_same_world() -> None:
    ended: list[Rollout] = []
    for one_by_one in (True, False):
        policy = OraclePolicy(HERMES, one_call_a_response=one_by_one)
        roll_out(policy, begun(policy), Sampling(), ended.append)
    assert {rollout.steps[-1].context.state for rollout in ended} == {13}
