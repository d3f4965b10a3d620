import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Failure, NoDiagnosis, get_source
from fissile.methods import GRPO, Batch, FissionGRPO, Host, Phase, Plan, Scored
from fissile.rewards import Reward
from fissile.rollouts import Completion, Rollout, Step
from fissile.tasks import ExpectedCall, Task, Turn
from fissile.tools import Tool

AREA = Tool("area", "Area of a square.", {"type": "object", "properties": {"side": {"type": "integer"}}})
TASKS = {
    f"t{n}": Task(
        f"t{n}",
        ({"role": "user", "content": f"A square of side {n}"},),
        (AREA,),
        (ExpectedCall.exactly("area", {"side": n}),),
    )
    for n in range(4)
}
EXPLORE = tuple(Context(task, (n,)) for n, task in enumerate(TASKS.values()))
SAMPLES = 4


def attempt(side: object, *, right: bool) -> Attempt:
    call = ToolCall("area", {"side": side}, f'{{"side":{side}}}')
    errors = () if right else (ToolError(ErrorKind.WRONG_VALUE, "side is wrong", 0, "area", "side"),)
    return Attempt(call.text, (call,), errors)


def scored(context: Context, made: Attempt) -> Scored:
    correctness = 1.0 if made.failed else 2.0
    rollout = Rollout((Step(context, Completion((7,)), made),), judged_at_once=True)
    return Scored(rollout, Reward(1.0, 1.0, correctness, 1.0))


class Counts:
    """Writes a diagnosis as the tokens that one wants; by default as one, its length."""

    def __init__(self, said: Callable[[str], Sequence[int]] = lambda text: (len(text),)) -> None:
        self._said = said

    def open(self, task: Task) -> tuple[int, ...]:
        return ()

    def reply(self, completion: Completion, results: Sequence[str], turn: Turn | None = None) -> tuple[int, ...]:
        return tuple(self._said("".join(results)))

    def completion(self, text: str) -> Completion:
        return Completion((7,))


def fission(journal: list[dict[str, Any]] | None = None, **settings: Any) -> FissionGRPO:
    lines: list[dict[str, Any]] = [] if journal is None else journal

    method = FissionGRPO(**settings)
    method.attach(Host(TASKS, Counts(), get_source("rules"), lines.append))
    return method


def counts(method: FissionGRPO) -> dict[str, Any]:
    table = method.report()["corrections"]
    assert isinstance(table, dict)
    return table


def outcome(plan: Plan, *, wrong: Sequence[object] = (9, 9, 8)) -> list[Scored]:
    """Each group: the given wrong sides, the rest right."""
    return [
        scored(context, attempt(wrong[i], right=False) if i < len(wrong) else attempt(1, right=True))
        for context in plan.contexts
        for i in range(plan.samples)
    ]


def test_explore_then_fission_with_the_same_number_of_rollouts() -> None:
    method = fission()
    plan = method.plan(EXPLORE, SAMPLES, step=0)
    assert plan.phase is Phase.EXPLORE
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    plan = method.plan(EXPLORE, SAMPLES, step=1)
    assert plan.phase is Phase.FISSION
    assert len(plan.contexts) * plan.samples == len(EXPLORE) * SAMPLES
    assert [context.task.id for context in plan.contexts] == ["t3", "t2", "t1", "t0"]  # newest first
    method.observe(Batch(plan, tuple(outcome(plan)), 1), 1)
    assert method.plan(EXPLORE, SAMPLES, step=2).phase is Phase.EXPLORE


def test_a_corrective_context_extends_its_parent() -> None:
    method = fission()
    plan = method.plan(EXPLORE, SAMPLES, 0)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    context = method.plan(EXPLORE, SAMPLES, 1).contexts[-1]
    (turn,) = context.history
    assert context.prompt_ids == (0, 7, len(turn.feedback))
    assert turn.attempt.calls[0].arguments == {"side": 9}  # the most frequent failure of the group
    assert "side" in turn.feedback


