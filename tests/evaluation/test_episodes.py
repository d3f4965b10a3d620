"""Whole episodes: their records, and what the metrics make of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange
from fissile.dialects import HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, ScriptedPolicy, StubbornPolicy
from fissile.environments.base import ErrorProtocol, Verdict
from fissile.environments.worlds import obeying
from fissile.errors import ErrorKind, ToolError
from fissile.evaluation import EpisodeRecord, evaluate
from fissile.evaluation.episodes import StepRecord, failure_reason
from fissile.metrics import Episode
from fissile.rollouts import Completion, End, Limits, Response, Rollout, Step
from fissile.serial import from_json, to_json
from fissile.tasks import Task
from tally_world import LIVE, Tally

HERMES = HermesDialect()


class Deaf(ScriptedPolicy):
    """Never calls anything."""

    def write(self, context: Context, sampling: Sampling) -> str:
        return self.closing


class Sly(ScriptedPolicy):
    """Right in every turn, but for one silent mistake in the last."""

    def write(self, context: Context, sampling: Sampling) -> str:
        text = OraclePolicy(self.dialect, self.closing).write(context, sampling)
        return text.replace('"n": 5', '"n": 6').replace('"n":5', '"n":6')


def evaluated(
    policy: Policy, *tasks: Task, protocol: ErrorProtocol = ErrorProtocol.RECOVERY, **limits: int
) -> list[EpisodeRecord]:
    episodes: list[EpisodeRecord] = []
    make = obeying(lambda task: Tally(), protocol.policy)
    evaluate(policy, tasks or (LIVE,), make, Sampling(), episodes.append, Limits(**limits))
    return episodes


def test_a_right_episode() -> None:
    (record,) = evaluated(CorruptedOraclePolicy(HERMES))
    assert (record.valid, record.reason, record.end, record.verdicts) == (True, "", "done", ("", "", ""))
    assert [step.turn for step in record.steps] == [0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert record.steps[1].results == ("1",)
    episode = record.episode("environment", "17")
    assert episode is not None
    assert (episode.correct, episode.cluster, episode.feedback) == (True, "17", "environment")
    assert episode.turns == (0, 0, 0, 2, 2, 2)  # what merely ends a turn is no attempt
    assert [attempt.failed for attempt in episode.attempts] == [True, False, False, True, False, False]
    assert len(list(episode.retried)) == 2


def test_a_silent_mistake() -> None:
    (record,) = evaluated(Sly(HERMES))
    assert (record.valid, record.reason, record.verdicts) == (False, "state", ("", "", "state"))
    episode = record.episode("environment", "")
    assert episode is not None
    assert not episode.any_failed
    assert (episode.silent, episode.first_correct, episode.final_correct) == ((1,), True, False)


def test_who_calls_nothing_is_blamed_for_it() -> None:
    (record,) = evaluated(Deaf(HERMES))
    assert [step.silent for step in record.steps] == [True, False, False]
    episode = record.episode("", "")
    assert episode is not None
    assert (len(episode.attempts), episode.silent, episode.first_correct) == (1, (0,), False)


@dataclass(frozen=True)
class Quitter(ScriptedPolicy):
    """Begins every turn wrong, and then says that it is sorry."""

    wrong: str = '<tool_call>{"name": "subtract", "arguments": {}}</tool_call>'

    def write(self, context: Context, sampling: Sampling) -> str:
        return self.closing if context.current else self.wrong


@pytest.mark.parametrize("wrong", [Quitter(HERMES).wrong, "<tool_call>{"])
def test_who_gives_up_is_not_right(wrong: str) -> None:
    (record,) = evaluated(Quitter(HERMES, wrong=wrong))
    assert [step.silent for step in record.steps] == [False] * 6  # the failed call told what is wrong
    episode = record.episode("environment", "")
    assert episode is not None
    assert episode.turns == (0, 0, 1, 2, 2)  # in the second turn nothing was wanted
    assert [episode.gives_up(index) for index in range(5)] == [False, True, False, False, True]
    assert not any(retry.right for retry in episode.retried)


def test_an_episode_without_an_attempt() -> None:
    """Nothing was wanted, and nothing was called."""
    quiet = replace(LIVE, ground_truth=(), later=())

    class Content(Tally):
        def judge(self, turn: int) -> Verdict:
            return Verdict()

    episodes: list[EpisodeRecord] = []
    evaluate(Deaf(HERMES), [quiet], lambda task: Content(), Sampling(), episodes.append)
    assert episodes[0].valid
    assert episodes[0].episode("", "") is None


@pytest.mark.parametrize("protocol", list(ErrorProtocol))
def test_the_record_survives_json(protocol: ErrorProtocol) -> None:
    for policy in (CorruptedOraclePolicy(HERMES), StubbornPolicy(HERMES, give_up_after=2), Sly(HERMES)):
        (record,) = evaluated(policy, protocol=protocol)
        assert from_json(EpisodeRecord, json.loads(json.dumps(to_json(record)))) == record


def step(turn: int, attempt: Attempt | None = None) -> Step:
    return Step(Context(LIVE, (), (Exchange(Attempt("")),) * turn), Completion(()), attempt or Attempt(""))


WRONG = Verdict((ToolError(ErrorKind.WRONG_STATE, "wrong"),), "state")
MISSING = Verdict((ToolError(ErrorKind.MISSING_CALL, "none"),), "empty")


@pytest.mark.parametrize(
    ("end", "verdicts", "reason"),
    [
        (End.DONE, (Verdict(),) * 3, ""),
        (End.DONE, (Verdict(), MISSING, WRONG), "empty"),  # the first wrong turn
        (End.STEP_LIMIT, (WRONG,), "force_terminated"),  # before all others
        (End.STEP_LIMIT, (Verdict(),) * 3, ""),  # cut in the last turn, and right
        (End.CONTEXT_LIMIT, (Verdict(),) * 2, "force_terminated"),
        (End.INFRASTRUCTURE, (WRONG,), "infrastructure"),
    ],
)
def test_why_an_episode_is_not_valid(end: End, verdicts: tuple[Verdict, ...], reason: str) -> None:
    rollout = Rollout((step(0), step(1)), end, verdicts)
    assert failure_reason(rollout) == reason
    assert EpisodeRecord.of(rollout).valid is (reason == "")


def test_a_cut_in_the_last_turn_goes_unnoticed_where_the_world_is_right() -> None:
    (record,) = evaluated(OraclePolicy(HERMES, one_call_a_response=True), steps_per_turn=3)
    assert (record.end, record.reason) == ("step_limit", "force_terminated")
    (record,) = evaluated(OraclePolicy(HERMES), replace(LIVE, later=()), steps_per_turn=1)
    assert (record.end, record.reason, len(record.steps)) == ("step_limit", "state" if not record.valid else "", 1)


def test_attempts_are_calls_errors_and_what_is_blamed() -> None:
    call = ToolCall("add", {"n": 1}, "")
    truncated = Attempt("So", (), (ToolError(ErrorKind.TRUNCATED, "cut"),), truncated=True)
    rollout = Rollout(
        (step(0, Attempt("a", (call,))), step(0, truncated), step(0, Attempt("bye")), step(1, Attempt("bye"))),
        verdicts=(Verdict(), WRONG),
        silent=(3,),
    )
    episode = EpisodeRecord.of(rollout).episode("", "")
    assert episode is not None
    assert [attempt.text for attempt in episode.attempts] == ["a", "So", "bye"]
    assert (episode.turns, episode.silent) == ((0, 0, 1), (2,))


def test_a_single_step_that_only_the_judge_finds_wrong_is_a_wrong_attempt() -> None:
    record = EpisodeRecord(
        "t", "", False, End.DONE, "sly", ("sly",), (StepRecord(0, Attempt("", ()), silent=True),), judged_at_once=True
    )
    episode = record.episode("rules")
    assert episode is not None
    assert (episode.final_correct, episode.first_correct) == (False, False)
    right = replace(record, valid=True, reason="", verdicts=("",), steps=(StepRecord(0, Attempt("", ())),))
    assert right.episode("rules") == Episode("t", (Attempt("", ()),), "rules")


class Noting(StubbornPolicy):
    """A policy behind an endpoint, which notes the seeds that it is asked with."""

    seeds: list[int] = []  # noqa: RUF012

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        return 2

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        self.seeds.append(sampling.seed)
        return super().respond(contexts, sampling)


def test_samples_that_are_asked_for_one_by_one_have_seeds_of_their_own() -> None:
    records: list[EpisodeRecord] = []
    policy = Noting(HermesDialect(), give_up_after=1)
    evaluate(policy, [LIVE], lambda task: Tally(), Sampling(seed=5), records.append, samples=3)
    assert len(records) == 3
    assert len(set(policy.seeds)) == len(policy.seeds)
