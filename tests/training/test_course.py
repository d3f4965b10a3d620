"""What a run trains on and is measured on, in live worlds."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fissile.config import RunConfig, load_config, parse_config
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling
from fissile.errors import ConfigError, DataError, InfrastructureError, RunError
from fissile.evaluation import EpisodeRecord
from fissile.evaluation.bfcl_report import cluster
from fissile.rollouts import Completion, End, StopReason
from fissile.serial import to_json
from fissile.tasks.scenarios import DOMAINS, scenario_index
from fissile.training.cold_start import Shown
from fissile.training.course import Course
from fissile.training.policy_model import load_model
from fissile.training.run_folder import told_shown
from tiny import tiny_tokenizer
from tiny_models import tiny_llama
from tiny_world import make_world

CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())
EXAMPLES = Path(__file__).parents[2] / "examples"


def config(**sections: dict[str, Any]) -> RunConfig:
    return parse_config({"tasks": {"max_prompt_tokens": 100_000}, **sections})


def shop(folder: Path, ids: str) -> RunConfig:
    """A run over the example tasks, their ids renamed by a format."""
    rows = [json.loads(line) for line in (EXAMPLES / "shop.jsonl").read_text(encoding="utf-8").splitlines()]
    file = folder / "tasks.jsonl"
    named = [{**row, "id": ids.format(number)} for number, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    tasks = {"source": str(file), "tools": str(EXAMPLES / "shop.py"), "max_prompt_tokens": 100_000}
    return config(tasks=tasks, cold_start={"examples": 4})


def course(settings: RunConfig, positions: int | None = None) -> Course:
    return Course(settings, CHAT, positions)


def test_bfcl_is_split_by_domain_and_trained_turn_by_turn(bfcl: Path) -> None:
    tasks = {"categories": ["multi_turn_base"], "docs": "brief", "max_prompt_tokens": 100_000, "held_out": "vehicle"}
    made = course(config(tasks=tasks))
    assert {scenario_index(task) for task in made.evaluated} == set(DOMAINS["vehicle"])
    assert all(scenario_index(task) not in DOMAINS["vehicle"] for task in made.train)
    assert all(task.start == len(task.turns) - 1 for task in made.train)
    truths = json.dumps([to_json(call) for task in made.train for call in task.turns[-1].ground_truth])
    assert "3426812" not in truths  # the booking number of the benchmark


def test_the_word_none_holds_out_no_domain(bfcl: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[tasks]\ncategories = ["multi_turn_base"]\nheld_out = "none"\nmax_prompt_tokens = 100000\n')
    made = course(load_config(recipe, ["method.max_staleness=none"]))
    trained = {scenario_index(task) for task in made.train}
    tested = {scenario_index(task) for task in made.evaluated}
    assert not trained & tested
    assert all(tested & set(indices) for indices in DOMAINS.values())


@pytest.mark.parametrize("ids", ["order#{}", "{}_request", "a_{}"])
def test_ids_of_any_form_keep_their_cold_start_and_their_clusters(tmp_path: Path, ids: str) -> None:
    made = course(shop(tmp_path, ids))
    assert len(made.examples()) == 4
    record = EpisodeRecord("buy_1", "", False, End.DONE)
    other = EpisodeRecord("sell_1", "", False, End.DONE)
    assert cluster(record) != cluster(other)


@pytest.mark.parametrize(
    ("engine", "world", "expected"),
    [
        ({}, {}, 8000 - 96),
        ({}, {"max_context_tokens": 5000}, 5000 - 96),
        ({"name": "vllm", "max_model_len": 4096}, {"max_context_tokens": 5000}, 4096 - 96),
    ],
)
def test_the_shortest_context_that_anything_allows_is_the_limit(
    tmp_path: Path, engine: dict[str, Any], world: dict[str, Any], expected: int
) -> None:
    settings = shop(tmp_path, "t{}").model_dump(mode="json")
    settings["engine"] |= engine
    settings["world"] |= world
    made = course(parse_config(settings), positions=8000)
    assert made.sampler.limits.context_tokens == expected


def test_a_live_evaluation_has_one_episode_a_task(tmp_path: Path) -> None:
    settings = shop(tmp_path, "t{}").model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"evaluation\.samples must be 1"):
        parse_config({**settings, "evaluation": {"samples": 2}})


def test_an_episode_that_the_engine_lost_is_no_wrong_one_of_the_record(tmp_path: Path) -> None:
    made = course(shop(tmp_path, "t{}"))
    assert len(made.evaluated) > 1
    gone = made.sampler.context(made.evaluated[0]).prompt_ids

    class Losing:
        def generate(self, prompts: Sequence[Sequence[int]], *_: object) -> list[Completion]:
            said = Completion(CHAT.completion_ids("Done."))
            return [Completion((), stop=StopReason.INFRASTRUCTURE) if tuple(p) == gone else said for p in prompts]

    records, report = made.evaluate(Losing(), lambda done, total: None)  # type: ignore[arg-type]
    assert report["suite"]["infrastructure_failures"] == 1
    assert len(records["rollouts"]) == len(made.evaluated)
    assert {episode["task_id"] for episode in records["episodes"]} == {task.id for task in made.evaluated[1:]}


def test_live_tasks_without_their_tools_are_refused(tmp_path: Path) -> None:
    tool = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
    row = {"messages": [{"role": "user", "content": "x"}], "tools": [tool], "ground_truth": [{"name": "f"}]}
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({**row, "world": {"name": "python"}}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="--tools"):
        course(config(tasks={"source": str(file)}))


def test_a_model_is_put_on_the_accelerator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_llama(267).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    model = load_model(str(tmp_path / "model"), "float32")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


class FailingEngine:
    """Runs out of memory in every call after the first `good` ones, in which it writes nothing."""

    def __init__(self, good: int = 0) -> None:
        self._good = good

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        self._good -= 1
        if self._good < 0:
            raise InfrastructureError("out_of_memory", "No memory for 64 rows")
        return [Completion((), stop=StopReason.END)] * (len(prompts) * samples)


def courses(folder: Path) -> Iterator[Course]:
    make_world(folder)
    tasks = {"source": str(folder / "tasks.jsonl"), "max_prompt_tokens": 4096}
    yield course(parse_config({"tasks": tasks}))
    yield course(shop(folder, "t{}"))


def test_an_evaluation_that_lost_everything_has_no_figures(tmp_path: Path) -> None:
    for made in courses(tmp_path):
        with pytest.raises(RunError, match=r"All \d+ \w+ were lost.* \d+ x out_of_memory.* No memory for 64 rows"):
            made.evaluate(FailingEngine(), lambda done, total: None)


def test_an_evaluation_that_lost_a_part_counts_it(tmp_path: Path) -> None:
    single, _ = courses(tmp_path)
    _, report = single.evaluate(FailingEngine(good=1), lambda done, total: None)  # the retries are lost
    assert report["lost"] == {"out_of_memory": report["first_attempt_accuracy"]["den"]}
    assert report["recovery_rate"]["den"] == report["final_accuracy"]["den"] == 0  # how they end is not known


class HalfLost:
    """Loses every second row, and calls nothing in the others."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        lost = Completion.of_failure("worker", "gone")
        return [lost if row % 2 else Completion((), stop=StopReason.END) for row in range(len(prompts) * samples)]


