"""The fault injector: how often, how many in a row, the same again with the same seed, and what the record says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fissile.calls import ToolCall
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.scripted_policies import OraclePolicy, ScriptedPolicy, StubbornPolicy
from fissile.engines.token_policy import TokenWriter
from fissile.environments.base import EnvironmentMaker, ErrorProtocol
from fissile.environments.worlds import obeying
from fissile.errors import InfrastructureError
from fissile.faults import Fault
from fissile.rewards import RewardConfig, rollout_reward
from fissile.rollouts import Completion, End, Limits, OpenRollout, Response, Rollout, Writer
from fissile.tasks import Task
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
WANTS_CALLS = (0, 2)
"""Turns of `LIVE` that have something to call."""
ALWAYS = InjectionSettings(rate=1.0)

rates = st.floats(0, 1)
rows = st.integers(1, 2)


def injector(
    asked: InjectionSettings,
    writer: Writer,
    make: EnvironmentMaker = lambda task: Tally(),
    limits: Limits | None = None,
) -> Injector:
    return Injector(asked, HERMES, writer, make, limits or Limits())


def rolled(
    policy: ScriptedPolicy,
    asked: InjectionSettings,
    tasks: int = 1,
    protocol: ErrorProtocol = ErrorProtocol.RECOVERY,
    limits: Limits | None = None,
) -> list[Rollout]:
    """One episode of each of some tasks that differ by their id alone, in their order."""
    records: list[Rollout] = []
    begun = []
    make = obeying(lambda task: Tally(), protocol.policy)
    for task in (replace(LIVE, id=f"live-{n}") for n in range(tasks)):
        rollout = OpenRollout(make(task), policy, limits or Limits())
        rollout.begin(task)
        begun.append(rollout)
    force = injector(asked, policy, make, limits).begin_turn
    roll_out(policy, begun, Sampling(), records.append, inject=force)
    return sorted(records, key=lambda record: int(record.context.task.id.removeprefix("live-")))


def injected(record: Rollout) -> list[tuple[int, str]]:
    """(turn, text) of each forced response."""
    return [(step.context.turn, step.attempt.text) for step in record.steps if step.injected]


def successions(record: Rollout) -> list[int]:
    """Lengths of the runs of forced responses."""
    return [len(list(run)) for forced, run in groupby(record.steps, lambda step: step.injected) if forced]


# --- how often, and which ----------------------------------------------------------------------------------------


@given(rates, rows, st.integers(0, 99), st.text(max_size=8), st.integers(0, 9))
def test_never_more_in_a_row_than_asked(rate: float, in_a_row: int, seed: int, task: str, turn: int) -> None:
    asked = InjectionSettings(rate=rate, seed=seed, in_a_row=in_a_row)
    count = len(asked.draws(task, turn))
    assert count <= in_a_row
    if rate in (0, 1):
        assert count == in_a_row * rate


@settings(max_examples=25)
@given(rates, rows, st.integers(0, 99))
def test_forced_failures_begin_turns_and_never_follow_one_another_unasked(rate: float, row: int, seed: int) -> None:
    asked = InjectionSettings(rate=rate, seed=seed, in_a_row=row)
    for policy in (OraclePolicy(HERMES), StubbornPolicy(HERMES, give_up_after=3)):
        (record,) = rolled(policy, asked)
        assert max(successions(record), default=0) <= row
        assert len(successions(record)) <= len(WANTS_CALLS)
        for turn, steps in groupby(record.steps, lambda step: step.context.turn):
            flags = [step.injected for step in steps]
            assert flags == sorted(flags, reverse=True)  # forced ones first
            assert sum(flags) == (len(asked.draws("live-0", turn)) if turn in WANTS_CALLS else 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_injected_turns_is_the_rate(rate: float) -> None:
    turns = 4000
    asked = InjectionSettings(rate=rate, in_a_row=2)
    counts = [len(asked.draws(f"task-{n % 500}", n // 500)) for n in range(turns)]
    five_sigma = 5 * (rate * (1 - rate) / turns) ** 0.5
    assert sum(count > 0 for count in counts) / turns == pytest.approx(rate, abs=five_sigma)
    assert sum(count > 1 for count in counts) / turns == pytest.approx(rate**2, abs=five_sigma)


def test_the_same_seed_gives_the_same_injection_whatever_the_order_and_another_seed_another() -> None:
    half = InjectionSettings(rate=0.5)
    forwards = rolled(OraclePolicy(HERMES), half, 40)
    made = [injected(record) for record in forwards]
    assert made == [injected(record) for record in rolled(OraclePolicy(HERMES), half, 40)]
    assert made[30:] == [injected(record) for record in rolled(Threaded(HERMES), half, 40)][30:]
    assert made != [
        injected(record) for record in rolled(OraclePolicy(HERMES), InjectionSettings(rate=0.5, seed=1), 40)
    ]
    assert {turn for record in made for turn, _ in record} == set(WANTS_CALLS)
    assert 20 < sum(map(len, made)) < 60  # of 80
    assert len({text for record in made for _, text in record}) > 5


@dataclass(frozen=True)
class Threaded(OraclePolicy):
    """The oracle on several threads."""

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        return 3


def test_an_injection_is_told_in_a_line() -> None:
    assert InjectionSettings().told == ""
    asked = InjectionSettings(rate=0.5, seed=3, faults=(Fault.MALFORMED, Fault.MALFORMED))
    assert asked.told == "injected failures: rate 0.5, seed 3, at most 1 in a row, only malformed"


@given(rates, rates, st.integers(0, 99))
def test_a_higher_rate_injects_the_turns_of_a_lower_one_too(one: float, other: float, seed: int) -> None:
    low, high = (InjectionSettings(rate=rate, seed=seed) for rate in sorted((one, other)))
    assert len(low.draws("t")) <= len(high.draws("t"))


def test_every_visit_is_drawn_anew() -> None:
    asked = InjectionSettings(rate=0.5)
    drawn = [len(asked.draws("t", 0, visit)) for visit in range(50)]
    assert set(drawn) == {0, 1}
    assert drawn == [len(asked.draws("t", 0, visit)) for visit in range(50)]


@pytest.mark.parametrize(
    "wrong", [{"rate": 1.1}, {"rate": -0.1}, {"in_a_row": 0}, {"faults": []}, {"faults": ["bad"]}, {"share": 1}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InjectionSettings.model_validate(wrong)


# --- what the world makes of it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", list(ErrorProtocol))
def test_the_oracle_recovers_from_every_forced_failure_and_the_stubborn_from_none(protocol: ErrorProtocol) -> None:
    for record in rolled(OraclePolicy(HERMES), ALWAYS, 20, protocol):
        assert record.correct
        assert [turn for turn, _ in injected(record)] == list(WANTS_CALLS)
        for forced, following in zip(record.steps, record.steps[1:], strict=False):
            if forced.injected:
                assert forced.attempt.failed
                assert forced.results
                assert not forced.changed
                assert following.context.history[-1].attempt is forced.attempt
                assert not following.attempt.failed
    (record,) = rolled(StubbornPolicy(HERMES, give_up_after=3), ALWAYS, 1, protocol)
    assert not record.correct
    assert all(step.attempt.failed for step in record.steps if step.attempt.calls)


def test_a_fault_that_the_world_does_not_mind_is_passed_over() -> None:
    silent = InjectionSettings(rate=1.0, faults=(Fault.WRONG_VALUE,))  # another number is added without complaint
    (record,) = rolled(OraclePolicy(HERMES), silent)
    assert injected(record) == []
    both = InjectionSettings(rate=1.0, faults=(Fault.WRONG_VALUE, Fault.DROPPED_ARGUMENT))
    (record,) = rolled(OraclePolicy(HERMES), both)
    assert [turn for turn, _ in injected(record)] == [0]  # turn 2 begins with a call without arguments


def test_what_would_end_the_turn_is_passed_over() -> None:
    malformed = InjectionSettings(rate=1.0, faults=(Fault.MALFORMED,))
    (record,) = rolled(OraclePolicy(HERMES), malformed)
    assert {step.attempt.error_kinds[0].value for step in record.steps if step.injected} == {"malformed_call"}
    (official,) = rolled(OraclePolicy(HERMES), malformed, protocol=ErrorProtocol.OFFICIAL)
    assert injected(official) == []


def test_limits_are_those_of_the_policy_alone() -> None:
    def lengths(asked: InjectionSettings, limits: Limits) -> tuple[End, int]:
        (record,) = rolled(StubbornPolicy(HERMES), asked, limits=limits)
        return record.end, len(record.own)

    twice = InjectionSettings(rate=1.0, in_a_row=2)
    for limits in (Limits(steps_per_turn=3), Limits(steps=2)):
        assert lengths(twice, limits) == lengths(InjectionSettings(), limits)


@dataclass
class Broken(Tally):
    """A world whose machinery fails when it is put back to a state."""

    def restore(self, state: object) -> None:
        raise InfrastructureError("worker", "gone")


def test_a_world_in_which_nothing_can_be_tried_stays_uninjected() -> None:
    rollout = OpenRollout(Tally(), OraclePolicy(HERMES))
    rollout.begin(LIVE)
    injector(ALWAYS, OraclePolicy(HERMES), lambda task: Broken()).begin_turn(rollout)
    assert rollout.record().steps == ()


# --- what the record says ----------------------------------------------------------------------------------------


def with_tokens(responses: Iterator[str], task: Task, asked: InjectionSettings) -> Rollout:
    """An episode over tokens, each sampled one with the log-probability -1."""
    rollout = OpenRollout(Tally(), TokenWriter(CHAT))
    rollout.begin(task)
    force = injector(asked, TokenWriter(CHAT)).begin_turn
    force(rollout)
    while rollout.context is not None:
        text = next(responses)
        ids = CHAT.completion_ids(text)
        rollout.answer(Response(text, HERMES.parse(text), Completion(ids, (-1.0,) * len(ids))))
        force(rollout)
    return rollout.record()


FIRST_TURN = replace(LIVE, later=())
ADDS = HERMES.render_calls([ToolCall("add", {"n": n}, "") for n in (1, 2, 1)])


def test_no_token_of_a_forced_response_is_learned() -> None:
    record = with_tokens(iter((ADDS, "Done.")), FIRST_TURN, ALWAYS)
    plain = with_tokens(iter((ADDS, "Done.")), FIRST_TURN, InjectionSettings())
    assert [step.injected for step in record.steps] == [True, False, False]
    assert record.correct
    learned = [token for token, kept in zip(record.completion_ids, record.mask, strict=True) if kept]
    assert tuple(learned) == CHAT.completion_ids(ADDS) + CHAT.completion_ids("Done.")
    assert len(record.completion_ids) > len(plain.completion_ids)
    assert record.logprobs is not None
    assert sum(record.logprobs) == -sum(record.mask) == -sum(plain.mask)


def test_forced_failures_are_no_failures_of_the_policy() -> None:
    malformed = InjectionSettings(rate=1.0, faults=(Fault.MALFORMED,))
    record = with_tokens(iter((ADDS, "Done.")), FIRST_TURN, malformed)
    plain = with_tokens(iter((ADDS, "Done.")), FIRST_TURN, InjectionSettings())
    assert list(record.failures) == []
    assert (record.attempt, record.outcome) == (plain.attempt, plain.outcome)

    def reward(rollout: Rollout) -> object:
        return rollout_reward(rollout, progress=0.5, reference_length=40, config=RewardConfig())

    assert reward(record) == reward(plain)
