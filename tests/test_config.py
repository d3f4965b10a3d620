import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from fissile.config import RunConfig, SimulatorRecipe, load_config, parse_config
from fissile.config.loading import _apply
from fissile.config.simulator_recipe import load_simulator_recipe
from fissile.errors import ConfigError
from fissile.lab import LabSpec, load_spec
from fissile.methods import FissionSettings

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_says_how_to_run_it(recipe: Path) -> None:
    head = recipe.read_text(encoding="utf-8").split("\n\n")[0]
    commands = {"fissile lab run": load_spec, "Command:  fissile simulate": load_simulator_recipe}
    load = next((loader for command, loader in commands.items() if command in head), load_config)
    load(recipe)
    for word in ("Purpose:", "Hardware:", "Minutes:", "Command:"):
        assert word in head


def test_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"training": {"learning_rat": 1e-4}})
    assert "training.learning_rat: unknown key" in str(error.value)
    assert "learning_rate" in str(error.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"training": {"group_size": 1}, "model": {"dtype": "int3"}})
    assert "training.group_size" in str(error.value)
    assert "(got 1)" in str(error.value)
    assert "model.dtype" in str(error.value)


def test_recovery_groups_must_fill_a_step() -> None:
    with pytest.raises(ConfigError, match=r"method.samples = 5 does not divide the 32 rollouts"):
        parse_config({"method": {"samples": 5}})


def told(fields: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        parse_config(fields)
    return str(error.value)


def test_the_methods_table_is_validated_with_its_own_settings() -> None:
    assert parse_config({"method": {"interval": 2}}).method == FissionSettings(name="fission_grpo", interval=2)
    assert parse_config({"method": {"name": "grpo"}}).method.model_dump() == {"name": "grpo"}
    assert RunConfig(method=FissionSettings(interval=2)).method.name == "fission_grpo"
    wrong = told({"method": {"interval": 0, "order": "newest"}, "training": {"group_size": 1}})
    assert "method.interval: Input should be greater than or equal to 1 (got 0)" in wrong
    assert "method.order: Input should be 'lifo', 'fifo' or 'random' (got 'newest')" in wrong
    assert "training.group_size" in wrong
    others = told({"method": {"name": "grpo", "capacity": 3, "per_group": 2}})
    assert "method.capacity is a setting of fission_grpo, not of grpo" in others
    assert "method.per_group is a setting of fission_grpo and offline_grpo, not of grpo" in others
    assert "method.intervall: unknown key; fission_grpo knows" in (typo := told({"method": {"intervall": 2}}))
    assert "did you mean 'interval'" in typo
    assert "no method 'gpro' (did you mean 'grpo'?). Choose one of grpo, dapo," in told({"method": {"name": "gpro"}})
    assert "method.name = 3 is no text" in told({"method": {"name": 3}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"method": "grpo"}, '[method]\nname = "grpo"\n'),
        ({"method": "grpo", "fission": {"per_group": 2}}, '[method]\nname = "grpo"\n'),
        ({"method": "grpo", "training": {"refills": 2}}, '[method]\nname = "dapo"\nrefills = 2\n'),
        ({"fission": {"per_group": 2, "max_staleness": "none"}}, '[method]\nper_group = 2\nmax_staleness = "none"\n'),
        (
            {"method": "offline_grpo", "fission": {"feedback": "fixed"}, "offline": {"tasks": 9, "samples": 2}},
            '[method]\nname = "offline_grpo"\nfeedback = "fixed"\ncollect_tasks = 9\ncollect_samples = 2\n',
        ),
    ],
)
def test_the_old_spelling_is_answered_with_the_new_one(old: dict[str, Any], new: str) -> None:
    said = told({**old, "model": {"dtype": "int3"}})
    assert new in said
    assert "dtype" not in said, "one message"
    parse_config(tomllib.loads(said[said.index("[method]") :]))


