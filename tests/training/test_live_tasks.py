"""What is said of live tasks before a run trains on them, and the limits of their tools' calls."""

import json
from pathlib import Path

import pytest

from fissile.calls import ToolCall
from fissile.config import RunConfig, parse_config
from fissile.config.engine import WorldConfig
from fissile.dialects import ChatFormat, HermesDialect
from fissile.environments.python import PythonTools
from fissile.errors import DataError, ErrorKind
from fissile.training.course import Course
from fissile.training.task_check import environment_maker
from tiny import tiny_tokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"


def shop(folder: Path) -> RunConfig:
    """A run over a copy of the example tasks."""
    (folder / "tasks.jsonl").write_bytes((EXAMPLES / "shop.jsonl").read_bytes())
    tasks = {"source": str(folder / "tasks.jsonl"), "tools": str(EXAMPLES / "shop.py"), "max_prompt_tokens": 100_000}
    return parse_config({"tasks": tasks})


def course(settings: RunConfig) -> Course:
    return Course(settings, ChatFormat(tiny_tokenizer(), HermesDialect()), None)


def test_turns_that_expect_no_call_are_said_to_be_left_out(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    assert "not trained on" not in course(settings).summary
    file = Path(settings.tasks.source)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    thanks = {"messages": [{"role": "user", "content": "Thank you."}], "ground_truth": []}
    file.write_text("".join(json.dumps({**row, "turns": [*row.get("turns", ()), thanks]}) + "\n" for row in rows))
    made = course(settings)
    assert f"{len(made.split.train)} more turns expect no call, or one that is not offered" in made.summary


def test_the_limits_of_a_call_are_those_of_the_recipe(tmp_path: Path) -> None:
    settings = shop(tmp_path).model_copy(update={"world": WorldConfig(calls_per_response=40, call_memory_mb=None)})
    world = environment_maker(settings, PythonTools.from_file(EXAMPLES / "shop.py"))
    (task, *_) = course(settings).train
    (environment := world(task)).reset(task)
    results = environment.execute([ToolCall("put", {"item": "tea", "quantity": 1}, "")] * 41)
    assert [result.error.kind for result in results if result.error][-2:] == [
        ErrorKind.DOMAIN_ERROR,  # the shop's own answer to the 40th tea
        ErrorKind.EXTRA_CALL,
    ]
    assert environment._limits.memory_mb is None


def test_a_held_out_truth_that_cannot_be_right_is_told_before_training(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    (held_out, *_) = course(settings).evaluated
    file = Path(settings.tasks.source)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    broken = [{**row, "world": {"setup": {"arguments": {"x": 1}}}} if row["id"] == held_out.id else row for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in broken))
    with pytest.raises(DataError, match=f"Task '{held_out.id}': constructing"):
        course(settings)
