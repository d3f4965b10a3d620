import json
import logging

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.errors import ConfigError, ErrorKind, InfrastructureError, RunError, ToolError
from fissile.feedback import FIXED_MESSAGE, Diagnoser, Failure, FixedMessage, NoDiagnosis
from fissile.feedback.diagnoser import LOUD
from fissile.feedback.leaks.guard import MAX_CHARACTERS
from fissile.feedback.phrasebooks import RULES
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool
from installed import Offer

HOTEL = Tool("book_hotel", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
TASK = Task(
    "t",
    ({"role": "user", "content": "I want to sleep in Frisco."},),
    (HOTEL,),
    (ExpectedCall.exactly("book_hotel", {"city": "San Francisco, CA"}),),
)
WRONG = ToolCall("book_hotel", {"city": "Frisco"}, "{...}")
LEAKING = "use San Francisco, CA"
GOOD = "city is wrong"


def failure() -> Failure:
    error = ToolError(ErrorKind.WRONG_VALUE, "wrong", 0, "book_hotel", "city")
    return Failure(TASK, Attempt("my try", (WRONG,), (error,)))


def nothing_wrong() -> Failure:
    """A failure in which the rules find nothing to say."""
    return Failure(TASK, Attempt("my try", (WRONG,), ()))


class Saying:
    """Says the same to everyone, or raises."""

    def __init__(self, *texts, error=None, name="saying"):
        self.texts, self.error, self.name = list(texts), error, name
        self.asked = 0

    def diagnose(self, failures):
        self.asked += 1
        if self.error:
            raise self.error
        return self.texts


RULES_TEXT = RULES.diagnose([failure()])[0]


def test_a_leak_is_replaced_by_the_rules_and_counted():
    diagnoser = Diagnoser(Saying(LEAKING, GOOD))
    feedback = diagnoser.diagnose([failure(), failure()])
    assert [(one.text, one.source, one.leaked, one.fallback) for one in feedback] == [
        (RULES_TEXT, "rules", "value", ""),
        (GOOD, "saying", "", ""),
    ]
    assert diagnoser.report() == {"source": "saying", "diagnosed": 2, "leaks": {"value": 1}, "fallbacks": {}}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Saying(error=InfrastructureError("endpoint", "it is down")), "endpoint"),
        (Saying(error=KeyError("choices")), "KeyError"),
        (Saying(error=ConfigError("no such model")), "ConfigError"),
        (Saying(error=RecursionError()), "RecursionError"),
        (Saying("only one"), "wrong_count"),
        (Saying(), "wrong_count"),
        (Saying("", " \n\t"), "empty"),
        (Saying("x" * (MAX_CHARACTERS + 1), "y" * (MAX_CHARACTERS + 1)), "too_long"),
        (Saying(None, 7), "not_a_text"),
        (Saying(NoDiagnosis("budget"), NoDiagnosis("budget")), "budget"),
        (Saying(NoDiagnosis(""), NoDiagnosis("")), "no_reason"),
    ],
)
def test_a_source_that_fails_is_replaced_by_the_rules_and_counted(source, reason):
    diagnoser = Diagnoser(source)
    feedback = diagnoser.diagnose([failure(), failure()])
    assert [(one.text, one.source, one.leaked, one.fallback) for one in feedback] == [
        (RULES_TEXT, "rules", "", reason)
    ] * 2
    assert diagnoser.report()["fallbacks"] == {reason: 2}
    assert diagnoser.report()["leaks"] == {}


def test_one_failure_without_a_diagnosis_does_not_cost_the_others_theirs():
    said = Diagnoser(Saying(GOOD, NoDiagnosis("timeout"), "", LEAKING, GOOD)).diagnose([failure()] * 5)
    assert [one.source for one in said] == ["saying", "rules", "rules", "rules", "saying"]
    assert [one.fallback or one.leaked for one in said] == ["", "timeout", "empty", "value", ""]


@pytest.mark.parametrize(
    "stand_in",
    [
        Saying(error=ValueError()),
        Saying(LEAKING),
        Saying(""),
        Saying(NoDiagnosis("nothing")),
        Saying(),
        Saying(GOOD, GOOD),
        Saying(None),
        FixedMessage(),
    ],
)
def test_where_the_stand_in_fails_too_the_fixed_message_is_left(stand_in):
    (said,) = Diagnoser(Saying(error=KeyError()), stand_in).diagnose([failure()])
    assert (said.text, said.source, said.fallback) == (FIXED_MESSAGE, "fixed", "KeyError")


