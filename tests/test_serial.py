"""Records to JSON and back."""

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from fissile.serial import from_json, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    colour: Colour
    value: Any = None


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def test_a_record_survives_the_way_through_json():
    tree = Tree("t\ud800", (Leaf(Colour.RED, {"nothing": None, "list": [1, "a"]}), Leaf(Colour.RED)), {"a": 1})
    assert from_json(Tree, json.loads(json.dumps(to_json(tree)))) == tree


def test_what_has_its_default_is_left_out_and_nested_nulls_stay():
    assert to_json(Tree("t", (Leaf(Colour.RED, {"nothing": None}),))) == {
        "name": "t",
        "leaves": [{"colour": "red", "value": {"nothing": None}}],
    }


def test_numbers_that_json_does_not_know_stay_what_they_are():
    assert math.isnan(to_json(Leaf(Colour.RED, {"x": math.nan}))["value"]["x"])


def test_what_a_model_wrote_survives_whatever_it_is():
    deep: Any = "\ud800"
    for _ in range(64):
        deep = [{"\ud83d": deep}]
    leaf = Leaf(Colour.RED, {"deep": deep, "long": 10**400})
    assert from_json(Leaf, json.loads(json.dumps(to_json(leaf)))) == leaf


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="colour"):
        from_json(Tree, {"name": "t", "leaves": [{"colour": "blue"}]})
