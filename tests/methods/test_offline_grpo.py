"""Offline corrections: what is collected once, and that nothing is collected later."""

import json
from collections.abc import Sequence
from typing import Any

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.token_policy import TokenWriter
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import get_source
from fissile.methods import FissionSettings, OfflineGRPO, OfflineSettings, Phase, Plan, Scored
from fissile.rewards import Reward
from fissile.rollouts import Completion, Rollout, Step
from tiny import squares, tiny_tokenizer

TASKS = {task.id: task for task in squares(8)}
CONTEXTS = tuple(Context(task, (number,)) for number, task in enumerate(TASKS.values()))
SAMPLES = 4


def offline(journal: list[dict[str, Any]] | None = None, tasks: int = 6) -> OfflineGRPO:
    lines: list[dict[str, Any]] = [] if journal is None else journal
    settings = OfflineSettings(tasks=tasks, samples=2)
    writer = TokenWriter(ChatFormat(tiny_tokenizer(), HermesDialect()))
    return OfflineGRPO(FissionSettings(), settings, get_source("rules"), writer, TASKS, lines.append)


def all_wrong(plan: Plan) -> list[Scored]:
    def wrong(context: Context) -> Scored:
        call = ToolCall("area", {"side": 99}, '{"side":99}')
        attempt = Attempt(call.text, (call,), (ToolError(ErrorKind.WRONG_VALUE, "side is wrong", 0, "area", "side"),))
        return Scored(
            Rollout((Step(context, Completion((7,)), attempt),), judged_at_once=True), Reward(1.0, 1.0, 1.0, 1.0)
        )

    return [wrong(context) for context in plan.contexts for _ in range(plan.samples)]


def steps(method: OfflineGRPO, explore: Sequence[Context], count: int) -> list[Plan]:
    plans = []
    for step in range(count):
        plans.append(method.plan(explore, SAMPLES, step))
        method.observe(plans[-1], all_wrong(plans[-1]), step)
    return plans


def test_the_pool_is_of_the_start_and_is_used_over_and_over() -> None:
    journal: list[dict[str, Any]] = []
    method = offline(journal)
    method.collect(CONTEXTS, all_wrong)
    assert method.collected
    assert [record["step"] for record in journal] == [0] * 6  # one failure of each of the first six tasks
    plans = steps(method, CONTEXTS[6:], 9)
    assert [plan.phase for plan in plans] == [Phase.EXPLORE, Phase.FISSION] * 4 + [Phase.EXPLORE]
    recovered = [context.task.id for plan in plans for context in plan.contexts if plan.phase is Phase.FISSION]
    assert sorted(recovered[:6]) == [f"t{number}" for number in range(6)]
    assert len(recovered) == 8
    assert method.counts()["intercepted"] == 6  # failures of later policies are forgotten
    assert {record["event"] for record in journal[6:]} == {"fission"}


def test_its_corrections_are_as_old_as_the_run() -> None:
    method = offline()
    method.collect(CONTEXTS, all_wrong)
    steps(method, CONTEXTS[6:], 7)
    assert "fission/staleness" not in method.figures()
    steps_made = method.plan(CONTEXTS[6:], SAMPLES, 7)
    method.observe(steps_made, all_wrong(steps_made), 7)
    assert method.figures()["fission/staleness"] == 7


def test_a_restored_method_collects_no_more_and_draws_alike() -> None:
    first = offline()
    first.collect(CONTEXTS, all_wrong)
    steps(first, CONTEXTS[6:], 3)
    second = offline()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.collected
    assert steps(second, CONTEXTS[6:], 5) == steps(first, CONTEXTS[6:], 5)
    assert second.counts() == first.counts()


def test_a_pool_smaller_than_a_step_leaves_grpo() -> None:
    method = offline(tasks=1)
    method.collect(CONTEXTS, all_wrong)
    assert {plan.phase for plan in steps(method, CONTEXTS[6:], 4)} == {Phase.EXPLORE}
