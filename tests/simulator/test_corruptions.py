"""Failures by corruption, judged and executed, and the rows that are made of them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.config.simulator_recipe import DataConfig
from fissile.contexts import Exchange
from fissile.corrections import Correction
from fissile.dialects import HermesDialect
from fissile.errors import DataError, ErrorKind, InfrastructureError, ToolError
from fissile.faults import Fault
from fissile.feedback import Failure, LeakGuard, get_source
from fissile.serial import to_json
from fissile.simulator import corruptions
from fissile.simulator.corruptions import Corruptor, FaultyAttempt
from fissile.simulator.dataset import (
    assign_sides,
    balanced,
    diagnose_all,
    read_rows,
    unseen_functions_only,
)
from fissile.simulator.diagnosed_failure import DiagnosedFailure, FoundFailure, Origin
from fissile.simulator.gathering import corrupted, harvested
from fissile.simulator.quality import assess
from fissile.simulator.reply import Said
from fissile.tasks import ExpectedCall, Task, load_bfcl, load_bfcl_multi_turn
from fissile.tools import Tool
from fissile.training.simulator_data import choose_rows, teacher_of
from tiny import squares

DIALECT = HermesDialect()


@pytest.fixture(scope="module")
def single(bfcl: Path) -> list[Task]:
    return list(load_bfcl(["multiple"]).tasks[:30])


@pytest.fixture(scope="module")
def live(bfcl: Path) -> list[Task]:
    return [task for task in load_bfcl_multi_turn(["multi_turn_base"], docs="brief").tasks if task.id.endswith("3")]


@pytest.fixture(scope="module")
def executed(live: list[Task]) -> list[FaultyAttempt]:
    corruptor = Corruptor.over(live, DIALECT)
    return [faulty for task in live[:6] for faulty in corruptor.failures(task)]


def test_a_single_step_task_fails_in_every_way_that_applies(single: list[Task]) -> None:
    corruptor = Corruptor.over(single, DIALECT)
    made = [faulty for task in single for faulty in corruptor.failures(task)]
    assert {faulty.fault for faulty in made} == set(Fault)
    assert all(faulty.failure.attempt.failed and not faulty.failure.answers for faulty in made)
    assert made == [faulty for task in single for faulty in corruptor.failures(task)]  # the seed decides


def test_what_gives_no_failure_is_counted(live: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Tool("ping", "", {"type": "object", "properties": {}})
    task = replace(squares(1)[0], tools=(bare,), ground_truth=(ExpectedCall("ping", {}),))
    corruptor = Corruptor.over([task], DIALECT)
    made = list(corruptor.failures(task))
    assert corruptor.left_out.total() == len(Fault) - len(made) > 0

    class Lost:
        def reset(self, task: Task) -> None:
            raise InfrastructureError("worker", "it died")

    monkeypatch.setattr(corruptions, "make_environment", lambda task: Lost())
    corruptor = Corruptor.over(live[:1], DIALECT)
    assert not list(corruptor.failures(live[0], [Fault.UNKNOWN_TOOL]))
    assert corruptor.left_out == {"a turn whose world was lost": sum(bool(t.ground_truth) for t in live[0].turns)}


def test_wrong_values_are_those_of_other_tasks() -> None:
    tasks = squares(40)
    (faulty,) = Corruptor.over(tasks, DIALECT, seed=5).failures(tasks[7], [Fault.WRONG_VALUE])
    (call,) = faulty.failure.attempt.calls
    assert call.arguments is not None
    assert call.arguments["side"] != 7
    assert faulty.failure.attempt.error_kinds == (ErrorKind.WRONG_VALUE,)


def test_a_live_failure_brings_the_worlds_own_words(executed: list[FaultyAttempt]) -> None:
    objected = [one.failure for one in executed if one.failure.answers and not one.failure.silent]
    messages = get_source("environment").diagnose(objected)
    assert any("missing 1 required positional argument" in str(message) for message in messages)
    assert all(failure.attempt.failed for failure in objected)
    assert len(objected) > 100


def test_what_the_world_lets_pass_is_a_silent_failure(executed: list[FaultyAttempt]) -> None:
    silent = [one.failure for one in executed if one.failure.silent]
    assert silent
    assert all(failure.attempt.errors and failure.attempt.calls for failure in silent)


def test_a_row_comes_back_from_json(executed: list[FaultyAttempt]) -> None:
    for one in executed[::40]:
        row = DiagnosedFailure(
            one.failure, Origin.CORRUPTION, "test", one.fault.value, "travel", diagnosis="wrong", teacher="rules"
        )
        (back,) = read_rows([json.loads(json.dumps(row.to_row()))], "rows")
        assert back.to_row() == row.to_row()
        assert LeakGuard().check("a", back.failure) == LeakGuard().check("a", row.failure)
        assert get_source("rules").diagnose([back.failure]) == get_source("rules").diagnose([row.failure])


def test_a_line_that_is_no_row() -> None:
    row = DiagnosedFailure(failed("x"), Origin.POLICY, "train", diagnosis="d", teacher="rules").to_row()
    with pytest.raises(DataError, match="rows:2 is no row"):
        read_rows([row, {"id": "x"}], "rows")


def failed(task_id: str, kind: ErrorKind = ErrorKind.WRONG_VALUE, text: str = "") -> Failure:
    task = squares(1)[0]
    call = ToolCall("area", {"side": 5}, text)
    renamed = Task(task_id, task.messages, task.tools, task.ground_truth)
    return Failure(renamed, Attempt(text, (call,), (ToolError(kind, "", 0, "area", "side"),)))


def found(task_id: str, kind: ErrorKind, text: str = "") -> FoundFailure:
    return FoundFailure(failed(task_id, kind, text), Origin.CORRUPTION, "train")


def test_rows_are_even_over_kinds_and_distinct() -> None:
    many = [found(f"a{n}", ErrorKind.WRONG_VALUE) for n in range(50)]
    few = [found(f"b{n}", ErrorKind.WRONG_TYPE) for n in range(4)]
    chosen = balanced([*many, *many, *few], 12)
    kinds = [one.kind for one in chosen]
    assert (kinds.count("wrong_value"), kinds.count("wrong_type")) == (8, 4)
    assert len({one.key for one in chosen}) == 12
    assert [one.key for one in balanced([*few, *reversed(many)], 12)] == [one.key for one in chosen]


def test_no_function_is_on_two_sides(single: list[Task]) -> None:
    functions = sorted({name for task in single for name in task.functions})
    seen, held_out = frozenset(functions[:4]), frozenset(functions[4:9])
    sides = assign_sides(single, seen, held_out)
    of = {side: {n for t in single if sides.get(t.id) == side for n in t.functions} for side in ("train", "test")}
    assert not of["train"] & of["test"]
    assert seen & {n for t in single for n in t.functions} <= of["train"] | (seen - of["test"])
    assert held_out <= of["test"]


def test_test_failures_of_a_trained_function_are_dropped() -> None:
    train = found("a", ErrorKind.WRONG_VALUE)
    test = FoundFailure(failed("b"), Origin.CORRUPTION, "test")
    left_out: Counter[str] = Counter()
    assert unseen_functions_only([train, test], left_out) == [train]
    assert +left_out == {"a test failure at a function of the training side": 1}


def test_training_failures_that_call_a_tested_function_are_dropped() -> None:
    task = squares(1)[0]
    volume = replace(task.tools[0], name="volume")
    wanted = replace(task, tools=(*task.tools, volume), ground_truth=(ExpectedCall("volume", {"side": [1]}),))
    misled = FoundFailure(replace(failed("a"), task=wanted), Origin.CORRUPTION, "train")  # it calls area()
    tested = FoundFailure(failed("b"), Origin.CORRUPTION, "test")
    left_out: Counter[str] = Counter()
    assert unseen_functions_only([misled, tested], left_out) == [tested]
    assert +left_out == {"a training failure that calls a function of the test side": 1}
    elsewhere = FoundFailure(replace(failed("b"), task=wanted), Origin.CORRUPTION, "test")
    trained = found("a", ErrorKind.WRONG_VALUE)
    assert unseen_functions_only([trained, elsewhere]) == [trained, elsewhere]


def test_a_policys_failure_is_taken_once_and_not_again_as_a_corruption() -> None:
    own = replace(found("a", ErrorKind.WRONG_VALUE), origin=Origin.POLICY, run="runs/one")
    again, corrupted_too = replace(own, run="runs/two"), found("a", ErrorKind.WRONG_VALUE)
    assert len({own.key, again.key, corrupted_too.key}) == 1
    chosen = choose_rows([own, again, corrupted_too, found("b", ErrorKind.WRONG_VALUE)], DataConfig(rows=3))
    assert [one.failure.task.id for one in chosen] == ["a", "b"]
    left_out: Counter[str] = Counter()
    assert choose_rows([replace(own, side="test")], DataConfig(rows=3), left_out) == []
    assert left_out == {"a policy's failure on the test side": 1}


def test_every_teacher_that_is_named_teaches() -> None:
    many = [found(f"a{n}", ErrorKind.WRONG_VALUE) for n in range(200)]
    shared = Counter(map(teacher_of(DataConfig(teachers=["rules", "service", "endpoint"], endpoint_share=0.2)), many))
    assert 20 < shared["endpoint"] < 60
    assert min(shared["rules"], shared["service"]) > 50
    assert set(map(teacher_of(DataConfig(teachers=["environment", "endpoint"])), many)) == {"endpoint"}


def test_the_world_teaches_where_its_words_name_the_argument(executed: list[FaultyAttempt]) -> None:
    choose = teacher_of(DataConfig(teachers=["environment", "rules"], environment_share=1.0))
    told: dict[str, list[bool | None]] = {"environment": [], "rules": []}
    for one in executed:
        if one.failure.answers and not one.failure.silent:
            (message,) = get_source("environment").diagnose([one.failure])
            teacher = choose(FoundFailure(one.failure, Origin.CORRUPTION, "train"))
            told[teacher].append(assess(Said(str(message)), one.failure).right_field)
    assert len(told["environment"]) > 50
    assert False not in told["environment"]
    assert set(told["rules"]) == {False}


class Leaky:
    name = "leaky"

    def diagnose(self, failures):
        return ["side must be 0", "the side is wrong"][: len(failures)]


def test_what_teaches_nothing_is_left_out_and_counted() -> None:
    made = [found("a", ErrorKind.WRONG_VALUE), found("b", ErrorKind.WRONG_VALUE)]
    rows, left_out = diagnose_all(made, {"leaky": Leaky()}, lambda one: "leaky")
    assert [(row.diagnosis, row.teacher) for row in rows] == [("the side is wrong", "leaky")]
    assert left_out == {"leak: tied_value": 1}


def test_corrupted_keeps_sides_and_faults(live: list[Task]) -> None:
    sides = {live[0].id: "train", live[1].id: "test"}
    left_out: Counter[str] = Counter()
    made = list(corrupted(live, sides, DIALECT, [Fault.UNKNOWN_TOOL], 0, left_out))
    assert left_out["a task on no side"] == len(live) - 2
    assert {one.side for one in made} == {"train", "test"}
    assert {one.fault for one in made} == {"unknown_tool"}
    assert all(one.domain for one in made)


def test_failures_of_an_earlier_run(tmp_path: Path) -> None:
    task = squares(4)[3]
    attempt = Attempt("no", (ToolCall("area", {"side": 9}, "no"),), failed("x").attempt.errors)
    said = Exchange(attempt, ("the side is wrong",))
    record = {"event": "intercepted", **to_json(Correction("id", task.id, 4, "rules", (1,), (said,)))}
    lines = [json.dumps(record), json.dumps({"event": "fission", "step": 5})]
    (tmp_path / "corrections.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (one,) = harvested([str(tmp_path)], {task.id: task}, {task.id: "train"})
    assert (one.origin, one.run, one.step, one.side) == (Origin.POLICY, tmp_path.name, 4, "train")
    assert one.failure == Failure(task, attempt)
    left_out: Counter[str] = Counter()
    assert not list(harvested([str(tmp_path)], {task.id: task}, {}, left_out))
    assert not list(harvested([str(tmp_path)], {}, {task.id: "train"}, left_out))
    assert left_out == {
        "a policy's failure at a task on no side": 1,
        "a policy's failure at a task that its run has not": 1,
    }


@pytest.mark.parametrize("content", [None, "{]\n", '{"event": "intercepted", "task_id": "t0"}\n'])
def test_a_folder_that_holds_no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "corrections.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="run"):
        list(harvested([str(tmp_path)], {task.id: task for task in squares(1)}, {"t0": "train"}))
