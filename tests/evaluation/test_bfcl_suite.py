"""The measuring rods on the whole suite, the report, and the folder of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fissile.dialects import HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, StubbornPolicy
from fissile.environments.base import ErrorProtocol
from fissile.environments.worlds import make_environment, obeying
from fissile.errors import ConfigError, DataError, RunError
from fissile.evaluation import EpisodeRecord, bfcl_report, evaluate
from fissile.evaluation.suite import SuiteFolder, SuiteSettings, run_suite
from fissile.rollouts import End
from fissile.tasks import Task, load_bfcl_multi_turn

HERMES = HermesDialect()
RECOVERY, OFFICIAL = ErrorProtocol
HELD_OUT = "multi_turn_miss_func_49"
"""Its truth calls a tool that is not offered yet."""


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> list[Task]:
    return list(load_bfcl_multi_turn().tasks)


@pytest.fixture(scope="module")
def held_out(tasks: list[Task]) -> list[Task]:
    return [task for task in tasks if task.category == "multi_turn_miss_func"]


def evaluated(policy: Policy, tasks: list[Task], protocol: ErrorProtocol) -> list[EpisodeRecord]:
    episodes: list[EpisodeRecord] = []
    make = obeying(make_environment, protocol.policy)
    evaluate(policy, tasks, make, Sampling(), episodes.append, window=16)
    return episodes


def counts(ratio: dict[str, Any]) -> tuple[int, int]:
    return ratio["num"], ratio["den"]


def test_the_oracle_is_right_in_all_800(tasks: list[Task]) -> None:
    episodes = evaluated(OraclePolicy(HERMES), tasks, OFFICIAL)
    report = bfcl_report(episodes, OFFICIAL)
    assert [episode.task_id for episode in episodes if not episode.valid] == []
    assert report["multi_turn"]["score"] == 1.0
    assert counts(report["multi_turn"]["pooled"]) == (800, 800)
    assert report["recovery"]["error_kinds"] == {}
    assert counts(report["recovery"]["silent_failure_rate"])[0] == 0
    assert counts(report["recovery"]["calls_per_task"]) == (4625, 800)


def test_the_recovery_protocol_refuses_the_held_out_tool_of_the_truth(held_out: list[Task]) -> None:
    episodes = evaluated(OraclePolicy(HERMES), held_out, RECOVERY)
    report = bfcl_report(episodes, RECOVERY)
    wrong = {episode.task_id: episode.reason for episode in episodes if not episode.valid}
    assert wrong == {HELD_OUT: "execution_response_mismatch"}
    assert {kind: row["attempts"] for kind, row in report["recovery"]["error_kinds"].items()} == {"unknown_tool": 1}
    assert report["without_noisy_labels"]["score"] == 1.0


@pytest.mark.parametrize("protocol", [RECOVERY, OFFICIAL])
def test_each_error_of_the_corrupted_oracle_is_counted_once_and_recovered(
    tasks: list[Task], held_out: list[Task], protocol: ErrorProtocol
) -> None:
    chosen, refused = (held_out, 1) if protocol is RECOVERY else (tasks, 0)  # for the refused tool is no repair
    recovery = bfcl_report(evaluated(CorruptedOraclePolicy(HERMES), chosen, protocol), protocol)["recovery"]
    errors = sum(bool(turn.ground_truth) for task in chosen for turn in task.turns)
    assert counts(recovery["recovery_rate"]) == (len(chosen) - refused, len(chosen))
    assert counts(recovery["next_attempt_recovery_rate"]) == (errors, errors + refused)
    assert counts(recovery["repeat_rate"]) == (0, errors + refused)
    assert counts(recovery["give_up_rate"]) == (refused, errors + refused)  # it has nothing else to try
    assert sum(kind["attempts"] for kind in recovery["error_kinds"].values()) == errors + refused
    assert counts(recovery["first_attempt_accuracy"]) == (0, len(chosen))


def test_the_stubborn_policy_repeats_and_never_recovers(held_out: list[Task]) -> None:
    recovery = bfcl_report(evaluated(StubbornPolicy(HERMES, give_up_after=3), held_out, RECOVERY), RECOVERY)["recovery"]
    turns = sum(len(task.turns) for task in held_out)
    given_up = sum(bool(turn.ground_truth) for task in held_out for turn in task.turns)  # the others are not wrong
    assert counts(recovery["recovery_rate"]) == (0, 200)
    assert counts(recovery["next_attempt_recovery_rate"]) == (0, 2 * turns + given_up)
    assert counts(recovery["repeat_rate"]) == (2 * turns, 2 * turns + given_up)
    assert counts(recovery["give_up_rate"]) == (given_up, 2 * turns + given_up)
    assert {kind: row["attempts"] for kind, row in recovery["error_kinds"].items()} == {"unknown_tool": 3 * turns}


# --- the report --------------------------------------------------------------------------------------------------


def episode(category: str, index: int, valid: bool, end: str = "done") -> EpisodeRecord:
    reason = "" if valid else "state"
    return EpisodeRecord(f"{category}_{index}", category, valid, End(end), reason, (reason,))


def test_the_score_is_the_plain_mean_of_the_categories() -> None:
    base = [episode("multi_turn_base", n, valid=True) for n in range(3)]
    long = [episode("multi_turn_long_context", n, valid=n == 0) for n in range(4)]
    report = bfcl_report([*base, *long], RECOVERY)
    assert report["multi_turn"] == {"score": 0.625, "pooled": None}
    assert list(report["categories"]) == ["multi_turn_base", "multi_turn_long_context"]
    assert report["reasons"] == {"state": 3}
    even = bfcl_report([*base, *long[:3]], RECOVERY)["multi_turn"]
    assert (even["score"], counts(even["pooled"])) == (pytest.approx(4 / 6), (4, 6))


def width(episodes: list[EpisodeRecord]) -> float:
    pooled = bfcl_report(episodes, RECOVERY)["multi_turn"]["pooled"]
    return float(pooled["high"] - pooled["low"])


def test_the_interval_knows_that_categories_share_scenarios() -> None:
    categories = ("multi_turn_base", "multi_turn_long_context")
    shared = [episode(category, n, valid=n % 2 == 0) for category in categories for n in range(40)]
    apart = [episode(category, n + 100 * at, n % 2 == 0) for at, category in enumerate(categories) for n in range(40)]
    assert width(shared) > 1.3 * width(apart)


def test_noisy_labels_and_failed_engines_are_left_out() -> None:
    clean, noisy = episode("multi_turn_base", 0, valid=True), episode("multi_turn_base", 4, valid=False)
    lost = episode("multi_turn_base", 1, valid=False, end="infrastructure")
    report = bfcl_report([clean, noisy, lost], OFFICIAL)
    assert counts(report["categories"]["multi_turn_base"]["accuracy"]) == (1, 2)
    assert counts(report["categories"]["multi_turn_base"]["without_noisy_labels"]) == (1, 1)
    assert (report["episodes"], report["infrastructure_failures"]) == (2, 1)
    assert report["feedback"] == "environment (none after a malformed call)"
    nothing = bfcl_report([lost], OFFICIAL)
    assert nothing["multi_turn"] == {"score": None, "pooled": None}


# --- settings and folder -----------------------------------------------------------------------------------------

SETTINGS = SuiteSettings(policy="oracle", categories=("multi_turn_base",), tasks=3)


def test_settings_choose_the_tasks(bfcl: Path) -> None:
    assert [task.id for task in SETTINGS.load_tasks()] == [f"multi_turn_base_{n}" for n in range(3)]
    trading = SuiteSettings(policy="x", categories=("multi_turn_base", "multi_turn_base"), domain="trading", tasks=2)
    assert [task.id for task in trading.load_tasks()] == ["multi_turn_base_100", "multi_turn_base_101"]
    with pytest.raises(DataError, match="No task is left"):
        SuiteSettings(policy="x", categories=()).load_tasks()
    with pytest.raises(ValidationError, match="is not one of"):
        SuiteSettings(policy="x", categories=("multi_turn",))


def test_a_model_limits_the_context() -> None:
    assert SETTINGS.within(None).limits.context_tokens is None
    assert SETTINGS.within(8192).limits.context_tokens == 8192 - 512
    tight = SETTINGS.model_copy(update={"context_tokens": 1000})
    assert tight.within(8192).context_tokens == tight.within(None).context_tokens == 1000
    with pytest.raises(ConfigError, match="no room for a response of 512"):
        SETTINGS.within(512)


def test_a_folder_is_entered_once_or_resumed_as_it_was(tmp_path: Path) -> None:
    folder = SuiteFolder(tmp_path / "run")
    folder.refuse_occupied(resume=False)
    assert not folder.path.exists()
    folder.enter(SETTINGS, resume=True)
    with pytest.raises(RunError, match="already holds"):
        folder.enter(SETTINGS, resume=False)
    folder.enter(SETTINGS, resume=True)
    with pytest.raises(RunError, match=r"other settings \(seed: 0 there, 1 now\)"):
        folder.enter(SETTINGS.model_copy(update={"seed": 1}), resume=True)


def test_a_resumed_run_asks_only_for_what_is_missing(bfcl: Path, tmp_path: Path) -> None:
    folder = SuiteFolder(tmp_path)
    whole = run_suite(SETTINGS, OraclePolicy(HERMES), SuiteFolder(tmp_path / "whole"))
    records = [json.loads(line) for line in (tmp_path / "whole/episodes.jsonl").read_text().splitlines()]
    lost = {**records[1], "end": "infrastructure", "valid": False, "reason": "infrastructure"}
    folder.episodes.write_text("".join(json.dumps(record) + "\n" for record in (records[0], lost)))
    folder.report.write_text("{}")
    seen: list[tuple[int, int]] = []
    noted = noting_whether(folder.report)
    report = run_suite(SETTINGS, OraclePolicy(HERMES), folder, lambda *told: noted(seen.append(told)))
    assert report == whole
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert noted(None) == [False] * 3 + [True]  # the report of an unfinished evaluation is none
    assert len(folder.episodes.read_text().splitlines()) == 4


def noting_whether(path: Path) -> Callable[[None], list[bool]]:
    """Each call notes whether the path exists; the notes so far."""
    notes: list[bool] = []

    def note(_: None) -> list[bool]:
        notes.append(path.exists())
        return notes

    return note


def test_the_truth_of_a_held_out_tool_is_kept_apart_from_what_is_posed(tasks: list[Task]) -> None:
    (task,) = [task for task in tasks if task.id == HELD_OUT]
    assert [call.name for call in task.oracle_calls(1)] == ["sort", "tail"]
    assert [call.name for call in task.at_turn(1).oracle_calls()] == ["sort"]
    assert task.oracle_calls() == task.oracle_calls(0) == replace(task, later=()).oracle_calls()
