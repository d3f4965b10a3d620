"""The fault injector on the real multi-turn suite: the measuring rods, and what an injected evaluation leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fissile.dialects import HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.injection import InjectionSettings, Injector, told_injection
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import OraclePolicy, StubbornPolicy
from fissile.environments.base import ErrorProtocol
from fissile.environments.worlds import make_environment, obeying
from fissile.evaluation import EpisodeRecord, bfcl_report, evaluate
from fissile.evaluation.suite import SuiteFolder, SuiteSettings, run_suite
from fissile.faults import Fault
from fissile.serial import from_json
from fissile.tasks import Task, load_bfcl_multi_turn

HERMES = HermesDialect()
ALWAYS = InjectionSettings(rate=1.0)


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> list[Task]:
    """Scenarios of every domain, in two categories."""
    loaded = load_bfcl_multi_turn(["multi_turn_base", "multi_turn_miss_func"]).tasks
    return [task for index, task in enumerate(loaded) if index % 10 == 0]


def evaluated(
    policy: Policy, tasks: list[Task], asked: InjectionSettings, protocol: ErrorProtocol
) -> tuple[list[EpisodeRecord], dict[str, Any]]:
    episodes: list[EpisodeRecord] = []
    make = obeying(make_environment, protocol.policy)
    inject = Injector(asked, HERMES, policy, make).begin_turn
    evaluate(policy, tasks, make, Sampling(), episodes.append, window=16, inject=inject)
    return episodes, bfcl_report(episodes, protocol, asked)


def counts(ratio: dict[str, Any]) -> tuple[int, int]:
    return ratio["num"], ratio["den"]


@pytest.mark.parametrize("protocol", list(ErrorProtocol))
def test_the_oracle_recovers_from_every_injected_failure(tasks: list[Task], protocol: ErrorProtocol) -> None:
    episodes, report = evaluated(OraclePolicy(HERMES), tasks, ALWAYS, protocol)
    recovery, turns = report["recovery"], sum(bool(turn.ground_truth) for task in tasks for turn in task.turns)
    assert [episode.task_id for episode in episodes if not episode.valid] == []
    assert recovery["injected"]["failures"] == turns  # each turn that wants a call can be injected
    for name in ("answered_rate", "next_attempt_recovery_rate"):
        assert counts(recovery["injected"][name]) == (turns, turns)
    assert counts(recovery["injected"]["recovery_rate"]) == (len(tasks), len(tasks))
    assert counts(recovery["first_attempt_accuracy"]) == (0, 0)
    assert counts(recovery["silent_failure_rate"])[0] == 0
    assert sum(row["attempts"] for row in recovery["error_kinds"].values()) == 0
    assert len(recovery["error_kinds"]) >= 5  # of the world's own making
    _, plain = evaluated(OraclePolicy(HERMES), tasks, InjectionSettings(), protocol)
    assert recovery["calls_per_task"] == plain["recovery"]["calls_per_task"]
    assert "injected" not in plain["recovery"]


def test_the_stubborn_policy_recovers_from_none(tasks: list[Task]) -> None:
    stubborn = StubbornPolicy(HERMES, give_up_after=3)
    _, report = evaluated(stubborn, tasks[:20], ALWAYS, ErrorProtocol.RECOVERY)
    injected = report["recovery"]["injected"]
    failures = injected["failures"]
    assert failures > 40
    assert counts(injected["answered_rate"]) == (failures, failures)
    assert counts(injected["next_attempt_recovery_rate"]) == (0, failures)
    assert counts(injected["recovery_rate"]) == (0, 20)


def test_the_first_failure_is_the_same_for_every_policy(tasks: list[Task]) -> None:
    half = InjectionSettings(rate=0.5, seed=3)

    def first(policy: Policy) -> dict[str, str]:
        episodes, _ = evaluated(policy, tasks[:30], half, ErrorProtocol.RECOVERY)
        forced = [(episode.task_id, episode.steps[0]) for episode in episodes if episode.steps[0].injected]
        return {task_id: step.attempt.text for task_id, step in forced}

    made = first(OraclePolicy(HERMES))
    assert 5 < len(made) < 25
    assert made == first(StubbornPolicy(HERMES, give_up_after=3))


def test_an_injected_evaluation_names_its_injection_and_is_none_for_the_official_scorer(
    bfcl: Path, tmp_path: Path
) -> None:
    asked = InjectionSettings(rate=0.5, seed=7, in_a_row=2)
    settings = SuiteSettings(policy="oracle", categories=("multi_turn_base",), tasks=6, injection=asked)
    folder = SuiteFolder(tmp_path)
    report = run_suite(settings, OraclePolicy(HERMES), folder)
    assert {"rate": 0.5, "seed": 7, "in_a_row": 2}.items() <= report["injection"].items()
    assert report["settings"]["injection"] == report["injection"]
    assert report["multi_turn"]["score"] == 1.0
    records = [from_json(EpisodeRecord, json.loads(line)) for line in folder.episodes.read_text().splitlines()]
    marked = sum(step.injected for record in records for step in record.steps)
    assert marked == report["recovery"]["injected"]["failures"] > 0
    assert not (tmp_path / "result").exists()


def test_turns_that_were_drawn_and_not_forced_are_counted(bfcl: Path, tmp_path: Path) -> None:
    asked = InjectionSettings(rate=1.0, faults=(Fault.DROPPED_ARGUMENT,))  # not every call has an argument to lose
    settings = SuiteSettings(policy="oracle", categories=("multi_turn_base",), tasks=8, injection=asked)
    tasks = settings.load_tasks()
    report = run_suite(settings, OraclePolicy(HERMES), SuiteFolder(tmp_path), tasks=tasks)
    turns = report["injected_turns"]
    assert turns["drawn"] == sum(bool(turn.ground_truth) for task in tasks for turn in task.turns)
    assert turns["forced"] == report["recovery"]["injected"]["failures"] < turns["drawn"]
    assert told_injection(report).endswith(f"; {turns['forced']} of {turns['drawn']} drawn turns")
    assert told_injection({"injection": report["injection"]}) == asked.told  # of an older report
