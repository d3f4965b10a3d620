import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import ToolCall
from fissile.environments.matching import argument_f1, match_calls, values_match
from fissile.tasks import ExpectedCall

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.text("aB -'", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


def call(tool: str, **arguments) -> ToolCall:
    return ToolCall(tool, arguments, "")


@pytest.mark.parametrize(
    ("value", "answer", "exact", "bfcl"),
    [
        (1, 1.0, True, True),
        (True, 1, False, False),
        (0, False, False, False),
        ([1, [True]], [1, [1]], False, False),
        (None, None, True, True),
        ("", None, False, False),
        ("1", 1, False, False),
        (10**290, 1e290, True, False),  # BFCL compares doubles
        (1000, 1e3, True, True),
        (0.1 + 0.2, 0.3, True, False),
        (19.99, 19.990000000000002, True, False),
        (2**53, 2**53 + 1, False, False),
        (float(2**53), 2**53 + 1, False, False),
        (float("nan"), 1, False, False),
        (float("inf"), 1, False, False),
        ([{"price": 0.1 + 0.2}], [{"price": 0.3}], True, False),
        ("New York", "new-york", False, True),
        ("April 1,2024", "april 1 2024", False, True),
        ("it's", 'it"s', False, True),
        ("abc", "abd", False, False),
        (["a", "b"], ["A", "b."], False, True),
        (["b", "a"], ["a", "b"], False, False),
        (["a"], ["a", "a"], False, False),
        ([["a"]], [["A"]], False, False),  # BFCL is loose one level deep only
    ],
)
def test_values(value, answer, exact, bfcl):
    assert values_match(value, [answer]) is exact
    assert values_match(value, [answer], "bfcl") is bfcl
    assert values_match(value, ["something else", answer]) is exact
    assert not values_match(value, [])


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ({"size": "l"}, True),
        ({"size": "M", "color": "Red"}, True),
        ({"size": "XL"}, False),
        ({"color": "red"}, False),
        ({"size": "L", "shape": 1}, False),
        ("L", False),
    ],
)
def test_bfcl_objects_list_the_accepted_values_of_each_key(value, matches):
    answer = {"size": ["L", "M"], "color": ["red", ""]}
    assert values_match(value, [answer], "bfcl") is matches
    assert values_match([value, {"size": "m"}], [[answer, answer]], "bfcl") is matches


def test_bfcl_objects_whose_keys_hold_plain_values_are_compared_directly():
    assert values_match({"size": 1}, [{"size": 1}], "bfcl")
    assert not values_match({"size": 2}, [{"size": 1}], "bfcl")


@given(json_values, json_values)
def test_json_equality_is_an_equivalence_and_bfcl_never_raises(a, b):
    assert values_match(a, [a])
    assert values_match(a, [b]) == values_match(b, [a])
    values_match(a, [b], "bfcl")


@pytest.mark.parametrize(
    ("arguments", "f1"),
    [
        ({"x": 1, "y": 2}, 1.0),
        ({"x": 1, "y": 2, "unit": "m"}, 1.0),
        ({"x": 1, "y": 2, "unit": "km"}, 2 * 2 / (3 + 2)),
        ({"x": 1, "y": 9}, 2 * 1 / (2 + 2)),
        ({"x": 1}, 2 * 1 / (1 + 2)),
        ({"x": 1, "y": 2, "z": 3}, 2 * 2 / (3 + 2)),
        ({}, 0.0),
    ],
)
def test_f1_counts_pairs_and_forgives_omitted_optional_arguments(arguments, f1):
    expected = ExpectedCall("f", {"x": [1], "y": [2, 3], "unit": ["m"]}, optional=frozenset({"unit"}))
    assert argument_f1(call("f", **arguments), expected) == pytest.approx(f1)


def test_f1_of_special_calls():
    nothing = ExpectedCall.exactly("f", {})
    assert argument_f1(call("f"), nothing) == 1.0
    assert argument_f1(call("g"), nothing) == 0.0
    assert argument_f1(ToolCall(None, None, "{"), nothing) == 0.0


def test_calls_are_matched_whatever_their_order():
    expected = [ExpectedCall.exactly("f", {"x": 1}), ExpectedCall.exactly("f", {"x": 2}), ExpectedCall.exactly("g", {})]
    pairing = match_calls([call("g"), call("f", x=2), call("f", x=1)], expected)
    assert pairing.pairs == ((0, 2), (1, 1), (2, 0))
    assert (pairing.extra, pairing.missing) == ((), ())


def test_the_pairing_is_exact_where_a_greedy_one_fails():
    """Call 0 fits both expected calls, call 1 only the first: pairing call 0 with the first would be wrong."""
    expected = [ExpectedCall("f", {"x": [1, 2]}), ExpectedCall("f", {"x": [1]})]
    assert match_calls([call("f", x=1), call("f", x=2)], expected).pairs == ((0, 1), (1, 0))


def test_the_right_tool_with_wrong_arguments_is_preferred_to_another_tool():
    expected = [ExpectedCall.exactly("f", {"x": 1})]
    pairing = match_calls([call("g", x=1), call("f", y=2)], expected)
    assert pairing.pairs == ((1, 0),)
    assert pairing.extra == (0,)


def test_missing_calls_and_empty_sides():
    expected = [ExpectedCall.exactly("f", {}), ExpectedCall.exactly("g", {})]
    assert match_calls([call("g")], expected).missing == (0,)
    assert match_calls([], expected).missing == (0, 1)
    assert match_calls([call("g")], []).extra == (0,)
    assert match_calls([], []).pairs == ()


small_calls = st.lists(
    st.builds(call, st.sampled_from("fg"), x=st.integers(0, 2), y=st.integers(0, 2)), min_size=0, max_size=5
)
small_truths = st.lists(
    st.builds(
        lambda tool, x, y: ExpectedCall(tool, {"x": sorted(x), "y": [y]}),
        st.sampled_from("fg"),
        st.sets(st.integers(0, 2), min_size=1),
        st.integers(0, 2),
    ),
    max_size=5,
)


@given(small_calls, small_truths)
def test_no_pairing_is_more_similar(calls, expected):
    def similarity(pairs):
        same_tool = [(c, e) for c, e in pairs if calls[c].name == expected[e].name]
        return sum(1 + argument_f1(calls[c], expected[e]) for c, e in same_tool)

    pairing = match_calls(calls, expected)
    size = min(len(calls), len(expected))
    if len(calls) <= len(expected):
        all_pairings = (list(enumerate(chosen)) for chosen in itertools.permutations(range(len(expected)), size))
    else:
        all_pairings = (
            [(c, e) for e, c in enumerate(chosen)] for chosen in itertools.permutations(range(len(calls)), size)
        )
    assert similarity(pairing.pairs) == pytest.approx(max(map(similarity, all_pairings)))
    assert sorted([c for c, _ in pairing.pairs] + list(pairing.extra)) == list(range(len(calls)))
    assert sorted([e for _, e in pairing.pairs] + list(pairing.missing)) == list(range(len(expected)))
