"""What a diagnosis is worth: fields by equality, free text by the names in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from triangles import AREA, RIGHT, called, failure, in_a_world

from fissile.calls import ToolCall
from fissile.dialects.hermes import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind
from fissile.faults import Fault
from fissile.feedback import FIXED_MESSAGE, Failure, get_source
from fissile.simulator.corruptions import Corruptor
from fissile.simulator.quality import assess, named
from fissile.simulator.quality_report import lengths, summarize
from fissile.simulator.reply import Said
from fissile.simulator.typed import Fields, read_fields, truths
from fissile.tasks import ExpectedCall, Task
from fissile.tasks.bfcl_multi_turn import load_bfcl_multi_turn
from fissile.tasks.bfcl_single_turn import load_bfcl

FAILURES = {
    "missing": called({"base": 10, "unit": "cm"}),
    "unexpected": called({**RIGHT, "colour": 1}),
    "type": called({**RIGHT, "base": "10"}),
    "value": called({**RIGHT, "height": 7}),
    "enum": called({**RIGHT, "unit": "mile"}),
    "bound": called({**RIGHT, "base": 0}),
    "item": called({**RIGHT, "labels": ["a", 1]}),
    "unknown": called(RIGHT, "area"),
    "tool": called({"side": 1}, "calculate_length"),
    "none": failure("The area is 25."),
    "malformed": failure('<tool_call>\n{"name": "calculate_area", "arguments": {"base": 10\n</tool_call>'),
}


def said(source: str, *failures: Failure) -> list[Said]:
    return [Said(text) for text in get_source(source).diagnose(failures)]


def typed(line: str) -> Said:
    return Said("No.", read_fields(line))


def judged(one: Said, failed: Failure) -> tuple[bool | None, ...]:
    found = assess(one, failed)
    return found.right_kind, found.right_tool, found.right_field, found.right_whole


@pytest.mark.parametrize("name", FAILURES)
def test_fields_are_right_where_they_are_those_of_an_error(name):
    failed = FAILURES[name]
    for true in truths(failed):
        found = judged(Said("No.", true), failed)
        assert (found[0], found[3]) == (True, True)
        assert False not in found


@pytest.mark.parametrize(("of", "planted"), [(a, b) for a in FAILURES for b in FAILURES if a != b])
def test_the_fields_of_another_failure_are_wrong(of, planted):
    assert assess(Said("No.", truths(FAILURES[of])[0]), FAILURES[planted]).right_whole is False


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("wrong_type | calculate_area | base | type integer", (True, True, True, True)),
        ("wrong_type | calculate_area | base | type string", (True, True, True, False)),
        ("wrong_value | calculate_area | base | type integer", (False, True, True, False)),
        ("wrong_type | calculate_length | base | type integer", (True, False, True, False)),
        ("wrong_type | calculate_area | height | type integer", (True, True, False, False)),
        ("wrong_type | calculate_area | - | type integer", (True, True, False, False)),
        ("wrong_type | - | Base | -", (True, False, False, False)),
    ],
)
def test_each_field_is_judged_by_itself(line, found):
    assert judged(typed(line), FAILURES["type"]) == found


@pytest.mark.parametrize("source", ["rules", "service"])
@pytest.mark.parametrize("name", FAILURES)
def test_of_free_text_the_named_argument_is_judged_and_no_kind(name, source):
    (one,) = said(source, FAILURES[name])
    found = assess(one, FAILURES[name])
    assert (found.right_kind, found.right_whole) == (None, None)
    assert found.right_field is not False
    assert found.leak == ""


@pytest.mark.parametrize("name", FAILURES)
def test_the_fixed_message_is_never_right(name):
    found = assess(Said(FIXED_MESSAGE), FAILURES[name])
    assert not found.right_field
    assert not found.right_tool
    assert (found.leak, found.right_kind) == ("", None)


@pytest.mark.parametrize(
    ("name", "text", "is_right"),
    [
        ("value", "the value of 'height' is wrong", True),
        ("value", "the value of `height` is wrong", True),
        ("value", '{"field": "base, height"}', False),
        ("value", "the values of 'height' and 'base' do not agree", False),
        ("value", "the value of 'hight' does not agree with the request", False),
        ("value", "its height is wrong", False),  # any sentence may hold a plain word
        ("unexpected", "'colour' is none of them. Did you mean 'color'?", True),
        ("unexpected", "unexpected argument 'labels'", False),
        ("item", "'labels.1' must be a string", True),
        ("missing", "without 'height' there is no area", True),
        ("value", "height" * 2000 + "'height'", False),
    ],
)
def test_who_is_blamed(name, text, is_right):
    assert assess(Said(text), FAILURES[name]).right_field is is_right


def test_which_names_stand_in_a_text():
    names = {"file_name", "sort", "filters.status", "maxItems", "a"}
    assert named("the file_name of sort() has maxItems; a word", names) == {"file_name", "sort", "maxItems"}
    assert named("'filters.0.status' and 'a', my_file_names, xsort()", names) == {"filters.status", "a"}


@given(st.text(max_size=200))
def test_any_text_can_be_judged(text):
    assess(Said(text), FAILURES["value"])


def test_a_call_that_should_not_be_there_has_no_wrong_argument():
    failed = called({"side": "x"}, "calculate_length")
    assert ErrorKind.WRONG_TYPE in failed.attempt.error_kinds
    assert assess(said("rules", failed)[0], failed).right_field is None


def test_a_world_says_that_a_call_failed_and_the_truth_says_why():
    failed = in_a_world(ToolCall("calculate_area", {**RIGHT, "height": 7}, ""))
    assert judged(Said('{"error": "no such triangle"}'), failed) == (None, False, False, None)
    assert judged(Said("calculate_area(): 'height' does not agree with the request"), failed) == (
        None,
        True,
        True,
        None,
    )
    assert judged(typed("domain_error | calculate_area | - | world"), failed) == (True, True, False, True)
    assert judged(typed("wrong_value | calculate_area | height | request"), failed) == (True,) * 4


def test_the_guard_reads_the_sentence_and_not_the_fields():
    secret = Task("s", (), (AREA,), (ExpectedCall("calculate_area", {"owner": ["Ann Lee"]}),))
    wrong = Failure(secret, SingleStep().attempt(secret, "hm", HermesDialect()))
    assert assess(Said("'owner' should be Ann Lee"), wrong).leak == "value"
    assert assess(Said("No.", Fields(ErrorKind.MISSING_CALL, "Ann Lee")), wrong).leak == ""


def test_lengths_are_those_of_the_sentence():
    found = assess(Said("one two\n\nthree", truths(FAILURES["value"])[0]), FAILURES["value"])
    assert (found.words, found.lines, found.characters) == (3, 2, 14)
    assert assess(Said(" \n"), FAILURES["value"]).words == 0


@pytest.fixture(scope="module")
def corrupted(bfcl):
    """Systematic corruptions of every 40th task of these categories of BFCL."""
    tasks = load_bfcl(("simple_python", "multiple", "live_simple", "parallel_multiple", "live_multiple"), bfcl).tasks[
        ::40
    ]
    corruptor = Corruptor.over(tasks, HermesDialect())
    return [faulty for task in tasks for faulty in corruptor.failures(task)]


def test_on_bfcl_every_target_is_right_and_written_on_one_line(corrupted):
    for faulty in corrupted:
        first = truths(faulty.failure)[0]
        assert read_fields(first.line) == first
        assert False not in judged(Said("No.", first), faulty.failure)
    assert len(corrupted) > 300


@pytest.mark.parametrize("source", ["rules", "service"])
def test_on_bfcl_the_phrasebooks_name_what_is_wrong(corrupted, source):
    texts = said(source, *(faulty.failure for faulty in corrupted))
    found = [assess(text, faulty.failure).right_field for text, faulty in zip(texts, corrupted, strict=True)]
    with_field = [one for one in found if one is not None]
    assert len(with_field) > 200
    assert sum(with_field) >= 0.99 * len(with_field)


def test_on_bfcl_the_fields_of_another_failure_are_found_wrong(corrupted):
    """Each failure is told the fields of one of another task; that a call is malformed may be said of any."""
    pairs = [
        (corrupted[(index + 101) % len(corrupted)], faulty)
        for index, faulty in enumerate(corrupted)
        if Fault.MALFORMED not in (faulty.fault, corrupted[(index + 101) % len(corrupted)].fault)
    ]
    wrong = [assess(Said("No.", truths(of.failure)[0]), to.failure).right_whole for of, to in pairs]
    assert not any(wrong)


def test_in_the_live_world_of_bfcl_every_target_is_right():
    tasks = load_bfcl_multi_turn(("multi_turn_base",)).tasks[::67]
    corruptor = Corruptor.over(tasks, HermesDialect())
    failures = [faulty.failure for task in tasks for faulty in corruptor.failures(task)]
    assert len(failures) > 30
    assert all(judged(Said("No.", truths(one)[0]), one)[3] for one in failures)


def test_a_summary_counts():
    failures = [FAILURES["missing"], FAILURES["type"], FAILURES["value"], FAILURES["unknown"]]
    first = Said("TypeError: 'height' is missing.", truths(failures[0])[0])
    second = Said("TypeError: 'base'.", read_fields("wrong_value | calculate_area | base | request"))
    report = summarize(
        [first, second, Said(FIXED_MESSAGE), Said(f" {FIXED_MESSAGE}\n")],
        failures,
        ["Error: no such file", "no"],
        ["dropped_argument", "", "wrong_value", ""],
    )
    counts = {name: (rate["num"], rate["den"]) for name, rate in report["rates"].items()}
    assert counts == {
        "non_leaking": (4, 4),
        "right_kind": (1, 2),
        "right_tool": (2, 4),
        "right_field": (2, 3),
        "right_whole": (1, 2),
        "empty": (0, 4),
        "duplicates": (2, 4),
    }
    assert report["distinct"] == 3
    assert report["by_kind"]["wrong_type"]["right_field"]["rate"] == 1
    assert set(report["by_fault"]) == {"dropped_argument", "wrong_value"}
    assert report["real_lengths"]["words"] == {"10%": 1, "50%": 1, "90%": 4}
    assert report["lengths"]["words"]["50%"] > 0
    assert report["by_fault"]["wrong_value"]["right_kind"]["rate"] is None
    assert json.loads(json.dumps(report)) == report


def test_one_text_for_one_failure_twice_is_no_duplicate():
    report = summarize([Said("no"), Said("no")], [FAILURES["type"]] * 2)
    assert (report["rates"]["duplicates"]["num"], report["distinct"]) == (0, 1)
    assert report["rates"]["non_leaking"]["high"] == 1
    assert lengths([]) == {"count": 0, "words": {}, "characters": {}}
