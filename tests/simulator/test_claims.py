import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import Attempt, ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import FIXED_MESSAGE, Failure
from fissile.serial import from_json
from fissile.simulator.judging.claims import read_claims
from fissile.simulator.judging.passages import clauses
from fissile.simulator.judging.quality import assess
from fissile.simulator.judging.statements import About
from fissile.simulator.judging.vocabulary import Vocabulary
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl import CATEGORIES, load_bfcl
from fissile.tasks.bfcl_multi_turn import load_bfcl_multi_turn
from fissile.tools import Tool

ROWS = [json.loads(line) for line in (Path(__file__).parent / "diagnoses.jsonl").read_text("utf-8").splitlines()]
FAILURES = {row["failure"]: row for row in ROWS if "task" in row}
DIAGNOSES = [row for row in ROWS if "diagnosis" in row]

BOOK = Tool(
    "book_hotel",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer", "minimum": 1},
            "view": {"type": "string", "enum": ["sea", "garden"]},
            "guests": {"type": "array", "items": {"type": "string"}},
            "type": {"type": "string"},
        },
        "required": ["city", "nights"],
    },
)
TASK = Task(
    "t",
    ({"role": "user", "content": "book"},),
    (BOOK,),
    (ExpectedCall("book_hotel", {"city": ["Rome"], "nights": [2]}),),
)
CALL = ToolCall("book_hotel", {"city": "Roma", "nights": "2", "view": "lake"}, "{}")
FAILURE = Failure(TASK, Attempt("", (CALL,), (ToolError(ErrorKind.WRONG_TYPE, "", 0, "book_hotel", "nights"),)))


@pytest.fixture(scope="module")
def diagnosed(bfcl):
    """The real failures of `diagnoses.jsonl` by name."""
    single_step = {row["category"] for row in FAILURES.values()} & set(CATEGORIES)
    tasks = {task.id: task for task in load_bfcl(sorted(single_step), bfcl).tasks}
    live = {task.id: task for task in load_bfcl_multi_turn(("multi_turn_base",)).tasks}
    return {name: real_failure(row, tasks, live) for name, row in FAILURES.items()}


def real_failure(row, tasks, live) -> Failure:
    calls = tuple(ToolCall(call["name"], call["arguments"], json.dumps(call)) for call in row.get("calls", ()))
    if "errors" in row:
        errors = tuple(from_json(ToolError, error) for error in row["errors"])
        attempt = Attempt("", calls, errors)
        return Failure(live[row["task"]].at_turn(0), attempt, (), tuple(row["answers"]), (), row.get("silent", False))
    text = row["text"] if "text" in row else HermesDialect().render_calls(calls)
    task = tasks[row["task"]]
    return Failure(task, SingleStep(HermesDialect()).attempt(task, text))


def disagreements(row, failure) -> list[str]:
    """Where the extractor differs from the hand label."""
    claims = read_claims(row["diagnosis"], failure)
    kinds = {ErrorKind(kind) for kind in row["kinds"]}
    found = []
    if not all(said & kinds for said in claims.kinds) or (kinds and not claims.kinds):
        found.append("kind")
    if {name.partition(".")[0] for name in claims.blamed} != set(row["fields"]):
        found.append("field")
    if bool(assess(row["diagnosis"], failure).false_statements) != row["false"]:
        found.append("false")
    return found


@pytest.mark.parametrize("row", [pytest.param(row, id=row["failure"]) for row in FAILURES.values()])
def test_the_labelled_failures_are_failures(row, diagnosed):
    assert diagnosed[row["failure"]].attempt.failed


def test_on_free_text_the_reading_agrees_with_the_hand_labels(diagnosed):
    """Sets "second" to "fourth" were each written against fixed tables and measured once before those were amended."""
    wrong = {row["diagnosis"]: found for row in DIAGNOSES if (found := disagreements(row, diagnosed[row["failure"]]))}
    assert len(DIAGNOSES) >= 160
    assert len(wrong) <= 0.07 * len(DIAGNOSES), wrong
    for part in ("kind", "field", "false"):
        assert sum(part in found for found in wrong.values()) <= 0.05 * len(DIAGNOSES), (part, wrong)


def test_every_label_stands_for_a_diagnosis_of_its_own():
    assert len({(row["failure"], row["diagnosis"]) for row in DIAGNOSES}) == len(DIAGNOSES)
    assert {row["split"] for row in DIAGNOSES} == {"dev", "second", "third", "fourth"}
    assert sum(row["false"] for row in DIAGNOSES) >= 20


