from __future__ import annotations

import collections
import datetime
import decimal
import enum
import pickle
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fissile.environments.python.state import as_written, fingerprint, public_attributes, same_state


class Holder:
    """An instance with any attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("_hidden", "shown", "unset")

    def __init__(self) -> None:
        self.shown, self._hidden = 1, 2


class Plain:
    """No `__eq__`: equal to nothing but itself."""

    def __init__(self, name: str, parent: Plain | None = None) -> None:
        self.name, self.parent, self.children = name, parent, {}


class Loose:
    """Equal to all of its kind."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loose)

    __hash__ = None  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = 1


@dataclass
class Record:
    name: str
    tags: set[str] = field(default_factory=set)


def tree() -> Plain:
    root = Plain("root")
    for name in "ab":
        root.children[name] = Plain(name, root)
    return root


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.sampled_from(Colour),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(lambda value: Holder(x=value), inner)
    ),
    max_leaves=12,
)


@given(values)
def test_going_through_a_pickle_changes_nothing(value: Any) -> None:
    holder = Holder(value=value, again=value)
    copied = pickle.loads(pickle.dumps(holder))
    assert fingerprint(copied) == fingerprint(holder)
    assert same_state(copied, holder)


@given(values, values)
def test_equal_fingerprints_are_the_same_state_and_different_states_differ(one: Any, other: Any) -> None:
    first, second = Holder(value=one), Holder(value=other)
    if fingerprint(first) == fingerprint(second):
        assert same_state(first, second)
    if not same_state(first, second):
        assert fingerprint(first) != fingerprint(second)


@given(st.dictionaries(st.text(), st.integers()), st.sets(st.text()), st.randoms())
def test_the_order_of_dicts_and_sets_does_not_count(pairs: dict[str, int], members: set[str], rng: Any) -> None:
    items, elements = list(pairs.items()), list(members)
    rng.shuffle(items)
    rng.shuffle(elements)
    assert fingerprint(Holder(d=dict(items), s=set(elements))) == fingerprint(Holder(d=pairs, s=members))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 2}),
        ({"1": 0}, {1: 0}),
        ([1, 2], [2, 1]),
        ("a", b"a"),
        (None, "None"),
        (datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)),
        (decimal.Decimal("1.5"), decimal.Decimal("1.6")),
        (collections.deque([1]), collections.deque([2])),
        (collections.Counter("ab"), collections.Counter("abb")),
        (random.Random(1), random.Random(2)),
        (Record("a"), Record("a", {"x"})),
        ([[1], 2], [[1, 2]]),
    ],
)
def test_a_changed_value_changes_the_fingerprint(before: Any, after: Any) -> None:
    assert fingerprint(Holder(x=before)) != fingerprint(Holder(x=after))
    assert not same_state(Holder(x=before), Holder(x=after))


def test_numbers_count_by_their_value() -> None:
    assert fingerprint(Holder(x=1)) == fingerprint(Holder(x=1.0)) == fingerprint(Holder(x=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda value: np.array([1.0, value]),
        lambda value: np.asfortranarray([[1, 2], [3, value]]),
        lambda value: {"grid": [np.arange(4) * value]},
        np.int64,
        lambda value: np.array([{value}, None], dtype=object),
        np.random.default_rng,
        lambda value: pd.DataFrame({"a": [1, 2], "b": [0, value]}),
        lambda value: pd.Series({"x": value}),
        lambda value: pd.Timestamp(2000 + value, 1, 1),
        lambda value: torch.tensor([1.0, value]),
        lambda value: [{"scores": {float(value), 0.5}}, float("nan")],
    ],
)
def test_values_of_other_libraries_are_compared_by_what_they_hold(make: Any) -> None:
    one, same, other = (Holder(x=make(value)) for value in (3, 3, 4))
    assert fingerprint(one) == fingerprint(same) == fingerprint(pickle.loads(pickle.dumps(one)))
    assert same_state(one, same)
    assert fingerprint(one) != fingerprint(other)
    assert not same_state(one, other)


def test_the_shape_of_an_array_counts_and_its_layout_does_not() -> None:
    assert not same_state(Holder(x=np.ones((1, 1))), Holder(x=np.ones(1)))
    assert not same_state(Holder(x=np.ones(0)), Holder(x=np.ones(1)))
    assert same_state(Holder(x=np.ones((2, 2))), Holder(x=np.asfortranarray(np.ones((2, 2)))))


def test_numbers_are_the_same_to_the_digits_that_a_decimal_keeps() -> None:
    assert as_written(0.1 + 0.2) == 0.3
    assert as_written(2.9999999999999996) == 3
    assert as_written(1e300) == int(1e300)
    assert as_written(0.1 + 1e-12) != 0.1
    assert same_state(Holder(x={"a": 0.1 + 0.2}), Holder(x={"a": 0.3}))


def test_private_attributes_do_not_count_and_slots_do() -> None:
    assert public_attributes(Slotted()) == {"shown": 1}
    assert fingerprint(Holder(x=1, _y=1)) == fingerprint(Holder(x=1, _y=2))


def test_objects_without_equality_are_compared_by_what_they_hold() -> None:
    one, other = Holder(tree=tree()), Holder(tree=tree())
    assert same_state(one, other)
    other.tree.children["b"].name = "c"
    assert not same_state(one, other)


def test_a_class_decides_what_is_equal() -> None:
    one, other = Holder(x=Loose(1)), Holder(x=Loose(2))
    assert fingerprint(one) != fingerprint(other)
    assert same_state(one, other)


def test_cycles_and_deep_nesting_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    other: list[Any] = [1]
    other.append(other)
    assert same_state(Holder(x=loop), Holder(x=other))
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    assert fingerprint(Holder(x=deep)) != fingerprint(Holder(x=[deep]))


def test_more_public_attributes_than_expected_are_free_and_fewer_are_not() -> None:
    assert same_state(Holder(x=1, y=2), Holder(x=1))
    assert not same_state(Holder(x=1), Holder(x=1, y=2))