def test_recovery_groups_may_be_wider() -> None:
    method = fission(samples=8)
    plan = method.plan(EXPLORE, SAMPLES, 0)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    plan = method.plan(EXPLORE, SAMPLES, 1)
    assert (plan.phase, len(plan.contexts), plan.samples) == (Phase.FISSION, 2, 8)


@pytest.mark.parametrize(("per_group", "kept"), [(1, 4), (2, 8), (9, 8)])
def test_one_group_gives_so_many_distinct_failures_at_most(per_group: int, kept: int) -> None:
    method = fission(per_group=per_group)
    plan = method.plan(EXPLORE, SAMPLES, 0)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    assert len(method.buffer) == kept


def test_the_threshold_decides_what_failed() -> None:
    method = fission(failure_threshold=0.5)  # R_corr of the wrong ones is 1.0
    plan = method.plan(EXPLORE, SAMPLES, 0)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    assert len(method.buffer) == 0


def test_an_infrastructure_failure_is_never_intercepted() -> None:
    method = fission()
    plan = method.plan(EXPLORE, SAMPLES, 0)
    gone = [Scored(entry.rollout, None) for entry in outcome(plan)]
    method.observe(Batch(plan, tuple(gone), 0), 0)
    assert len(method.buffer) == 0


@pytest.mark.parametrize(("max_depth", "deeper"), [(1, 0), (2, 4)])
def test_a_failed_recovery_fissions_again_only_up_to_the_depth(max_depth: int, deeper: int) -> None:
    method = fission(max_depth=max_depth)
    for step in range(2):
        plan = method.plan(EXPLORE, SAMPLES, step)
        method.observe(Batch(plan, tuple(outcome(plan)), step), step)
    assert len(method.buffer) == deeper
    assert all(len(correction.history) == 2 for correction in method.buffer.pop(9, 2))


def test_a_failure_that_leaves_no_room_for_an_answer_is_left_out_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines: list[dict[str, Any]] = []

    source = Asked(lambda failed: "long" if failed.task.id == "t0" else "short")
    writer = Counts(lambda text: range(9 if text == "long" else 3))  # behind a prompt of one token and an answer of one
    method = FissionGRPO()
    method.attach(Host(TASKS, writer, source, lines.append, room=5))
    for step in range(2):
        plan = Plan(Phase.EXPLORE, EXPLORE, SAMPLES)
        method.observe(Batch(plan, tuple(outcome(plan)), step), step)
    assert [line["task_id"] for line in lines] == ["t1", "t2", "t3"]
    assert method.report()["corrections"] == {**method.buffer.counts, "too_long": 1}
    assert [record.getMessage()[:55] for record in caplog.records] == [
        "A failure of task 't0' is left out: its corrective cont"
    ]
    restored = fission()
    restored.load_state_dict(json.loads(json.dumps(method.state_dict())))
    assert counts(restored)["too_long"] == 1


def test_the_journal_tells_what_became_of_a_correction() -> None:
    journal: list[dict[str, Any]] = []
    method = fission(journal)
    for step in range(2):
        plan = method.plan(EXPLORE, SAMPLES, step)
        method.observe(Batch(plan, tuple(outcome(plan)), step), step)
    used = [record for record in journal if record["event"] == "fission"]
    assert len(used) == 4
    assert [recovery["repeat"] for recovery in used[0]["recoveries"]] == [True, True, False, False]
    assert {record["id"] for record in used} == {record["id"] for record in journal if record["event"] == "intercepted"}


def test_a_restored_method_goes_on_as_the_first_one() -> None:
    first = fission(order="random", per_group=2)
    plan = first.plan(EXPLORE, SAMPLES, 0)
    first.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    second = fission(order="random", per_group=2)
    second.load_state_dict(first.state_dict())
    assert second.plan(EXPLORE, SAMPLES, 1) == first.plan(EXPLORE, SAMPLES, 1)
    assert counts(second) == counts(first)


