"""How a row says that more than one call is right."""

from typing import Any

import pytest

from fissile.calls import ToolCall
from fissile.dialects import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import DataError
from fissile.rewards import correctness
from fissile.tasks import Task, tasks_from_rows

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "nights": {"type": "integer"},
        "unit": {"enum": ["C", "F"], "default": "C"},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "price": {"type": "number"},
    },
    "required": ["city"],
}
CALL = {"name": "book", "arguments": {"city": "Oslo", "nights": 3}}


def row(call: dict[str, Any], **fields: Any) -> dict[str, Any]:
    tool = {"name": "book", "parameters": SCHEMA}
    said = [{"role": "user", "content": "Book three nights in Oslo."}]
    return {"messages": said, "tools": [tool], "ground_truth": [call], **fields}


def load(call: dict[str, Any]) -> Task:
    return tasks_from_rows([row(call)])[0]


def kinds(task: Task, arguments: dict[str, Any]) -> list[tuple[str, str | None]]:
    dialect = HermesDialect()
    attempt = SingleStep().attempt(task, dialect.render_calls([ToolCall.of("book", arguments)]), dialect)
    assert (correctness(attempt, task) == 2) is not attempt.failed
    return [(error.kind.value, error.argument) for error in attempt.errors]


def test_accepted_values_and_optional_arguments():
    task = load(
        {**CALL, "accepted": {"city": ["Oslo", "Oslo, Norway"], "price": [19.99, 20]}, "optional": ["nights", "price"]}
    )
    assert task.ground_truth[0].arguments == {"city": ["Oslo", "Oslo, Norway"], "nights": [3], "price": [19.99, 20]}
    assert task.oracle_calls()[0].arguments == {"city": "Oslo"}
    for right in ({"city": "Oslo"}, {"city": "Oslo, Norway", "nights": 3}, {"city": "Oslo", "price": 20.0}):
        assert kinds(task, right) == []
    assert kinds(task, {"city": "Rome", "nights": 2}) == [("wrong_value", "city"), ("wrong_value", "nights")]


def test_a_list_is_one_value_in_arguments_and_several_in_accepted():
    task = load({"name": "book", "arguments": {"city": "Oslo", "tags": ["a", "b"]}, "accepted": {"tags": [["b", "a"]]}})
    assert task.ground_truth[0].arguments["tags"] == [["a", "b"], ["b", "a"]]
    assert kinds(task, {"city": "Oslo", "tags": ["b", "a"]}) == []
    assert kinds(task, {"city": "Oslo", "tags": ["a"]}) == [("wrong_value", "tags")]


@pytest.mark.parametrize(
    "spelled",
    [
        {**CALL, "accepted": '{"city": ["Oslo, Norway"]}', "optional": '["nights"]'},
        {**CALL, "accepted": {"city": ["Oslo, Norway"], "unit": None}, "optional": ["nights"]},
        {
            "id": "c1",
            "type": "function",
            "function": CALL,
            "accepted": {"city": ["Oslo, Norway"]},
            "optional": ["nights"],
        },
        {"function": {**CALL, "accepted": {"city": ["Oslo, Norway"]}, "optional": ["nights"]}},
    ],
)
def test_spellings_of_alternatives(spelled):
    (expected,) = load(spelled).ground_truth
    assert expected.arguments == {"city": ["Oslo", "Oslo, Norway"], "nights": [3]}
    assert expected.optional == {"nights"}


@pytest.mark.parametrize("unit", ["C", None])
def test_the_schemas_own_default_may_be_given_where_the_truth_leaves_it_out(unit):
    task = load(CALL)
    given = {"city": "Oslo", "nights": 3, "tags": []} | ({"unit": unit} if unit else {})
    assert kinds(task, given) == []
    assert kinds(task, given | {"unit": "F"}) == [("unexpected_argument", "unit")]
    assert kinds(task, given | {"tags": ["a"]}) == [("unexpected_argument", "tags")]


def test_a_default_does_not_replace_what_the_truth_asks_for():
    task = load({"name": "book", "arguments": {"city": "Oslo", "unit": "F"}})
    assert kinds(task, {"city": "Oslo", "unit": "C"}) == [("wrong_value", "unit")]
    assert kinds(task, {"city": "Oslo"}) == [("missing_argument", "unit")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accepted": {"city": "Rome"}}, "'accepted' of 'book' must list the values of 'city'"),
        ({"accepted": {"city": []}}, "'accepted' of 'book' must list the values of 'city'"),
        ({"accepted": ["Rome"]}, "'accepted' of a call must be an object"),
        ({"accepted": {"nights": ["3"]}}, "argument 'nights' must be of type integer, not string"),
        ({"accepted": {"stars": [5]}}, "got an unexpected argument 'stars'"),
        ({"accepted": "{"}, "'accepted' is not JSON"),
        ({"optional": ["city"]}, "'city' is 'optional', but the schema of 'book' requires it"),
        ({"optional": ["price"]}, "'price' of 'book' is 'optional', but no value is accepted"),
        ({"optional": {"nights": True}}, "'optional' of a call must be a list of names"),
        ({"optional": [3]}, "'optional' of a call must be a list of names"),
        ({"accept": {}}, "has the key 'accept', which is not known (did you mean 'accepted'?)"),
        ({"argument": {}}, "has the key 'argument', which is not known (did you mean 'arguments'?)"),
        (
            {"arguments": {"city": ["Oslo", "Oslo, Norway"]}},
            'not array; several accepted values go into \'accepted\': {"city": ["Oslo", "Oslo, Norway"]}',
        ),
    ],
)
def test_what_would_be_read_otherwise_than_meant_is_refused(change, message):
    with pytest.raises(DataError) as caught:
        load({**CALL, **change})
    assert str(caught.value).startswith("rows, row 0: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("change", [{"optional": ["nights"]}, {"accepted": {"city": ["Oslo, Norway"]}}])
def test_alternatives_are_refused_where_results_are_judged(change):
    with pytest.raises(DataError, match="is for tasks without a world; in a world the results of 'book' are judged"):
        tasks_from_rows([row({**CALL, **change}, world={"name": "python"})])
