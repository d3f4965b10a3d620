from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import Attempt, FailedTurn
from fissile.errors import ErrorKind, ToolError
from fissile.reports.run_lines import Fission, Recovery, RecoveryStep
from fissile.reports.trees import RecoveryVerdict, branches, choose_trees
from fissile.serial import from_json, to_json

WRONG = (ToolError(ErrorKind.WRONG_VALUE, "no"),)
FAILED = Attempt("bad", errors=WRONG)


def fission(step: int, task: str, *outcomes: str) -> Fission:
    """Outcomes: "right", "repeat", "wrong", "lost"."""
    kinds = {
        "right": Recovery(Attempt("good"), 2.0, False),
        "repeat": Recovery(FAILED, 0.5, True),
        "wrong": Recovery(Attempt("worse", errors=WRONG), 0.1, False),
        "lost": Recovery(Attempt(""), None, False),
    }
    recoveries = tuple(kinds[outcome] for outcome in outcomes)
    return Fission(step, task, "do it", 1, "rules", (FailedTurn(FAILED, "try again"),), recoveries)


FISSIONS = st.lists(
    st.builds(
        lambda step, task, outcomes: fission(step, task, *outcomes),
        st.integers(0, 30),
        st.sampled_from("abcdef"),
        st.lists(st.sampled_from(["right", "repeat", "wrong", "lost"]), min_size=1, max_size=4),
    ),
    max_size=40,
)


@given(FISSIONS)
def test_the_choice_has_every_kind_that_there_is(fissions: list[Fission]) -> None:
    chosen = choose_trees(fissions, limit=8)
    assert len(chosen) == min(8, len(fissions))
    assert [tree.step for tree in chosen] == sorted((tree.step for tree in chosen), reverse=True)
    if fissions:
        assert chosen[0].step == max(tree.step for tree in fissions)
    for is_wanted in (lambda tree: tree.right > 0, lambda tree: tree.right == 0):
        assert any(map(is_wanted, chosen)) == any(map(is_wanted, fissions))


def test_wide_spreads_of_other_tasks_come_first() -> None:
    dull = [fission(step, "a", "repeat", "repeat") for step in range(20)]
    vivid = [fission(0, "b", "right", "wrong"), fission(1, "b", "right", "wrong"), fission(2, "c", "repeat", "right")]
    chosen = choose_trees([*vivid, *dull], limit=4)
    assert {tree.task_id for tree in chosen} == {"a", "b", "c"}


def test_equal_recoveries_fold_and_the_best_comes_first() -> None:
    folded = branches(fission(3, "a", "repeat", "wrong", "right", "repeat", "lost", "right"))
    assert [(branch.verdict, branch.count, branch.reward) for branch in folded] == [
        (RecoveryVerdict.RIGHT, 2, 2.0),
        (RecoveryVerdict.REPEAT, 2, 0.5),
        (RecoveryVerdict.WRONG, 1, 0.1),
        (RecoveryVerdict.UNSCORED, 1, None),
    ]


def test_every_verdict_has_a_sign_of_its_own() -> None:
    assert len({verdict.sign for verdict in RecoveryVerdict}) == len(RecoveryVerdict)


def test_an_attempt_that_the_engine_lost_is_not_right() -> None:
    assert fission(1, "a", "lost", "right").right == 1


def test_recoveries_of_several_steps_keep_what_the_world_answered() -> None:
    good, bad = Attempt("book(102)"), Attempt("book(101)", errors=WRONG)

    def recovery(answer: str) -> Recovery:
        steps = (RecoveryStep(bad, (answer,)), RecoveryStep(good, ("booked",)))
        return Recovery(Attempt("book(101)\nbook(102)"), 1.5, False, steps)

    recoveries = (recovery("taken"), recovery("taken"), recovery("closed"))
    folded = branches(Fission(1, "a", "book", 1, "rules", (FailedTurn(FAILED, "no"),), recoveries))
    assert [branch.count for branch in folded] == [2, 1]
    assert [step.results for step in folded[0].steps] == [("taken",), ("booked",)]


def test_a_recovery_of_a_single_step_task_is_one_response() -> None:
    fields = {"attempt": to_json(Attempt("good")), "reward": 1.0, "repeat": False}
    assert from_json(Recovery, fields).responses == (RecoveryStep(Attempt("good")),)
    steps = [{"attempt": to_json(Attempt("good")), "results": ["done"]}]
    assert from_json(Recovery, {**fields, "steps": steps}).responses == (RecoveryStep(Attempt("good"), ("done",)),)
