"""The fault injector in a run: its configuration, and forced failures in the prompts of the real trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.config import RunConfig, parse_config
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import ScriptedEngine
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.token_policy import TokenWriter
from fissile.environments.worlds import make_environment
from fissile.errors import ConfigError
from fissile.feedback import Diagnoser, get_source
from fissile.methods import Scored
from fissile.reports.run_lines import StageReport
from fissile.training.course import Course
from fissile.training.progress import recovery_table
from idle_training import train_idly
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())


# --- the configuration -------------------------------------------------------------------------------------------


def run_config(**sections: dict[str, Any]) -> RunConfig:
    return parse_config({"tasks": {"max_prompt_tokens": 100_000}, **sections})


def test_stages_are_injected_one_by_one_or_both() -> None:
    both = run_config(injection={"rate": 0.3, "seed": 2}).injection
    assert both.at("training") == both.at("evaluation") == InjectionSettings(rate=0.3, seed=2)
    one = run_config(injection={"rate": 0.3, "during": ["training"]}).injection
    assert (one.at("training").rate, one.at("evaluation").rate) == (0.3, 0)


def test_injection_shapes_a_run_only_where_there_is_some() -> None:
    plain = run_config()
    assert run_config(injection={"seed": 9}).fingerprint == plain.fingerprint
    assert run_config(injection={"rate": 0.1}).fingerprint != plain.fingerprint
    assert plain.injection_feedback == ""


def test_a_source_that_diagnoses_forced_failures_is_trained_with() -> None:
    grpo = {"method": {"name": "grpo"}, "injection": {"rate": 0.5}}
    assert run_config(**grpo).trained_with == {"rules"}
    with pytest.raises(ConfigError, match="also trained with"):
        run_config(**grpo, evaluation={"feedback": "rules"})
    measured = {"method": {"name": "grpo"}, "injection": {"rate": 0.5, "during": ["evaluation"]}}
    assert run_config(**measured, evaluation={"feedback": "rules"}).trained_with == frozenset()
    with pytest.raises(ConfigError, match="no feedback source 'oracle'"):
        run_config(injection={"feedback": "oracle"})


def test_a_forced_failure_needs_a_retry() -> None:
    with pytest.raises(ConfigError, match="retries must be at least 1"):
        run_config(injection={"rate": 1.0}, evaluation={"retries": 0})
    assert run_config(injection={"rate": 1.0, "during": ["training"]}, evaluation={"retries": 0})


# --- courses -----------------------------------------------------------------------------------------------------


def silent(prompt: Sequence[int], sample: int) -> tuple[int, ...]:
    return CHAT.completion_ids("Done.")


def test_a_single_step_course_trains_and_evaluates_with_forced_failures(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"t{n}",
            "messages": [{"role": "user", "content": f"Use number {n}"}],
            "tools": [
                {"name": f"tool_{n}", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}
            ],
            "ground_truth": [{"name": f"tool_{n}", "arguments": {"x": n}}],
        }
        for n in range(24)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tasks = {"source": str(file), "max_prompt_tokens": 100_000}
    course = Course(run_config(tasks=tasks, injection={"rate": 1.0, "seed": 5}), CHAT, None)
    assert course.injector is not None
    explore = [course.sampler.context(task) for task in course.train]
    assert {context.depth for context in course.injector.inject(explore)} == {1}
    records, report = course.evaluate(ScriptedEngine(silent), lambda done, total: None)
    assert {"rate": 1.0, "seed": 5, "in_a_row": 1}.items() <= report["injection"].items()
    count = len(course.evaluated)
    assert report["injected"]["failures"] == len(records["episodes"]) == count
    assert report["injected_turns"] == {"drawn": count, "forced": count}
    told = f"injected failures: rate 1, seed 5, at most 1 in a row; {count} of {count} drawn turns"
    assert told in str(recovery_table({"model": report}).title)
    assert StageReport.from_dict("model", json.loads(json.dumps(report))).injection == told
    plain = Course(run_config(tasks=tasks), CHAT, None)
    assert plain.injector is None
    assert "injection" not in plain.evaluate(ScriptedEngine(silent), lambda done, total: None)[1]


def test_a_live_course_trains_and_evaluates_with_forced_failures() -> None:
    tasks = {"source": str(EXAMPLES / "shop.jsonl"), "tools": str(EXAMPLES / "shop.py"), "max_prompt_tokens": 100_000}
    course = Course(run_config(tasks=tasks, injection={"rate": 1.0}), CHAT, None)
    (first, *_) = course.train
    assert course.injector is not None
    (context,) = course.injector.inject([course.sampler.context(first)], 7)
    assert (context.depth, context.turn) == (1, first.start)
    records, report = course.evaluate(ScriptedEngine(silent), lambda done, total: None)
    assert report["injection"] == report["suite"]["injection"]
    assert report["injected"]["failures"] > 0
    assert report["injected"]["answered_rate"]["num"] == 0  # the policy gave up every time
    forced = [step for record in records["rollouts"] for step in record["steps"] if step.get("injected")]
    assert len(forced) == report["injected"]["failures"] == report["injected_turns"]["forced"]
    assert all(step["attempt"]["errors"] and step["results"] for step in forced)


# --- the trainer -------------------------------------------------------------------------------------------------


def trainer(folder: Path, injection: InjectionSettings, method: str) -> FissionGRPOTrainer:
    torch.manual_seed(0)
    diagnoser = Diagnoser(get_source("rules"))
    return FissionGRPOTrainer(
        model=get_peft_model(
            tiny_llama(267, max_position_embeddings=2048),
            LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        ),
        args=GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=8,
            num_generations=4,
            max_steps=2,
            max_completion_length=24,
            temperature=2.0,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=squares(8),
        processing_class=CHAT.tokenizer,
        method=method,
        injector=Injector(injection, CHAT.dialect, TokenWriter(CHAT), make_environment, diagnoser=diagnoser),
    )


def test_forced_attempts_are_prompt_and_the_share_is_logged(tmp_path: Path) -> None:
    made = trainer(tmp_path, InjectionSettings(rate=1.0), "grpo")
    scored: list[Scored] = []
    batches: list[dict[str, Any]] = []
    count, generate = made._count, made._generate_and_score_completions

    def watched(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batches.append(generate(inputs))
        return batches[-1]

    def counted(*arguments: Any) -> None:
        scored.extend(made._scored)
        count(*arguments)

    made._count, made._generate_and_score_completions = counted, watched  # type: ignore[method-assign]
    train_idly(made)
    assert [log["explore/injected"] for log in made.state.log_history if "explore/injected" in log] == [1.0, 1.0]
    for entry in scored:
        (turn,) = entry.rollout.context.history
        assert turn.attempt.failed
        assert entry.reward is not None
        assert set(entry.rollout.mask) == {1}  # all that is not prompt is the policy's own
    for batch in batches:
        for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True):
            prompt = CHAT.tokenizer.decode(ids[mask.bool()].tolist())
            assert prompt.count("<|im_start|>assistant") == 2  # the forced attempt, and the place of the next one
        assert batch["completion_ids"].shape[1] <= 24


def test_a_recovery_from_a_forced_failure_fissions_no_further_unless_asked(tmp_path: Path) -> None:
    made = trainer(tmp_path, InjectionSettings(rate=1.0), "fission_grpo")
    train_idly(made)
    assert made.method.report()["corrections/intercepted"] == 0  # method.max_depth is 1
    assert dict(made.updates) == {"explore": 2}
