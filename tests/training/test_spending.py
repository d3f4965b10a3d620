"""What a training spends, where that ends it, and groups that give way to others: through the real trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.engines import ScriptedEngine
from fissile.errors import ConfigError
from fissile.methods import DAPO, Batch, FissionGRPO, OfflineGRPO
from fissile.training.meter import Meter
from fissile.training.packed_trainer import PackedGRPOTrainer
from fissile.training.spending import Budget, Spent
from idle_training import train_idly
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama

PROMPTS, GROUP = 2, 4
LONG = {"max_completion_length": 96}


def trainer(folder: Path, steps: int = 4, args: dict[str, Any] | None = None, **changes: Any) -> FissionGRPOTrainer:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": PROMPTS * GROUP,
        "num_generations": GROUP,
        "max_steps": steps,
        "max_completion_length": 24,
        "temperature": 2.0,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **(args or {}),
    }
    return FissionGRPOTrainer(
        model=get_peft_model(
            tiny_llama(267, max_position_embeddings=2048),
            LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        ),
        args=GRPOConfig(**settings),
        train_dataset=squares(8),
        processing_class=tiny_tokenizer(),
        **changes,
    )


def logs(made: FissionGRPOTrainer) -> list[dict[str, Any]]:
    return [log for log in made.state.log_history if "spent/rollouts" in log]


def test_spending_counts_every_context_and_every_sampled_token(tmp_path: Path) -> None:
    made = trainer(tmp_path, 2)
    read: list[tuple[int, int]] = []
    generate = made.engine.generate

    def counted(prompts: Any, sampling: Any, samples: int = 1) -> Any:
        completions = generate(prompts, sampling, samples)
        prompt_tokens = samples * sum(len(prompt) for prompt in prompts)
        read.append((prompt_tokens, sum(len(completion.ids) for completion in completions)))
        return completions

    made.engine.generate = counted  # type: ignore[method-assign]
    made.train()
    assert made.spent == Spent(2 * PROMPTS * GROUP, sum(one for one, _ in read), sum(other for _, other in read))
    assert [log["spent/rollouts"] for log in logs(made)] == [PROMPTS * GROUP, 2 * PROMPTS * GROUP]
    assert logs(made)[0]["spent/context_tokens"] == read[0][0]


@pytest.mark.parametrize(
    ("budget", "steps", "ended_by"),
    [
        (Budget(), 4, "steps"),
        (Budget(rollouts=17), 3, "rollouts"),
        (Budget(rollouts=10_000, tokens=1), 1, "tokens"),
        (Budget(rollouts=32), 4, "rollouts"),
    ],
)
def test_a_spent_budget_ends_the_training(tmp_path: Path, budget: Budget, steps: int, ended_by: str) -> None:
    made = trainer(tmp_path, args={"seed": 3}, budget=budget, method="grpo")
    made.train()
    assert (made.state.global_step, made.ended_by) == (steps, ended_by)


def test_a_budget_lets_all_updates_on_its_last_rollouts_pass(tmp_path: Path) -> None:
    made = trainer(tmp_path, 8, {"num_iterations": 2}, budget=Budget(rollouts=9), method="grpo")
    made.train()
    assert (made.state.global_step, made.spent.rollouts) == (4, 16)


def test_a_budget_is_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = PackedGRPOTrainer.__init__

    def beside_another(self: PackedGRPOTrainer, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        monkeypatch.setattr(type(self.accelerator), "num_processes", 2)

    monkeypatch.setattr(PackedGRPOTrainer, "__init__", beside_another)
    with pytest.raises(ConfigError, match=r"training\.tokens.*Train in one process, or limit training\.steps"):
        trainer(tmp_path, budget=Budget(tokens=9), method="grpo")
    trainer(tmp_path, budget=Budget(), method="grpo")


def test_the_largest_share_of_a_limit_is_the_progress() -> None:
    spent = Spent(rollouts=10, context_tokens=300, sampled_tokens=100)
    assert Budget().share(spent) == 0
    assert Budget(rollouts=100, tokens=800).share(spent) == 0.5
    assert Budget(rollouts=10, tokens=800).reached(spent) == "rollouts"


def test_the_reward_follows_the_budget(tmp_path: Path) -> None:
    made = trainer(tmp_path, 100, budget=Budget(rollouts=2 * PROMPTS * GROUP), method="grpo")
    seen: list[float] = []
    sample = made._sample

    def watched(*arguments: Any) -> Batch:
        seen.append(made._progress)
        return sample(*arguments)

    made._sample = watched  # type: ignore[method-assign]
    made.train()
    assert seen == [0.0, 0.5]


def test_a_last_checkpoint_is_loaded_and_trains_no_step_more(tmp_path: Path) -> None:
    """The process died between the last checkpoint and what is written after the training."""
    args = {"save_strategy": "steps", "save_steps": 2}
    made = trainer(tmp_path, 8, args, budget=Budget(rollouts=16))
    made.train()
    again = trainer(tmp_path, 8, args, budget=Budget(rollouts=16))
    again.train_from(tmp_path / "checkpoint-2")
    assert (again.state.global_step, again.ended_by) == (2, "rollouts")
    assert again.spent == made.spent
    for name, value in again.model.named_parameters():
        torch.testing.assert_close(value, dict(made.model.named_parameters())[name])
    longer = trainer(tmp_path, 4, args)
    longer.train_from(tmp_path / "checkpoint-2")
    assert (longer.state.global_step, longer.spent.rollouts) == (4, 32)


# --- refills -----------------------------------------------------------------------------------------------------


def silent_below(number: int) -> Any:
    """A policy whose groups are silent for tasks below a number, and half right for the others."""

    def engine(made: FissionGRPOTrainer) -> ScriptedEngine:
        prompts = {made.groups.context(task).prompt_ids: int(task.id[1:]) for task in made.tasks.values()}

        def answer(prompt: Any, sample: int) -> tuple[int, ...]:
            task = prompts.get(tuple(prompt), 0)
            side = task if task >= number and sample % 2 else 77
            text = f'<tool_call>\n{{"name": "area", "arguments": {{"side": {side}}}}}\n</tool_call>'
            return made.chat.completion_ids(text)

        return ScriptedEngine(answer)

    return engine


def test_silent_groups_give_way_to_other_tasks(tmp_path: Path) -> None:
    made = trainer(tmp_path, 4, LONG, method=DAPO(refills=9))
    made.engine = silent_below(4)(made)
    tasks: list[list[str]] = []
    count = made._count

    def watched(plan: Any, advantages: torch.Tensor) -> None:
        tasks.append([context.task.id for context in plan.contexts])
        assert [entry.rollout.context.task.id for entry in made._scored[::GROUP]] == tasks[-1]
        count(plan, advantages)

    made._count = watched  # type: ignore[method-assign]
    made.train()
    assert all(int(task[1:]) >= 4 for step in tasks for task in step)
    assert all(len(set(step)) == PROMPTS for step in tasks)
    assert {log["explore/zero_variance_groups"] for log in logs(made)} == {0}
    refilled = sum(log["explore/refilled"] for log in logs(made))
    assert refilled > 0
    assert made.spent.rollouts == GROUP * (4 * PROMPTS + refilled)


def test_what_stays_silent_is_kept_and_every_failure_is_intercepted(tmp_path: Path) -> None:
    made = trainer(tmp_path, 1, LONG, method=FissionGRPO(refills=2))
    made.engine = silent_below(99)(made)
    train_idly(made)
    (log,) = logs(made)
    assert (log["explore/zero_variance_groups"], log["explore/refilled"]) == (1, 2 * PROMPTS)
    assert made.method.report()["corrections/intercepted"] == 3 * PROMPTS  # the discarded ones, too


def test_refills_end_with_the_tasks(tmp_path: Path) -> None:
    made = trainer(tmp_path, 1, LONG, method=DAPO(refills=99))
    made.engine = silent_below(99)(made)
    train_idly(made)
    assert logs(made)[0]["explore/refilled"] == 8 - PROMPTS


# --- offline corrections -----------------------------------------------------------------------------------------


def test_offline_corrections_are_collected_before_the_first_update(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    method = OfflineGRPO(collect_tasks=5, collect_samples=3)
    made = trainer(tmp_path, 4, method=method, journal=records.append)
    made.train()
    collected = [record for record in records if record["event"] == "intercepted"]
    assert {record["step"] for record in collected} == {0}
    assert len({record["task_id"] for record in collected}) == 5
    assert [log["fission/is_fission"] for log in logs(made)] == [0, 1, 0, 1]
    assert [log.get("fission/staleness") for log in logs(made)] == [None, 1, None, 3]
    assert made.spent.rollouts == 5 * 3 + 4 * PROMPTS * GROUP


def test_seconds_of_a_phase_within_another_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 13.0, 20.0, 21.0, 30.0])  # outer, inner, inner, inner, inner, outer
    monkeypatch.setattr("fissile.training.meter.time.perf_counter", lambda: next(clock))
    meter = Meter()
    with meter.phase("outer"):
        for _ in range(2):
            with meter.phase("inner"):
                pass
    assert meter.seconds == {"inner": 4.0, "outer": 26.0}


def test_what_a_killed_phase_took_is_added_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # outer, inner, inner, inner, written, inner, outer; the clock of the next process: outer, outer, written
    clock = iter([0.0, 10.0, 13.0, 20.0, 21.0, 30.0, 40.0, 100.0, 105.0, 106.0])
    monkeypatch.setattr("fissile.training.meter.time.perf_counter", lambda: next(clock))
    killed, kept = Meter(), tmp_path / "meter.json"
    with killed.phase("outer"):
        with killed.phase("inner"):
            pass
        with killed.phase("inner"):
            killed.write(kept)
    assert killed.seconds == {"inner": 13.0, "outer": 27.0}
    resumed = Meter.read(kept)
    assert resumed.seconds == {"inner": 4.0, "outer": 17.0}
    with resumed.phase("outer"):
        pass
    resumed.write(kept)
    assert Meter.read(kept).seconds == {"inner": 4.0, "outer": 22.0}
