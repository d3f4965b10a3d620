"""The procedural world's tasks: solvable as written, unambiguous, apart from their test side, the same everywhere."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fissile.calls import JSON, canonical_json
from fissile.dialects import get_dialect
from fissile.environments import judge
from fissile.errors import ErrorKind
from fissile.tasks import Task
from fissile.tasks.procedural import words
from fissile.tasks.procedural.conventions import KINDS
from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.tasks.procedural.mistakes import miswritten
from fissile.tasks.procedural.requests import procedural_split
from fissile.tasks.procedural.words import tool_names
from fissile.tools import Tool
from hash_seeds import printed_under_hash_seeds

DIALECT = get_dialect("hermes")

share = st.sampled_from([0.0, 0.3, 1.0])
worlds = st.builds(
    ProceduralSettings,
    seed=st.integers(0, 10**6),
    train_tasks=st.just(12),
    test_tasks=st.just(12),
    train_tools=st.integers(8, 30),
    test_tools=st.integers(8, 30),
    offered=st.integers(1, 8),
    calls=st.sampled_from([(1.0,), (0.6, 0.25, 0.1, 0.05), (0.0, 0.0, 0.0, 1.0)]),
    parameters=st.integers(1, 6),
    optional=share,
    undocumented=share,
    unusual=share,
    shuffled=share,
    paraphrased=share,
    live=st.booleans(),
)

ACTION_OF = {verb: action for action, verbs in words.VERBS.items() for verb in verbs}


def every_task(world: ProceduralSettings) -> tuple[Task, ...]:
    split = procedural_split(world)
    return (*split.train, *split.test)


# --- a reader of the requests ------------------------------------------------------------------------------------

WORD_TO_PARAMETER = {
    word: (name, kind) for kind, made in KINDS.items() for name, other in made.names.items() for word in (name, other)
}

Reader = Callable[[str], Any]

READERS: dict[str, Reader] = {
    "count": int,
    "day": lambda text: datetime.strptime(f"{text} 2026", "%d %B %Y").date(),
    "code": lambda text: text.strip('"'),
    "label": lambda text: text.strip('"'),
    "flag": {"yes": True, "no": False}.__getitem__,
}


def read_phrase(phrase: str) -> tuple[str, str, Any]:
    """(parameter, kind, value) of "deadline 3 May" and the like."""
    word, _, value = phrase.partition(" ")
    name, kind = WORD_TO_PARAMETER[word]
    return name, kind, READERS.get(kind, str)(value)


def in_convention(kind: str, value: Any, schema: dict[str, JSON]) -> JSON:
    """The value as the tool's schema wants it, which also says how an undocumented one does."""
    bare = {key: rule for key, rule in schema.items() if key != "description"}
    (write,) = [convention.write for convention in KINDS[kind].conventions if convention.schema == bare]
    return write(value)


def fits(tool: Tool, clause: str) -> bool:
    verb, noun = re.match(r"(\w+) the (\w+), ", clause).groups()  # type: ignore[union-attr]
    own_verb, own_noun = tool.name.split("_")
    return (ACTION_OF[verb], noun) == (ACTION_OF[own_verb], own_noun)


def solved(task: Task) -> list[str]:
    """The calls that a reader of the request makes, who knows the conventions."""
    request = task.messages[0]["content"].removeprefix("Please ").removesuffix(".")
    calls = []
    for clause in request.split("; then "):
        (tool,) = [tool for tool in task.tools if fits(tool, clause)]
        read = [read_phrase(phrase) for phrase in clause.partition(", ")[2].split(", ")]
        arguments = {name: in_convention(kind, value, tool.properties[name]) for name, kind, value in read}
        assert len(arguments) == len(read)
        calls.append(f"{tool.name}({canonical_json(arguments)})")
    return calls


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_a_reader_who_knows_the_conventions_solves_every_task(world: ProceduralSettings) -> None:
    for task in every_task(world):
        assert solved(task) == [call.signature for call in task.oracle_calls()]


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_the_truth_obeys_the_schemas(world: ProceduralSettings) -> None:
    for task in every_task(world):
        for call in task.oracle_calls():
            tool = task.tool(call.name)
            assert tool is not None
            assert tool.validate(call.arguments or {}) == ()


def test_no_word_stands_for_two_parameters() -> None:
    said = Counter(word for kind in KINDS.values() for pair in kind.names.items() for word in pair)
    assert set(said.values()) == {1}


def test_no_verb_stands_for_two_actions() -> None:
    assert len(ACTION_OF) == sum(map(len, words.VERBS.values()))


# --- what a world promises ---------------------------------------------------------------------------------------


def spoken_values(tasks: tuple[Task, ...]) -> set[str]:
    """Quoted words, long dates and other numbers of the requests."""
    texts = [task.messages[0]["content"] for task in tasks]
    return {value for text in texts for value in re.findall(r'"[^"]*"|\d+ [A-Z][a-z]{2,}|\d+', text)}


def test_the_test_side_shares_no_tool_and_no_value_with_the_training_side() -> None:
    split = procedural_split(ProceduralSettings(train_tasks=1500, test_tasks=800, test_tools=150, live=True))
    names = [{tool.name for task in side for tool in task.tools} for side in (split.train, split.test)]
    values = [spoken_values(side) for side in (split.train, split.test)]
    records = [
        {code for task in side if task.world for codes in task.world.setup["records"].values() for code in codes}
        for side in (split.train, split.test)
    ]
    for train, test in (names, values, records):
        assert len(test) > 30
        assert not train & test