def test_grpo_only_explores() -> None:
    method = GRPO()
    for step in range(3):
        plan = method.plan(EXPLORE, SAMPLES, step)
        assert plan.phase is Phase.EXPLORE
        method.observe(Batch(plan, tuple(outcome(plan)), step), step)


class Asked:
    """A source that remembers who was put to it, and has no text for some."""

    name = "asked"

    def __init__(self, says: Callable[[Failure], str]) -> None:
        self.batches: list[list[Failure]] = []
        self._says = says

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        self.batches.append(list(failures))
        return [self._says(failed) or NoDiagnosis("tired") for failed in failures]


def asking(journal: list[dict[str, Any]] | None = None, **settings: Any) -> tuple[FissionGRPO, Asked]:
    lines: list[dict[str, Any]] = [] if journal is None else journal
    source = Asked(lambda failed: "" if failed.task.id == "t2" else f"{failed.task.id}: look again")
    method = FissionGRPO(**settings)
    method.attach(Host(TASKS, Counts(), source, lines.append))
    return method, source


def test_the_source_is_asked_once_a_step_and_never_twice_for_a_failure() -> None:
    journal: list[dict[str, Any]] = []
    method, source = asking(journal, per_group=2, interval=9)
    for step in range(2):
        plan = method.plan(EXPLORE, SAMPLES, step)
        method.observe(Batch(plan, tuple(outcome(plan, wrong=(9, 9, 8) if step == 0 else (9, 9, 7))), step), step)
    assert [len(batch) for batch in source.batches] == [8, 4]
    assert [failed.task.id for failed in source.batches[0]] == ["t0", "t0", "t1", "t1", "t2", "t2", "t3", "t3"]
    assert {failed.attempt.calls[0].arguments["side"] for failed in source.batches[1]} == {7}
    assert counts(method)["intercepted"] == 16
    assert counts(method)["deduplicated"] == 4
    assert [record["task_id"] for record in journal[:8]] == [failed.task.id for failed in source.batches[0]]


def test_the_same_failure_in_two_groups_of_a_step_is_one_question() -> None:
    method, source = asking()
    plan = Plan(Phase.EXPLORE, (EXPLORE[0], EXPLORE[0]), SAMPLES)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    assert [len(batch) for batch in source.batches] == [1]
    assert (counts(method)["intercepted"], counts(method)["deduplicated"], len(method.buffer)) == (2, 1, 1)


def test_a_failure_without_a_diagnosis_is_journaled_with_the_reason() -> None:
    journal: list[dict[str, Any]] = []
    method, _ = asking(journal)
    plan = method.plan(EXPLORE, SAMPLES, 0)
    method.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    told = {record["task_id"]: (record["source"], record.get("fallback")) for record in journal}
    assert told == {"t0": ("asked", None), "t1": ("asked", None), "t2": ("rules", "tired"), "t3": ("asked", None)}
    assert method.report()["feedback"] == {"source": "asked", "diagnosed": 4, "leaks": {}, "fallbacks": {"tired": 1}}
    figures = method.report()
    assert (figures["feedback/diagnosed"], figures["feedback/fallbacks"], figures["feedback/leaks"]) == (4, 1, 0)
    assert figures["feedback/seconds"] > 0
    plan = method.plan(EXPLORE, SAMPLES, 1)
    method.observe(Batch(plan, tuple(outcome(plan)), 1), 1)
    assert (plan.phase, method.report()["feedback/seconds"]) == (Phase.FISSION, 0)


def test_counts_of_diagnoses_survive_a_checkpoint() -> None:
    first, _ = asking()
    plan = first.plan(EXPLORE, SAMPLES, 0)
    first.observe(Batch(plan, tuple(outcome(plan)), 0), 0)
    second, _ = asking()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.report()["feedback"] == first.report()["feedback"]
    assert counts(second) == counts(first)