def test_turns_of_which_nothing_is_known_are_no_drawn_ones(tmp_path: Path) -> None:
    make_world(tmp_path)
    tasks = {"source": str(tmp_path / "tasks.jsonl"), "max_prompt_tokens": 4096}
    made = course(parse_config({"tasks": tasks, "injection": {"rate": 1.0, "during": ["evaluation"]}}))
    records, report = made.evaluate(HalfLost(), lambda done, total: None)
    assert 0 < len(records["episodes"]) < len(made.evaluated)
    assert report["injected_turns"]["drawn"] == len(records["episodes"])


def test_demonstrations_are_counted_and_too_long_ones_are_left_out(tmp_path: Path) -> None:
    settings = shop(tmp_path, "t{}")
    whole, shown = course(settings), Shown()
    lengths = sorted(len(example["input_ids"]) for example in whole.examples(shown))
    assert (shown.examples, shown.recoveries, sum(shown.left_out.values())) == (4, 0, 0)
    cut, shown = course(settings, positions=lengths[-1] - 1), Shown()
    kept = [len(example["input_ids"]) for example in cut.examples(shown)]
    assert max(kept) < lengths[-1]
    assert (shown.examples, sum(shown.left_out.values())) == (len(kept), 4 - len(kept))
    assert "longer than" in next(iter(shown.left_out))


def test_recoveries_are_those_that_were_demonstrated(tmp_path: Path) -> None:
    make_world(tmp_path)
    tasks = {"source": str(tmp_path / "tasks.jsonl"), "max_prompt_tokens": 4096}
    made = course(parse_config({"tasks": tasks, "cold_start": {"recovery_share": 1.0}}))
    shown = Shown()
    made.examples(shown)
    told = told_shown(shown.to_dict(518, 0.5))
    assert told == f"{len(made.train)} examples (518 asked), {shown.recoveries} of them recoveries"
    assert 0 < shown.recoveries <= len(made.train)


def test_turns_that_are_not_trained_on_or_need_many_calls_are_told(tmp_path: Path) -> None:
    settings = shop(tmp_path, "t{}")
    file = Path(settings.tasks.source)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    thanks = {"messages": [{"role": "user", "content": "Thank you."}], "ground_truth": []}
    twice = [{**row, "ground_truth": row["ground_truth"] * 2, "turns": [*row.get("turns", []), thanks]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in twice), encoding="utf-8")
    made = course(settings)
    scenarios = made.summary.split()[0]
    assert f"; {scenarios} more turns expect no call" in made.summary
    few = settings.model_copy(update={"world": settings.world.model_copy(update={"steps_per_turn": 1})})
    assert f"; {scenarios} turns need more calls than world.steps_per_turn = 1" in course(few).summary
