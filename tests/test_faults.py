import random

import pytest

from fissile.calls import ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import judge
from fissile.environments.bfcl_ast import official_verdict
from fissile.errors import ErrorKind
from fissile.faults import Fault, corrupt
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl_single_turn import CATEGORIES, load_bfcl
from fissile.tools import Tool

DIALECT = HermesDialect()
BOOK = Tool(
    "book_table",
    "",
    {
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "guests": {"type": "integer"},
            "seating": {"type": "string", "enum": ["inside", "outside"]},
            "smoking": {"type": "boolean"},
            "dishes": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["place", "guests"],
    },
)
CANCEL = Tool(
    "cancel_table", "", {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
)
TASK = Task(
    "t",
    ({"role": "user", "content": "A table for 4 at Chez Nous outside, for Soup and Fish, at 8"},),
    (BOOK, CANCEL),
    (
        ExpectedCall(
            "book_table",
            {
                "place": ["Chez Nous", "chez-nous"],
                "guests": [4],
                "seating": ["outside"],
                "smoking": [False],
                "dishes": [["Soup", "Fish"]],
            },
        ),
        ExpectedCall.exactly("book_table", {"place": "Soup", "guests": 8}),
    ),
    matching="bfcl",
)
KINDS = {
    Fault.DROPPED_ARGUMENT: {ErrorKind.MISSING_ARGUMENT},
    Fault.RENAMED_ARGUMENT: {ErrorKind.UNEXPECTED_ARGUMENT, ErrorKind.MISSING_ARGUMENT},
    Fault.EXTRA_ARGUMENT: {ErrorKind.UNEXPECTED_ARGUMENT},
    Fault.WRONG_TYPE: {ErrorKind.WRONG_TYPE},
    Fault.WRONG_VALUE: {ErrorKind.WRONG_VALUE},
    Fault.WRONG_TOOL: {ErrorKind.WRONG_TOOL},
    Fault.UNKNOWN_TOOL: {ErrorKind.UNKNOWN_TOOL},
    Fault.MALFORMED: {ErrorKind.MALFORMED_CALL},
}


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("seed", range(8))
def test_a_fault_is_the_error_that_it_says(fault, seed):
    faulty = corrupt(TASK, DIALECT, random.Random(seed), fault)
    errors = judge(TASK, DIALECT.parse(faulty.text))
    assert faulty.fault is fault
    assert KINDS[fault] <= {error.kind for error in errors}
    corrupted = [error for error in errors if error.kind in KINDS[fault]]
    assert {error.call_index for error in corrupted} == {faulty.call_index}
    if faulty.argument is not None:
        assert faulty.argument in {error.argument for error in corrupted if error.argument}


@pytest.mark.parametrize("fault", Fault)
def test_the_seed_decides(fault):
    texts = [corrupt(TASK, DIALECT, random.Random(seed), fault).text for seed in range(12)]
    again = [corrupt(TASK, DIALECT, random.Random(seed), fault).text for seed in range(12)]
    assert texts == again
    assert len(set(texts)) > 1


def test_without_a_kind_every_kind_is_drawn():
    drawn = {corrupt(TASK, DIALECT, random.Random(seed)).fault for seed in range(100)}
    assert drawn == set(Fault)


def test_the_other_calls_stay_right():
    for seed in range(10):
        faulty = corrupt(TASK, DIALECT, random.Random(seed), Fault.WRONG_VALUE)
        calls = DIALECT.parse(faulty.text).calls
        kept = 1 - faulty.call_index
        assert calls[kept].signature == TASK.oracle_calls()[kept].signature


def test_values_of_other_tasks_are_drawn_too():
    pool = ["Le Procope", 77]
    texts = [corrupt(TASK, DIALECT, random.Random(seed), Fault.WRONG_VALUE, pool).text for seed in range(200)]
    assert any("Le Procope" in text for text in texts)
    assert any("77" in text for text in texts)


def test_a_wrong_value_differs_from_every_spelling_that_is_accepted():
    task = Task("t", (), (CANCEL,), (ExpectedCall("cancel_table", {"place": ["A", "B"]}),), matching="bfcl")
    pool = ["a", " B ", "A.", "C"]
    for seed in range(20):
        faulty = corrupt(task, DIALECT, random.Random(seed), Fault.WRONG_VALUE, pool)
        assert DIALECT.parse(faulty.text).calls[0].arguments == {"place": "C"}


def test_what_does_not_apply_gives_none():
    plain = Tool("now", "", {"type": "object", "properties": {}})
    task = Task("t", (), (plain,), (ExpectedCall("now", {}),))
    for fault in (
        Fault.DROPPED_ARGUMENT,
        Fault.RENAMED_ARGUMENT,
        Fault.WRONG_TYPE,
        Fault.WRONG_VALUE,
        Fault.WRONG_TOOL,
    ):
        assert corrupt(task, DIALECT, random.Random(0), fault) is None
    assert corrupt(task, DIALECT, random.Random(0)).fault in {
        Fault.EXTRA_ARGUMENT,
        Fault.UNKNOWN_TOOL,
        Fault.MALFORMED,
    }
    nothing_to_do = Task("t", (), (plain,), ())
    assert corrupt(nothing_to_do, DIALECT, random.Random(0)) is None


def test_on_bfcl_every_fault_is_wrong_officially(bfcl):
    applied = 0
    for seed, task in enumerate(load_bfcl(CATEGORIES, bfcl).tasks):
        faulty = corrupt(task, DIALECT, random.Random(seed), list(Fault)[seed % len(Fault)])
        if faulty is not None:
            applied += 1
            assert not official_verdict(task, DIALECT.parse(faulty.text).calls).valid, (task.id, faulty)
    assert applied > 2000


def test_right_calls_are_right():
    assert judge(TASK, DIALECT.parse(DIALECT.render_calls(TASK.oracle_calls()))) == ()
    assert all(isinstance(call, ToolCall) for call in TASK.oracle_calls())
