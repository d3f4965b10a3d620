"""Interception from live rollouts: which steps fission, and the buffer's way to a recovery in the right world."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fissile.calls import ParsedResponse, ToolCall
from fissile.corrections.context import Context
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenWriter
from fissile.feedback import get_source
from fissile.feedback.environment import UNSATISFIED
from fissile.methods import FissionGRPO, FissionSettings, Phase, Plan, Scored
from fissile.rewards import RewardConfig
from fissile.rollouts import CLOSING, Completion, LiveRollout, Response, Rollout, StopReason, rollout_reward
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
SAMPLER = LiveSampler(CHAT, lambda task: Tally())
TASKS = {f"t{n}": replace(LIVE, id=f"t{n}", later=()) for n in range(2)}
EXPLORE = tuple(SAMPLER.context(task) for task in TASKS.values())
SAMPLES = 2


def add(*numbers: object) -> str:
    return HERMES.render_calls([ToolCall("add", {"n": number}, "") for number in numbers])


RIGHT, SILENT, EXPLICIT = (add(1, 2, 1), CLOSING), (add(1, 9), CLOSING), (add(1), add("x"), CLOSING)
RECOVERED = (add("y"), add(4), CLOSING)
MALFORMED = ('<tool_call>{"name": </tool_call>', add(4), CLOSING)


def run(context: Context, *texts: str) -> Rollout:
    rollout = LiveRollout(Tally(), TokenWriter(CHAT))
    rollout.resume(context)
    for text in texts:
        rollout.answer(Response(text, HERMES.parse(text), Completion(CHAT.completion_ids(text))))
    return rollout.record()


def lost(context: Context) -> Rollout:
    rollout = LiveRollout(Tally(), TokenWriter(CHAT))
    rollout.resume(context)
    text = add("x")
    rollout.answer(Response(text, HERMES.parse(text), Completion(CHAT.completion_ids(text))))
    rollout.answer(Response("", ParsedResponse(()), Completion((), stop=StopReason.INFRASTRUCTURE)))
    return rollout.record()


def scored(*rollouts: Rollout) -> list[Scored]:
    config = RewardConfig()
    return [
        Scored(rollout, rollout_reward(rollout, progress=0.0, reference_length=9, config=config))
        for rollout in rollouts
    ]


def fission(journal: list[dict[str, Any]] | None = None, feedback: str = "environment", **settings: Any) -> FissionGRPO:
    lines = [] if journal is None else journal
    chosen = FissionSettings(feedback=feedback, **settings)
    return FissionGRPO(chosen, get_source(feedback), SAMPLER.extend, TASKS, lines.append)


def explored(method: FissionGRPO, *responses: tuple[str, ...]) -> Plan:
    """Observe a plan whose first group answers so, its second group all right; the next plan."""
    plan = method.plan(EXPLORE, SAMPLES, 0)
    first = [run(plan.contexts[0], *texts) for texts in responses]
    method.observe(plan, scored(*first, *[run(plan.contexts[1], *RIGHT)] * SAMPLES), 0)
    return method.plan(EXPLORE, SAMPLES, 1)


def held(method: FissionGRPO) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = method.state_dict()["buffer"]["held"]
    return found


def test_a_group_that_is_right_leaves_nothing() -> None:
    method = fission()
    assert explored(method, RIGHT, RIGHT).phase is Phase.EXPLORE
    assert held(method) == []


@pytest.mark.parametrize(
    ("texts", "state", "feedback"),
    [
        (EXPLICIT, 1, "argument 'n' must be of type integer, not string."),
        (RECOVERED, 0, "argument 'n' must be of type integer, not string."),  # whatever became of its rollout
        (SILENT, 0, f"Error: {UNSATISFIED}"),
        ((CLOSING,), 0, f"Error: {UNSATISFIED}"),
    ],
)
def test_errors_and_silent_failures_fission(texts: tuple[str, ...], state: int, feedback: str) -> None:
    journal: list[dict[str, Any]] = []
    method = fission(journal, interval=1)
    explored(method, texts, RIGHT)
    (correction,) = held(method)
    assert (correction["state"], correction["turn"]) == (state, 0)
    assert correction["history"][-1]["feedback"] == feedback
    assert [record["event"] for record in journal] == ["intercepted"]
    assert json.loads(json.dumps(journal)) == journal


def test_a_recovery_continues_where_its_parent_failed() -> None:
    method = fission(per_group=2)
    plan = explored(method, EXPLICIT, SILENT)
    assert plan.phase is Phase.FISSION
    worlds = {context.state for context in plan.contexts}
    assert worlds == {0, 1}
    for context in plan.contexts:
        right = run(context, add(4 - context.state), CLOSING)
        assert right.correct
        assert right.context.depth == 1


def test_what_became_of_a_correction_is_journaled() -> None:
    journal: list[dict[str, Any]] = []
    method = fission(journal, per_group=2)
    plan = explored(method, SILENT, EXPLICIT)
    recoveries = [run(plan.contexts[0], *RIGHT), run(plan.contexts[0], add("z"), add(4), CLOSING)]
    repeated = [run(plan.contexts[1], plan.contexts[1].history[-1].attempt.text, CLOSING)] * 2
    method.observe(plan, scored(*recoveries, *repeated), 1)
    records = [record for record in journal if record["event"] == "fission"]
    assert [len(record["recoveries"]) for record in records] == [2, 2]
    assert [recovery["repeat"] for recovery in records[1]["recoveries"]] == [True, True]
    assert records[0]["request"] == "Add 1, 2 and 1."
    outcomes = [[bool(recovery["attempt"].get("errors")) for recovery in record["recoveries"]] for record in records]
    assert outcomes == [[recovery.outcome.failed for recovery in recoveries], [True, True]]
    steps = records[0]["recoveries"][1]["steps"]
    assert [step["attempt"]["text"] for step in steps] == [step.attempt.text for step in recoveries[1].steps]
    assert [step["results"] for step in steps] == [[r.content for r in step.results] for step in recoveries[1].steps]
    assert steps[0]["results"]
    assert not steps[-1]["results"], "nobody answers the closing words"


def test_a_second_failure_of_a_turn_branches_only_with_more_depth() -> None:
    twice = (add("x"), add("y"), CLOSING)
    depths = {}
    for depth in (1, 2):
        journal: list[dict[str, Any]] = []
        explored(fission(journal, max_depth=depth, per_group=4), twice, RIGHT)
        depths[depth] = [len(record["history"]) for record in journal]
    assert depths == {1: [1], 2: [1, 2]}


def test_a_failed_engine_teaches_nothing() -> None:
    method = fission()
    plan = method.plan(EXPLORE, SAMPLES, 0)
    rollouts = [lost(plan.contexts[0]) for _ in range(SAMPLES)]
    method.observe(plan, scored(*rollouts, *[run(plan.contexts[1], *RIGHT)] * SAMPLES), 0)
    assert held(method) == []


def test_a_malformed_call_fissions_even_if_the_turn_ends_right() -> None:
    method = fission(feedback="fixed")
    explored(method, MALFORMED, RIGHT)
    (correction,) = held(method)
    assert correction["source"] == "fixed"


def test_a_restored_buffer_recovers_alike() -> None:
    method, other = fission(per_group=2), fission(per_group=2)
    explored_plan = method.plan(EXPLORE, SAMPLES, 0)
    rollouts = [run(explored_plan.contexts[0], *texts) for texts in (SILENT, EXPLICIT)]
    method.observe(explored_plan, scored(*rollouts, *[run(explored_plan.contexts[1], *RIGHT)] * SAMPLES), 0)
    other.load_state_dict(json.loads(json.dumps(method.state_dict())))
    plans = [made.plan(EXPLORE, SAMPLES, 1) for made in (method, other)]
    assert plans[0] == plans[1]
    assert plans[1].phase is Phase.FISSION
