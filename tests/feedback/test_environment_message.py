"""The environment's own words as feedback."""

from __future__ import annotations

from fissile.calls import Attempt, ToolCall
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Diagnoser, get_source
from fissile.feedback.base import Failure
from fissile.feedback.environment import UNDONE, UNSATISFIED
from tally_world import LIVE

ADD = ToolCall("add", {"n": 1}, "")
NAMELESS = ToolCall(None, None, "{")


def error(index: int | None, kind: ErrorKind = ErrorKind.DOMAIN_ERROR, message: str = "it is full.") -> ToolError:
    return ToolError(kind, message, index)


def said(failure: Failure) -> str:
    (text,) = get_source("environment").diagnose([failure])
    return text


def test_one_failed_call_is_answered_as_the_world_did() -> None:
    attempt = Attempt("", (ADD,), (error(0),))
    assert said(Failure(LIVE, attempt, answers=('{"error": "full"}',))) == '{"error": "full"}'


def test_beside_a_failed_call_the_others_did_not_happen() -> None:
    attempt = Attempt("", (ADD, ADD, NAMELESS), (error(1), error(2, ErrorKind.MALFORMED_CALL)))
    answers = ("3", "Error: full", "Error: cannot be parsed")
    text = said(Failure(LIVE, attempt, answers=answers))
    assert text == f"add: {UNDONE}\nError: full\nError: cannot be parsed"
    assert "3" not in text


def test_an_equal_line_is_said_once() -> None:
    attempt = Attempt("", (ADD, ADD), (error(0), error(1)))
    assert said(Failure(LIVE, attempt, answers=("full", "full"))) == "full"


def test_without_an_answer_the_typed_errors_speak() -> None:
    attempt = Attempt("", (NAMELESS,), (error(0), error(None, message="it was cut.")))
    assert said(Failure(LIVE, attempt)) == "Error: it is full.\nError: it was cut."


def test_a_response_that_was_cut_before_any_call() -> None:
    attempt = Attempt("So", (), (error(None, ErrorKind.TRUNCATED),), truncated=True)
    assert said(Failure(LIVE, attempt, answers=("Error: the limit",))) == "Error: the limit"


def test_a_silent_failure_gets_one_sentence_whatever_the_judge_found() -> None:
    for found in (error(0, ErrorKind.WRONG_VALUE, "n"), error(None, ErrorKind.WRONG_STATE), error(None)):
        attempt = Attempt("", (ADD,), (found,))
        assert said(Failure(LIVE, attempt, answers=("1",), silent=True)) == f"Error: {UNSATISFIED}"


def test_the_leak_guard_lets_the_worlds_words_pass() -> None:
    """They were shown to the policy, even where they hold a value of the truth."""
    attempt = Attempt("", (ADD,), (error(0),))
    failure = Failure(LIVE, attempt, answers=('{"error": "no", "only": 2}',))
    (feedback,) = Diagnoser(get_source("environment")).diagnose([failure])
    assert (feedback.leaked, feedback.text) == ("", failure.answers[0])
    assert feedback.source == "environment"
