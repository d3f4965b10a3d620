"""The specification of a laboratory."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import ConfigError
from fissile.lab import LabSpec, load_spec
from fissile.lab.spec import merged

TWO_ARMS = """\
title = "Two arms"
output = "labs/two"
seeds = 3
[run.training]
steps = 7
group_size = 4
[arms.grpo]
label = "GRPO"
set = { method = { name = "grpo" } }
[arms.fission]
seeds = 2
set = { method = { name = "fission_grpo", feedback = "fixed" }, training = { steps = 9 } }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_spec(write(folder, text), overrides)
    return str(error.value)


def test_an_arm_is_laid_over_what_all_runs_share(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, TWO_ARMS))
    grpo = spec.run_config("grpo", 2, Path("here"))
    fission = spec.run_config("fission", 1, Path("there"))
    assert (grpo.method.name, grpo.seed, grpo.training.steps, grpo.output) == ("grpo", 2, 7, "here")
    assert (fission.method.name, fission.training.steps, fission.training.group_size) == ("fission_grpo", 9, 4)
    assert fission.method.source == "fixed"
    assert [spec.seeds_of(arm) for arm in spec.arms] == [3, 2]
    assert [spec.label_of(arm) for arm in spec.arms] == ["GRPO", "fission"]


def test_an_arm_with_another_method_keeps_the_settings_that_this_has_too(tmp_path: Path) -> None:
    arms = '[arms.offline]\nset = { method = { name = "offline_grpo" } }\n'
    spec = load_spec(write(tmp_path, TWO_ARMS + arms), ["run.method.per_group=2", "run.method.max_depth=3"])
    of = {arm: spec.run_config(arm, 0, Path("x")).method.model_dump(exclude_defaults=True) for arm in spec.arms}
    assert of == {
        "grpo": {"name": "grpo"},
        "fission": {"name": "fission_grpo", "feedback": "fixed", "per_group": 2, "max_depth": 3},
        "offline": {"name": "offline_grpo", "per_group": 2},
    }
    assert "method.per_grop: unknown key" in refused(tmp_path, TWO_ARMS, "run.method.per_grop=2")


def test_the_old_spelling_of_a_laboratory_is_answered_with_the_new_one_of_all_arms(tmp_path: Path) -> None:
    text = """[run.fission]
per_group = 2
[arms.grpo]
set = { method = "grpo", training = { refills = 2, steps = 3 } }
[arms.fission]
set = { fission = { feedback = "fixed" } }
"""
    told = refused(tmp_path, text)
    assert "[run.method]\nper_group = 2" in told
    assert '[arms.grpo]\nset = { method = { name = "dapo", refills = 2 }, training = { steps = 3 } }' in told
    load_spec(write(tmp_path, told[told.index("[run.method]") :]))


def test_the_seed_draws_another_world_and_the_start_is_shared(tmp_path: Path) -> None:
    text = TWO_ARMS.replace("[run.training]", '[start]\nlayers = 2\n[run.tasks]\nsource = "procedural"\n[run.training]')
    spec = load_spec(write(tmp_path, text))
    runs = [spec.run_config(arm, 1, Path("x")) for arm in spec.arms]
    assert {run.tasks.procedural.seed for run in runs} == {1}
    assert {run.model.path for run in runs} == {"labs/two/start"}
    assert spec.start is not None
    assert spec.start.layers == 2


def test_a_world_that_is_not_drawn_keeps_its_split(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, TWO_ARMS), ["run.tasks.source=bfcl"])
    assert spec.run_config("grpo", 2, Path("x")).tasks == spec.run_config("grpo", 0, Path("x")).tasks


def test_overrides_reach_the_laboratory_the_runs_and_one_arm(tmp_path: Path) -> None:
    overrides = ["seeds=1", "run.training.steps=3", "arms.grpo.set.training.group_size=8", "output=elsewhere"]
    spec = load_spec(write(tmp_path, TWO_ARMS), overrides)
    assert spec.output == "elsewhere"
    assert spec.seeds_of("grpo") == 1
    training = spec.run_config("grpo", 0, Path("x")).training
    assert (training.steps, training.group_size) == (3, 8)