def test_another_seed_is_another_world() -> None:
    requests = [
        {task.messages[0]["content"] for task in procedural_split(ProceduralSettings(seed=seed, train_tasks=50)).train}
        for seed in (0, 1)
    ]
    assert not requests[0] & requests[1]


PRINT_A_DIGEST = """
import hashlib
from fissile.tasks.procedural.requests import procedural_split
from fissile.tasks.procedural.dials import ProceduralSettings
split = procedural_split(ProceduralSettings(seed=3, train_tasks=60, test_tasks=30, live=True, transient=0.1))
print(hashlib.sha256(repr((split.train, split.test)).encode()).hexdigest())
"""


def test_the_same_settings_give_the_same_tasks_in_another_process() -> None:
    digests = printed_under_hash_seeds(PRINT_A_DIGEST)
    assert len(digests) == 1
    assert digests != {""}


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_no_two_calls_of_a_task_concern_one_record(world: ProceduralSettings) -> None:
    for task in every_task(world):
        tools = {tool.name: tool for tool in task.tools}
        coded = [
            str(value).upper()
            for call in task.oracle_calls()
            for name, value in (call.arguments or {}).items()
            if "[A-Z]" in (rule := tools[call.name or ""].properties[name].get("pattern", "")) or "[a-z]" in rule
        ]
        assert len(set(coded)) == len(coded)


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_an_update_changes_something(world: ProceduralSettings) -> None:
    for task in every_task(world):
        for call in task.oracle_calls():
            assert call.arguments
            if ACTION_OF[(call.name or "").split("_")[0]] == "update":
                assert len(call.arguments) > 1


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_the_dials_are_obeyed(world: ProceduralSettings) -> None:
    for task in every_task(world):
        assert len(task.tools) <= max(world.offered, 2)
        assert all(len(tool.properties) <= max(world.parameters, 2) for tool in task.tools)
        assert world.calls[len(task.ground_truth) - 1] > 0
        assert (task.world is not None) == world.live
        if world.optional == 0:
            assert all(set(tool.required) == set(tool.properties) for tool in task.tools)


@pytest.mark.parametrize(("undocumented", "documented"), [(0.0, True), (1.0, False)])
def test_undocumented_conventions_are_in_the_schema_alone(undocumented: float, documented: bool) -> None:
    world = ProceduralSettings(train_tasks=100, test_tasks=1, undocumented=undocumented)
    schemas = [schema for task in every_task(world) for tool in task.tools for schema in tool.properties.values()]
    with_a_choice = [
        schema for schema in schemas if schema.keys() - {"description"} != {"type"} or schema["type"] == "boolean"
    ]
    assert with_a_choice
    assert {"description" in schema for schema in with_a_choice} == {documented}


def test_a_catalogue_has_no_more_tools_than_names() -> None:
    assert len(tool_names(held_out=True)) + len(tool_names(held_out=False)) == 12 * len(words.NOUNS)
    most = len(tool_names(held_out=True))
    split = procedural_split(ProceduralSettings(train_tasks=1, test_tasks=1, test_tools=most))
    assert len(split.test) == 1
    with pytest.raises(ValidationError, match=rf"test_tools\n.*less than or equal to {most}"):
        ProceduralSettings(test_tools=most + 1)


def test_a_small_catalogue_offers_what_it_has_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(40):  # eight tools seldom have eight meanings
        split = procedural_split(
            ProceduralSettings(seed=seed, train_tasks=3, test_tasks=3, train_tools=8, test_tools=8, offered=8)
        )
        assert all(len(task.tools) in range(4, 9) for task in (*split.train, *split.test))
        for side, tasks in (("train", split.train), ("test", split.test)):
            told = f"{side}_tools = 8 only {len(tasks[0].tools)} mean different things"
            assert (told in caplog.text) == (len(tasks[0].tools) < 8)
        caplog.clear()


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_what_a_kind_reads_is_what_any_of_its_conventions_wrote() -> None:
    draw = random.Random(0)
    for kind in KINDS.values():
        for _ in range(50):
            value = kind.draw(draw, draw.random() < 0.5)
            for convention in kind.conventions:
                assert kind.read(convention.write(value)) == value


@settings(max_examples=25, deadline=None)
@given(worlds, st.integers(0, 9))
def test_a_miswritten_call_is_refused_for_one_value_and_nothing_else(world: ProceduralSettings, seed: int) -> None:
    for task in every_task(world):
        wrong = miswritten(task, random.Random(seed))
        if wrong is None:
            continue
        right = task.oracle_calls()
        (at,) = [index for index, call in enumerate(right) if call.signature != wrong[index].signature]
        changed = {name for name, value in (right[at].arguments or {}).items() if wrong[at].arguments[name] != value}
        errors = judge(task, DIALECT.parse(DIALECT.render_calls(wrong)))
        assert {(error.call_index, error.argument) for error in errors} == {(at, *changed)}
        assert {error.kind for error in errors} <= {ErrorKind.WRONG_VALUE, ErrorKind.WRONG_TYPE}


def test_a_call_whose_values_have_one_convention_cannot_be_miswritten() -> None:
    world = ProceduralSettings(train_tasks=300, parameters=1, calls=(1.0,))
    labelled = [
        task for task in every_task(world) if set(task.oracle_calls()[0].arguments or {}) <= set(KINDS["label"].names)
    ]
    assert labelled
    assert all(miswritten(task, random.Random(0)) is None for task in labelled)