def test_where_the_rules_have_nothing_to_say_the_fixed_message_is_left():
    (said,) = Diagnoser(Saying("")).diagnose([nothing_wrong()])
    assert (said.text, said.source, said.fallback) == (FIXED_MESSAGE, "fixed", "empty")


def test_no_source_stands_in_for_itself():
    (said,) = Diagnoser(Saying("", name="rules")).diagnose([failure()])
    assert (said.text, said.source) == (FIXED_MESSAGE, "fixed")


def test_the_fixed_message_is_no_leak_whatever_the_truth():
    task = Task("t", TASK.messages, (HOTEL,), (ExpectedCall.exactly("book_hotel", {"city": "mistake"}),))
    diagnoser = Diagnoser(FixedMessage())
    (said,) = diagnoser.diagnose([Failure(task, Attempt("my try", (WRONG,), ()))])
    assert (said.text, said.source, said.leaked) == (FIXED_MESSAGE, "fixed", "")


def test_what_the_guard_cannot_read_is_not_shown():
    diagnoser = Diagnoser(Saying(GOOD))
    diagnoser.guard.check = lambda text, failure: 1 / 0
    (said,) = diagnoser.diagnose([failure()])
    assert (said.text, said.leaked) == (FIXED_MESSAGE, "ZeroDivisionError")


def test_each_new_reason_is_told_once_and_a_source_that_always_fails_loudly(caplog):
    diagnoser = Diagnoser(Saying(NoDiagnosis("timeout")))
    for _ in range(3 * LOUD):
        diagnoser.diagnose([failure()])
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2
    assert "'saying' gave no diagnosis (timeout); 'rules' stands in" in told[0]
    assert f"The last {LOUD} diagnoses were not those of the feedback source 'saying'" in told[1]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Saying(error=TypeError("can only join\n an iterable")), "(TypeError: can only join an iterable)"),
        (Saying(error=InfrastructureError("status 400", "no such field")), "no such field)"),
        (Saying(NoDiagnosis("status 422", "min_p: unknown")), "(status 422: min_p: unknown)"),
        (Saying(error=KeyError("x" * 1000)), "..."),
        (Saying(error=RecursionError()), "(RecursionError)"),
    ],
)
def test_the_first_warning_of_a_reason_says_what_was_said_of_it(caplog, source, words):
    Diagnoser(source).diagnose([failure()])
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert words in told
    assert len(told) < 500


def test_a_text_of_its_own_ends_a_row_of_failures(caplog):
    diagnoser = Diagnoser(Saying(*[NoDiagnosis("timeout")] * (LOUD - 1), GOOD))
    for _ in range(3):
        diagnoser.diagnose([failure()] * LOUD)
    assert not any("The last" in record.getMessage() for record in caplog.records)


def test_counts_go_on_where_they_were():
    first = Diagnoser(Saying(LEAKING, "", GOOD))
    first.diagnose([failure()] * 3)
    second = Diagnoser(Saying(LEAKING, "", GOOD))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.diagnose([failure()] * 3)
    assert second.report() == {"source": "saying", "diagnosed": 6, "leaks": {"value": 2}, "fallbacks": {"empty": 2}}
    assert 0 < first.seconds < 5
    with pytest.raises(RunError, match="counts of diagnoses cannot be read"):
        second.load_state_dict({"diagnosed": 1})


def test_nothing_to_diagnose_asks_nobody():
    source = Saying()
    assert Diagnoser(source).diagnose([]) == []
    assert source.asked == 0


def test_a_source_is_an_object_or_its_name():
    assert Diagnoser("rules").source is RULES
    assert Diagnoser(FixedMessage()).source == FixedMessage()
    with pytest.raises(
        ConfigError, match=r"no feedback source 'rule' \(did you mean 'rules'\?\)\. Choose one of fixed"
    ):
        Diagnoser("rule")
    with pytest.raises(ConfigError, match=r"'learned' is a model .*make_source.* fixed, rules, service, environment\."):
        Diagnoser("learned")


def test_another_packages_source_must_be_one(offer: Offer):
    offer("odd_sources", "class Odd:\n    name = 'odd'\n", "fissile.feedback", odd="odd_sources:Odd")
    with pytest.raises(ConfigError, match="'odd' is no FeedbackSource"):
        Diagnoser("odd")
