import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fissile.calls import Attempt, ToolCall
from fissile.dialects import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ErrorKind, ToolError
from fissile.rewards import RewardConfig, composite_reward, correctness, length_reward
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

F = Tool("f", "", {"type": "object", "properties": {"x": {}, "y": {}, "u": {}}})
G = Tool("g", "", {"type": "object", "properties": {}})
USER = ({"role": "user", "content": "Do it."},)
EXPECTED_F = ExpectedCall("f", {"x": [1], "y": [2], "u": ["m"]}, optional=frozenset({"u"}))
TASK = Task("t", USER, (F, G), (EXPECTED_F,))
BOTH = Task("both", USER, (F, G), (EXPECTED_F, ExpectedCall.exactly("g", {})))
NOTHING = Task("nothing", USER, (F, G), ())
CONFIG = RewardConfig()
HERMES, ROOM = HermesDialect(), SingleStep()


def attempt(task: Task, *calls: tuple[str, dict], truncated: bool = False) -> Attempt:
    text = HermesDialect().render_calls([ToolCall(name, arguments, "") for name, arguments in calls])
    return ROOM.attempt(task, text, HERMES, truncated)


def reward(judged: Attempt, task: Task = TASK, config: RewardConfig = CONFIG, **options):
    settings = {"progress": 0.0, "completion_length": 40, "reference_length": 40} | options
    return composite_reward(judged, task, config=config, **settings)


# --- R_corr, by hand ---


@pytest.mark.parametrize(
    ("task", "calls", "expected"),
    [
        (TASK, [("f", {"x": 1, "y": 2})], 2.0),
        (TASK, [("f", {"x": 1, "y": 2, "u": "m"})], 2.0),
        (TASK, [("f", {"x": 1, "y": 3})], 2 * (0.5 + 0.5 * 1 / 2)),  # F1: 2 * 1 / (2 + 2)
        (TASK, [("f", {"x": 1})], 2 * (0.5 + 0.5 * 2 / 3)),  # F1: 2 * 1 / (1 + 2)
        (TASK, [("f", {"x": 1, "y": 2, "u": "km"})], 2 * (0.5 + 0.5 * 4 / 5)),  # F1: 2 * 2 / (3 + 2)
        (TASK, [("f", {})], 2 * 0.5),
        (TASK, [("g", {})], 0.0),
        (TASK, [], 0.0),
        (TASK, [("f", {"x": 1, "y": 2}), ("g", {})], 2 * 0.5 * 1 / 2),  # one pair of two, wrong multiset
        (BOTH, [("g", {}), ("f", {"x": 1, "y": 2})], 2.0),
        (BOTH, [("g", {}), ("f", {"x": 1, "y": 3})], 2 * (0.5 + 0.5 * (1 + 1 / 2) / 2)),
        (BOTH, [("g", {})], 2 * 0.5 * 1 / 2),
        (NOTHING, [], 2.0),
        (NOTHING, [("g", {})], 0.0),
    ],
)
def test_correctness_by_hand(task, calls, expected):
    assert correctness(attempt(task, *calls), task) == pytest.approx(expected)


def test_alpha_moves_between_names_and_arguments():
    half_right = attempt(TASK, ("f", {"x": 1, "y": 3}))
    assert [correctness(half_right, TASK, alpha) for alpha in (0.0, 0.25, 1.0)] == [1.0, 1.25, 2.0]


def test_a_malformed_call_counts_as_a_call():
    text = '<tool_call>{</tool_call><tool_call>{"name": "f", "arguments": {"x": 1, "y": 2}}'
    mixed = ROOM.attempt(TASK, text, HERMES)
    assert correctness(mixed, TASK) == pytest.approx(2 * 0.5 * 1 / 2)


def test_a_failure_that_only_the_judge_sees_does_not_earn_the_full_reward():
    right = attempt(TASK, ("f", {"x": 1, "y": 2}))
    rejected = Attempt(right.text, right.calls, (ToolError(ErrorKind.WRONG_VALUE, "no"),))
    assert correctness(rejected, TASK) == 1.0


# --- R_fmt ---


@pytest.mark.parametrize(
    ("task", "text", "truncated", "fmt"),
    [
        (TASK, '<tool_call>{"name": "f", "arguments": {}}</tool_call>', False, 1),
        (TASK, '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', False, 1),
        (TASK, "no call", False, 0),
        (TASK, "<tool_call>{</tool_call>", False, 0),
        (TASK, '<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{', False, 0),
        (TASK, '<tool_call>{"name": "f"', True, 0),
        (NOTHING, "no call", False, 1),
        (NOTHING, "<tool_call>{</tool_call>", False, 0),
    ],
)
def test_format(task, text, truncated, fmt):
    assert reward(ROOM.attempt(task, text, HERMES, truncated), task).fmt == fmt


# --- R_len ---


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (20, 1.0),
        (40, 1.0),
        (60, 1.0),
        (80, math.exp(-0.5)),  # one sigma (20 tokens) beyond 1.5 x 40
        (100, math.exp(-2.0)),
        (0, math.exp(-0.5)),
    ],
)
def test_length_by_hand(length, expected):
    assert length_reward(length, 40, CONFIG) == pytest.approx(expected)