def test_another_method_on_the_command_line_keeps_what_it_has_too(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[method]\nper_group = 2\nmax_depth = 2\n", encoding="utf-8")
    offline = load_config(recipe, ["method.name=offline_grpo"]).method
    assert offline.model_dump(exclude_defaults=True) == {"name": "offline_grpo", "per_group": 2}
    assert load_config(recipe, ["method.name=grpo"]).method.model_dump() == {"name": "grpo"}
    with pytest.raises(ConfigError, match=r"method\.order is a setting of fission_grpo, not of grpo"):
        load_config(recipe, ["method.name=grpo", "method.order=fifo"])


def test_checkpoints_must_not_split_the_updates_on_one_batch() -> None:
    with pytest.raises(ConfigError, match="save_steps = 3 must be a multiple of iterations = 2"):
        parse_config({"training": {"iterations": 2, "save_steps": 3}})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tasks": {"procedural": {"calls": [0.0]}}}, r"tasks\.procedural\.calls: \[0\.0\] are no weights"),
        ({"tasks": {"procedural": {"calls": [float("nan")]}}}, r"tasks\.procedural\.calls: \[nan\] are no weights"),
        ({"tasks": {"procedural": {"calls": [-1, 2]}}}, r"numbers from 0 up, one of them above 0"),
        ({"tasks": {"procedural": {"test_tools": 500}}}, r"test_tools: .* less than or equal to 155 \(got 500\)"),
        ({"tasks": {"procedural": {"train_tools": 900}}}, r"train_tools: .* less than or equal to 565 \(got 900\)"),
        ({"tasks": {"source": "procedural"}, "evaluation": {"split": "validation"}}, r"no such side; take 'test'"),
    ],
)
def test_a_procedural_world_that_cannot_be_drawn_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_config(fields)