def stated(text: str) -> list[tuple[About, str, tuple[str, ...]]]:
    return [(said.about, said.subject.name, said.values) for said in read_claims(text, FAILURE).statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'nights' must be an integer.", [(About.TYPE, "nights", ("integer",))]),
        (
            "'nights' must be an integer or a list, not a string.",
            [(About.TYPE, "nights", ("integer", "array")), (About.GIVEN_TYPE, "nights", ("string",))],
        ),
        (
            "nights: got a string where an integer is expected",
            [(About.TYPE, "nights", ("integer",)), (About.GIVEN_TYPE, "nights", ("string",))],
        ),
        ("every item of 'guests' must be a string", [(About.ITEM_TYPE, "guests", ("string",))]),
        (
            "'guests' must be a list of integers",
            [(About.TYPE, "guests", ("array",)), (About.ITEM_TYPE, "guests", ("integer",))],
        ),
        ("'view' must be one of ['sea', 'garden'].", [(About.CHOICES, "view", ("sea", "garden"))]),
        ("the allowed values for 'view' are sea and garden", [(About.CHOICES, "view", ("sea", "garden"))]),
        ("'view' must be one of the values that the tool lists.", []),
        ("'nights' must be at least 1.", [(About.BOUND, "nights", ("1",))]),
        ("'nights' must be between one and ten", [(About.BOUND, "nights", ("1", "10"))]),
        ("missing 1 required argument: 'city'", [(About.MISSING, "city", ())]),
        ("got an unexpected argument 'view'. Did you mean 'city'?", [(About.UNEXPECTED, "view", ())]),
        ("unexpected argument 'colour'", [(About.ARGUMENT, "colour", ())]),
        ("Unknown tool 'book_hotel'.", [(About.NO_TOOL, "book_hotel", ())]),
        ("the tools are 'book_hotel', 'fly'.", [(About.TOOL, "book_hotel", ()), (About.TOOL, "fly", ())]),
        ("order_room() failed: no room", [(About.TOOL, "order_room", ())]),
        (
            '{"error": {"field": "nights", "message": "Type mismatch. Expected: integer. Received: string."}}',
            [(About.TYPE, "nights", ("integer",)), (About.GIVEN_TYPE, "nights", ("string",))],
        ),
    ],
)
def test_statements(text, expected):
    assert sorted(stated(text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("'nights' is wrong", {"nights"}),
        ("unexpected argument 'view'. Did you mean 'type'?", {"view"}),
        ("'city' is fine, but 'nights' is not an integer", {"nights"}),
        ("the problem is 'nights', not 'city'", {"nights"}),
        ("'nights' must be larger than 'guests'", {"nights"}),
        ("'view' must be one of ['city', 'type']", {"view"}),
        ("the city is unknown", {"city"}),
        ("the value is of the wrong type", set()),
        ("argument type: not what was asked for", {"type"}),
        ('{"code": "wrong_type", "field": "nights, view", "message": "no"}', {"nights", "view"}),
        (FIXED_MESSAGE, set()),
    ],
)
def test_who_is_blamed(text, blamed):
    assert read_claims(text, FAILURE).blamed == blamed


def test_somebody_elses_words_claim_nothing():
    said = "RuntimeError: book_hotel() failed: missing argument 'city'. 'view' must be an integer."
    claims = read_claims(said, FAILURE)
    assert not claims.blamed
    assert not claims.statements
    assert all(ErrorKind.DOMAIN_ERROR in kinds for kinds in claims.kinds)


def test_quotations_do_not_break_clauses():
    (clause,) = clauses("'city' is not 'St. Louis; Mo' or [1, 'a. b'].", Vocabulary(FAILURE))
    assert [mark.kind for mark in clause.marked()] == ["A", "Q", "L"]
    assert clause.words == "'city' is not 'St. Louis; Mo' or [1, 'a. b']."


@given(st.text(max_size=300) | st.text("'\"`[]{}⟦⟧A0: ,.must beone of citymissing\n", max_size=300))
def test_any_text_can_be_read(text):
    assess(text, FAILURE)


@pytest.mark.parametrize(
    "piece", ["[", "'", "must be one of 'a', ", "⟦A0⟧", "a.", '{"error":', "missing 'city' and ", "is not "]
)
def test_hostile_texts_take_no_time(piece):
    read_claims(piece * (100_000 // len(piece)), FAILURE)
