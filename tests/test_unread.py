"""Settings that a run does not read are told by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fissile.config import RunConfig, fields_of, load_config, parse_config
from fissile.config.loading import section_of
from fissile.config.unread import ALWAYS, NEEDS, needs_of, told_unread, unread

RECIPES = Path(__file__).parents[1] / "recipes"


def keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, entry in fields_of(table).items():
        inner = section_of(entry.annotation)
        yield from [f"{prefix}{name}"] if inner is None else keys(inner, f"{prefix}{name}.")


def test_the_table_has_every_key_and_none_that_does_not_exist() -> None:
    known = set(keys(RunConfig))
    assert {key for key in known if key not in ALWAYS and not needs_of(key)} == set()
    assert known >= ALWAYS
    assert {entry for entry in NEEDS if not any(key == entry or key.startswith(f"{entry}.") for key in known)} == set()


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"method": {"seed": 3}}, "method.seed", "method.order = 'random'"),
        ({"method": {"capacity": 9}, "training": {"steps": 0}}, "method.capacity", "training.steps above 0"),
        ({"method": {"name": "grpo"}, "reward": {"repeat_earns_nothing": True}},
         "reward.repeat_earns_nothing", "recoveries in training"),
        ({"tasks": {"categories": ["multi_turn_base"]}, "evaluation": {"retries": 3}}, "evaluation.retries", "answers"),
        ({"tasks": {"tools": "t.py"}, "cold_start": {"recovery_share": 0.5, "feedback": "fixed"}},
         "cold_start.feedback", "live world answers itself"),
        ({"tasks": {"source": "rows.jsonl", "hub_split": "test"}}, "tasks.hub_split", "Hugging Face dataset"),
        ({"tasks": {"source": "rows.jsonl", "categories": ["multiple"]}}, "tasks.categories", "'bfcl'"),
        ({"tasks": {"held_out": "vehicle"}}, "tasks.held_out", "multi-turn BFCL"),
        ({"tasks": {"source": "procedural", "procedural": {"transient": 0.1}}}, "tasks.procedural.transient", "live"),
        ({"tasks": {"procedural": {"calls": [1.0]}}}, "tasks.procedural.calls", "'procedural'"),
        ({"world": {"window": 3}}, "world.window", "live world"),
        ({"model": {"adapter": "a", "lora_rank": 8}}, "model.lora_rank", "without model.adapter"),
        ({"training": {"steps": 9}, "evaluation": {"every": 10}}, "evaluation.every", "as many training.steps"),
        ({"training": {"steps": 0, "group_size": 4}}, "training.group_size", "training.steps above 0"),
        ({"cold_start": {"examples": 0, "epochs": 2}}, "cold_start.epochs", "cold_start.examples above 0"),
        ({"engine": {"compile": True}}, "engine.compile", "'vllm'"),
        ({"evaluation": {"top_k": 5}}, "evaluation.top_k", "temperature above 0"),
        ({"simulator": {"endpoint": {"server": {"model": "m"}}}}, "simulator.endpoint.server.model", "'endpoint'"),
        ({"injection": {"seed": 5}}, "injection.seed", "injection.rate above 0"),
        ({"reward": {"schedule": "constant", "format_weight_end": 1}}, "reward.format_weight_end", "'constant'"),
    ],
)  # fmt: skip
def test_what_is_set_and_not_read_is_told(fields: dict[str, Any], key: str, words: str) -> None:
    run = parse_config(fields)
    assert words in unread(run)[key].words
    assert f"{key} (only with " in told_unread(run)


def test_what_is_read_is_not_told() -> None:
    assert not told_unread(RunConfig())
    read = {"method": {"name": "offline_grpo", "per_group": 2, "seed": 1, "collect_tasks": 9}}
    assert not told_unread(parse_config(read))


def test_many_keys_of_a_table_are_one_entry() -> None:
    run = parse_config({"training": {"steps": 0, "group_size": 4, "beta": 0.1, "top_k": 5, "top_p": 0.9}})
    assert told_unread(run) == (
        "set, but not read here: training.group_size and 3 more of [training] (only with training.steps above 0)"
    )


@pytest.mark.parametrize("name", ["quickstart", "live", "tools", "compare", "reader"])
def test_the_shipped_recipes_set_what_they_read(name: str) -> None:
    assert not told_unread(load_config(RECIPES / f"{name}.toml"))


def test_an_evaluation_does_not_tell_what_its_recipe_has_for_the_training() -> None:
    skipped = ["cold_start.examples=0", "training.steps=0"]
    assert not told_unread(load_config(RECIPES / "quickstart.toml", skipped), evaluates_only=True)
    told = told_unread(load_config(RECIPES / "live.toml", [*skipped, "evaluation.retries=3"]), evaluates_only=True)
    assert told.startswith("set, but not read here: evaluation.retries (only with single-step tasks")