@pytest.mark.parametrize("greedy", [{}, {"temperature": 0.9, "top_k": 1}])
def test_copies_of_a_greedy_episode_are_refused(greedy: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.samples = 4 would be so many copies of one greedy answer"):
        parse_config({"evaluation": {"samples": 4, **greedy}})
    assert parse_config({"evaluation": {"samples": 4, "temperature": 0.9}}).evaluation.samples == 4


def test_evaluation_must_not_use_the_feedback_that_was_trained_with() -> None:
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config({"evaluation": {"feedback": "rules"}})
    assert parse_config({"method": {"name": "grpo"}, "evaluation": {"feedback": "rules"}}).method.name == "grpo"
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config(
            {"method": {"name": "grpo"}, "cold_start": {"recovery_share": 0.5}, "evaluation": {"feedback": "rules"}}
        )


@pytest.mark.parametrize(
    ("override", "expected"),
    [("training.steps=7", 7), ("training.steps = 8", 8)],
)
def test_overrides_are_toml(override: str, expected: int) -> None:
    assert load_config(None, [override]).training.steps == expected


def test_a_bare_word_is_a_string() -> None:
    assert load_config(None, ["method.name=grpo"]).method.name == "grpo"


@pytest.mark.parametrize("override", ["training.steps", "=3", "seed.steps=3"])
def test_a_broken_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_config(None, ["seed=3", override])


def test_a_missing_or_broken_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no config file"):
        load_config(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 3", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_config(broken)


def test_the_fingerprint_ignores_the_folder_and_the_loggers_alone() -> None:
    base = RunConfig().fingerprint
    assert load_config(None, ["output=elsewhere", "training.report_to=['wandb']"]).fingerprint == base
    assert load_config(None, ["seed=1"]).fingerprint != base


SERVER = {"endpoint": {"server": {"model": "m"}}}


@pytest.mark.parametrize("section", ["method", "cold_start", "evaluation"])
def test_a_source_that_is_a_model_needs_its_table(section: str) -> None:
    with pytest.raises(ConfigError, match=r"\[simulator.endpoint.server\] with base_url and model"):
        parse_config({section: {"feedback": "endpoint"}})
    with pytest.raises(ConfigError, match=r"adapter in a table \[simulator.learned\]"):
        parse_config({section: {"feedback": "learned"}})
    learned = {**SERVER, "learned": {"adapter": "a"}}
    for name in ("endpoint", "learned"):
        made = parse_config({section: {"feedback": name}, "simulator": learned})
        assert getattr(made, section).feedback == name
    with pytest.raises(ConfigError, match="Choose one of fixed, rules, service, environment, learned, endpoint"):
        parse_config({section: {"feedback": "oracle"}})


def test_what_stands_in_for_a_simulator_is_trained_with_too() -> None:
    learned = {"method": {"feedback": "learned"}, "simulator": {"learned": {"adapter": "somewhere"}}}
    assert parse_config(learned).trained_with == {"learned", "rules"}
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config({**learned, "evaluation": {"feedback": "rules"}})


def test_evaluation_must_not_use_the_simulator_that_was_trained_with() -> None:
    both = {"method": {"feedback": "endpoint"}, "evaluation": {"feedback": "endpoint"}, "simulator": SERVER}
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config(both)


def test_an_unknown_key_inside_an_optional_table_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"simulator.endpoint.server.modle: unknown key; .*concurrency"):
        parse_config({"simulator": {"endpoint": {"server": {"model": "m", "modle": "m"}}}})


def test_the_sources_of_a_run_are_those_that_it_asks() -> None:
    def sources(**fields: Any) -> frozenset[str]:
        return parse_config(fields).sources

    fixed = {"method": {"feedback": "fixed"}}
    assert sources(**fixed) == {"fixed", "service"}
    assert sources(method={"name": "grpo"}) == {"service"}
    assert sources(method={"name": "offline_grpo", "feedback": "fixed"}) == {"fixed", "service"}
    assert sources(**fixed, training={"steps": 0}) == {"service"}
    assert sources(**fixed, evaluation={"retries": 0}) == {"fixed"}
    assert sources(**fixed, cold_start={"recovery_share": 0.5}) == {"fixed", "service", "rules"}
    live = {"categories": ["multi_turn_base"]}
    assert sources(**fixed, tasks=live, cold_start={"recovery_share": 0.5}) == {"fixed"}


def test_offline_corrections_are_trained_with_and_shape_no_other_method() -> None:
    offline = {"method": {"name": "offline_grpo", "collect_tasks": 9}}
    assert parse_config(offline).trained_with == {"rules"}
    assert parse_config(offline).fingerprint != parse_config({"method": {"name": "offline_grpo"}}).fingerprint
    with pytest.raises(ConfigError, match="also trained with"):
        parse_config({**offline, "evaluation": {"feedback": "rules"}})


def test_the_fingerprint_knows_what_a_simulator_says_and_not_where_it_stands(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Say it.\n---\n$comparison\n", encoding="utf-8")

    def fingerprint(*overrides: str, feedback: str = "endpoint") -> str:
        endpoint = {"server": {"model": "m"}, "prompt_file": str(prompt)}
        fields = {"method": {"feedback": feedback}, "simulator": {"endpoint": endpoint}}
        for override in overrides:
            _apply(fields, f"simulator.endpoint.{override}")
        return parse_config(fields).fingerprint

    base = fingerprint()
    assert fingerprint("server.base_url=http://elsewhere/v1", "deadline_seconds=1.0", "cache=a.jsonl") == base
    assert fingerprint("server.model=other") != base
    assert fingerprint("temperature=0.5") != base
    assert fingerprint("temperature=0.5", feedback="rules") == RunConfig().fingerprint
    prompt.write_text("Say it well.\n---\n$comparison\n", encoding="utf-8")
    assert fingerprint() != base


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("modle.path=x", "modle: unknown key; .*did you mean 'model'"),
        ("model.template-options={}", "model.template-options: unknown key; .*did you mean 'template_options'"),
        ("simulator.endpoint.server.Concurency=3", r"server.Concurency: unknown key; .*did you mean 'concurrency'"),
        ("tasks.procedural.lvie=true", "tasks.procedural.lvie: unknown key; .*did you mean 'live'"),
        ("tasks.max_staleness=3", "tasks.max_staleness: unknown key; .*is it 'method.max_staleness'"),
        ("temperatur=3", "temperatur: unknown key; known here: output"),
    ],
)
def test_an_unknown_key_is_told_with_what_it_probably_meant(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(None, [override])


def test_no_table_of_any_recipe_swallows_a_key() -> None:
    waiting: list[Any] = [RunConfig, SimulatorRecipe, LabSpec]
    tables = set()
    while waiting:
        annotation = waiting.pop()
        waiting += get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in tables:
            tables.add(annotation)
            waiting += [entry.annotation for entry in annotation.model_fields.values()]
    assert len(tables) > 20
    assert {table.__name__ for table in tables if table.model_config.get("extra") != "forbid"} == set()