def test_every_arm_is_validated_when_the_file_is_read(tmp_path: Path) -> None:
    told = refused(tmp_path, TWO_ARMS, "arms.fission.set.method.feedbak=rules", "arms.grpo.set.training.group_size=1")
    assert "arm 'fission' (seed 0) cannot be run" in told
    assert "method.feedbak: unknown key" in told
    assert "arm 'grpo' (seed 0) cannot be run" in told
    assert "training.group_size" in told


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("run.seed=3", r"[run] sets seed"),
        ("run.output=x", r"[run] sets output"),
        ("arms.grpo.set.seed=3", "arm 'grpo' sets seed"),
        ("arms.grpo.set.tasks.procedural.seed=3", "arm 'grpo' sets tasks.procedural.seed"),
        ("arms.grpo.lable=x", "arms.grpo.lable: unknown key"),
        ("run.tasks=3", "tasks"),
        ("arms.grpo.match=nobody", "there is no arm 'nobody'; known: grpo, fission"),
        ("arms.grpo.match=grpo", "wait for each other"),
        ("arms.grpo.match=fission", "arms.grpo has 3 seeds and matches 'fission', which has 2"),
        ("arms.grpo.seeds=0", "arms.grpo.seeds"),
        ("arms.Grpo/..={}", "arms"),
        ("arms.fission.label=GRPO", "arms.grpo and arms.fission are both called 'GRPO': rename one"),
        ("arms.grpo.label=fission", "arms.grpo and arms.fission are both called 'fission': rename one"),
        ("baseline=nobody", "baseline: there is no arm 'nobody' to compare with. Name one of grpo, fission."),
        ("run.training=7", "training: Input should be a valid dictionary"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path: Path, override: str, told: str) -> None:
    assert told in refused(tmp_path, TWO_ARMS, override)


def test_a_default_baseline_that_is_no_arm_is_told_before_hours_of_runs(tmp_path: Path) -> None:
    renamed = TWO_ARMS.replace("arms.grpo", "arms.plain")
    assert "baseline: there is no arm 'grpo' to compare with" in refused(tmp_path, renamed)
    assert load_spec(write(tmp_path, renamed), ["baseline=plain"]).baseline == "plain"


def test_what_the_start_gives_is_not_set_by_hand(tmp_path: Path) -> None:
    assert "[run] sets model.path" in refused(tmp_path, TWO_ARMS, "start={}", "run.model.path=x")
    assert load_spec(write(tmp_path, TWO_ARMS), ["run.model.path=x"]).run_config("grpo", 0, Path()).model.path == "x"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("run.model=x", "  model: Input should be a valid dictionary or instance of ModelConfig (got 'x')"),
        ("arms.grpo.set.model=x", "  model: Input should be a valid dictionary or instance of ModelConfig (got 'x')"),
        ("run.tasks.procedural=7", "  tasks.procedural: Input should be a valid dictionary"),
        ("simulator.model=x", "[simulator] cannot be run:\n  model: Input should be a valid dictionary"),
        ("run.simulator=7", "  simulator: Input should be a valid dictionary"),
    ],
)
def test_a_value_in_the_place_of_a_table_is_told(tmp_path: Path, override: str, told: str) -> None:
    own = ("start={}", "simulator.data.source=procedural", "run.tasks.source=procedural")
    assert told in refused(tmp_path, TWO_ARMS, *own, override)


def test_arms_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    circle = ("arms.grpo.match=fission", "arms.fission.match=grpo", "arms.grpo.seeds=2")
    assert "wait for each other" in refused(tmp_path, TWO_ARMS, *circle)


def test_a_matched_arm_gets_the_tokens_and_sets_none_itself(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, TWO_ARMS), ["arms.fission.match=grpo"])
    assert spec.run_config("fission", 1, Path("x"), 500).training.tokens == 500
    both = ("arms.fission.match=grpo", "run.training.tokens=3")
    assert "arm 'fission' sets training.tokens" in refused(tmp_path, TWO_ARMS, *both)


def test_arms_are_needed(tmp_path: Path) -> None:
    assert "arms" in refused(tmp_path, "seeds = 2\n")


def test_a_specification_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from fissile.lab import load_spec, make_plan; from pathlib import Path\n"
        "assert len(make_plan(load_spec(sys.argv[1]))) == 5\n"
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(write(tmp_path, TWO_ARMS))], check=True, timeout=60)


TABLES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


def leaves(table: dict[str, Any], prefix: str = "") -> dict[str, int]:
    flat: dict[str, int] = {}
    for key, value in table.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


@given(TABLES, TABLES)
def test_what_lies_above_wins_and_neither_table_changes(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = (leaves(below), leaves(above))
    both = leaves(merged(below, above))
    assert before == (leaves(below), leaves(above))
    lost = [key for key in before[1] if both.get(key) != before[1][key]]
    assert all(any(key.startswith(f"{place}.") for place in before[0]) for key in lost), "there a value stays"
    assert both.keys() <= before[0].keys() | before[1].keys()
    assert leaves(merged(merged(below, above), above)) == both
    assert merged(below, {}) == below


def test_an_arm_knows_all_that_it_waits_for() -> None:
    arms = {"c": {"match": "b"}, "b": {"match": "a"}, "a": {}}
    spec = LabSpec.model_validate({"arms": arms})
    assert spec.matched("c") == ["b", "a"]
    assert spec.matched("a") == []
