import pytest

from fissile.calls import Attempt, ToolCall
from fissile.errors import ConfigError, ErrorKind, InfrastructureError, ToolError
from fissile.feedback import FIXED_MESSAGE, Diagnoser, Failure, FixedMessage
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

HOTEL = Tool("book_hotel", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
TASK = Task(
    "t",
    ({"role": "user", "content": "I want to sleep in Frisco."},),
    (HOTEL,),
    (ExpectedCall.exactly("book_hotel", {"city": "San Francisco, CA"}),),
)
WRONG = ToolCall("book_hotel", {"city": "Frisco"}, "{...}")


def failure() -> Failure:
    error = ToolError(ErrorKind.WRONG_VALUE, "wrong", 0, "book_hotel", "city")
    return Failure(TASK, Attempt("my try", (WRONG,), (error,)))


class Saying:
    """Says the same to everyone, or raises."""

    name = "saying"

    def __init__(self, *texts: str, error: Exception | None = None):
        self.texts, self.error = list(texts), error

    def diagnose(self, failures):
        if self.error:
            raise self.error
        return self.texts


def test_a_leak_is_replaced_by_the_fixed_message_and_counted():
    diagnoser = Diagnoser(Saying("use San Francisco, CA", "city is wrong"))
    feedback = diagnoser.diagnose([failure(), failure()])
    assert [(one.text, one.source, one.leaked) for one in feedback] == [
        (FIXED_MESSAGE, "saying", "value"),
        ("city is wrong", "saying", ""),
    ]
    assert diagnoser.leaks == {"value": 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Saying(error=InfrastructureError("endpoint", "it is down")), "endpoint"),
        (Saying(error=KeyError("choices")), "KeyError"),
        (Saying("only one"), "wrong_count"),
    ],
)
def test_a_source_that_fails_is_replaced_and_counted(source, reason):
    diagnoser = Diagnoser(source)
    feedback = diagnoser.diagnose([failure(), failure()])
    assert [(one.text, one.source, one.leaked) for one in feedback] == [(FIXED_MESSAGE, "fixed", "")] * 2
    assert diagnoser.fallbacks == {reason: 2}


def test_the_users_errors_are_not_swallowed():
    with pytest.raises(ConfigError, match="no such model"):
        Diagnoser(Saying(error=ConfigError("no such model"))).diagnose([failure()])


def test_nothing_to_diagnose():
    assert Diagnoser(FixedMessage()).diagnose([]) == []