def test_a_reference_of_no_tokens_is_no_division_by_zero():
    assert length_reward(1, 0, CONFIG) == 1.0


# --- schedule and total ---


@pytest.mark.parametrize(
    ("schedule", "progress", "weights"),
    [
        ("linear", 0.0, (2.0, 1.0)),
        ("linear", 0.25, (1.75, 1.25)),
        ("linear", 1.0, (1.0, 2.0)),
        ("linear", 1.2, (1.0, 2.0)),
        ("cosine", 0.0, (2.0, 1.0)),
        ("cosine", 1 / 3, (1.75, 1.25)),
        ("cosine", 1.0, (1.0, 2.0)),
        ("constant", 0.7, (2.0, 1.0)),
    ],
)
def test_weights(schedule, progress, weights):
    assert RewardConfig(schedule=schedule).weights(progress) == pytest.approx(weights)


def test_total_by_hand():
    right, half = attempt(TASK, ("f", {"x": 1, "y": 2})), attempt(TASK, ("f", {"x": 1, "y": 3}))
    assert reward(right).total == pytest.approx((2 * 1 + 1 * 2 + 1) / 3)
    assert reward(right, progress=1.0).total == pytest.approx((1 * 1 + 2 * 2 + 1) / 3)
    assert reward(half, progress=0.5).total == pytest.approx((1.5 * 1 + 1.5 * 1.5 + 1) / 3)
    assert reward(ROOM.attempt(TASK, "no", HERMES), completion_length=80).total == pytest.approx(math.exp(-0.5) / 3)


def test_a_repeat_of_the_failed_call_earns_nothing_where_that_is_set():
    parent = attempt(TASK, ("f", {"x": 1, "y": 3}))
    spaced = ROOM.attempt(TASK, '<tool_call>{ "arguments": {"y":3, "x":1}, "name": "f" }</tool_call>', HERMES)
    better = attempt(TASK, ("f", {"x": 1, "y": 2}))
    strict = RewardConfig(repeat_earns_nothing=True)
    repeat = reward(spaced, config=strict, parent=parent)
    assert (repeat.fmt, repeat.corr, repeat.length) == (1.0, 0.0, 1.0)
    assert repeat.total == pytest.approx((2 + 1) / 3)
    assert reward(spaced, config=strict).corr == 1.5
    assert reward(spaced, parent=parent).corr == 1.5
    assert reward(better, config=strict, parent=parent).corr == 2.0


def test_an_improvement_is_what_a_recovery_gains_over_its_parent():
    gains = RewardConfig(recovery_credit="improvement")
    parent = attempt(TASK, ("f", {"x": 1, "y": 3}))  # R_corr = 1.5
    worse = attempt(TASK, ("f", {"x": 1}))  # drops the wrong argument and gains nothing by it
    unnamed = attempt(TASK, ("g", {}))
    right = attempt(TASK, ("f", {"x": 1, "y": 2}))
    for no_better in (parent, worse, unnamed):
        assert reward(no_better, config=gains, parent=parent).corr <= reward(no_better, config=gains).corr
    assert reward(parent, config=gains, parent=parent).corr == 0
    assert reward(unnamed, config=gains, parent=parent).corr == 0
    assert reward(right, config=gains, parent=parent).corr == 2
    assert reward(parent, config=gains, parent=unnamed).corr == pytest.approx(2 * (1.5 - 0) / (2 - 0))
    assert reward(parent, config=gains).corr == 1.5  # exploring is as before


calls = st.lists(
    st.tuples(
        st.sampled_from(["f", "g", "h"]),
        st.dictionaries(st.sampled_from(["x", "y", "u", "z"]), st.sampled_from([1, 2, "m", None])),
    ),
    max_size=4,
)


@given(
    calls,
    st.sampled_from([TASK, BOTH, NOTHING]),
    st.floats(0, 1),
    st.integers(0, 10_000),
    st.integers(0, 500),
    st.floats(0, 0.99),
)
def test_every_part_keeps_its_range_and_only_right_attempts_earn_two(made, task, progress, length, reference, alpha):
    config = RewardConfig(alpha=alpha)
    judged = attempt(task, *made)
    scored = reward(judged, task, config, progress=progress, completion_length=length, reference_length=reference)
    assert scored.fmt in (0.0, 1.0)
    assert 0 <= scored.corr <= 2
    assert 0 <= scored.length <= 1
    assert (scored.corr == 2) == (not judged.failed)
    format_weight, correctness_weight = config.weights(progress)
    assert 0 <= scored.total <= (format_weight + 2 * correctness_weight + 1) / 3 + 1e-12


# --- config ---


@pytest.mark.parametrize(
    "fields",
    [{"alpha": 1.5}, {"schedule": "step"}, {"length_flat_from": 2.0}, {"length_sigma": 0}, {"alfa": 0.5}],
)
def test_a_config_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        RewardConfig(**fields)


def test_every_field_has_its_help_text():
    assert all(field.description for field in RewardConfig.model_fields.values())
