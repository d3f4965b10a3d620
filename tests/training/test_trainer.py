"""Every path through the real trainer, with a two-layer random policy."""

from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from trl import GRPOConfig, GRPOTrainer

from fissile import FissionGRPOTrainer
from fissile.engines import Sampling, ScriptedEngine
from fissile.errors import ConfigError, ModelError, RunError
from fissile.methods import FissionGRPO, Phase
from fissile.rollouts import Completion, Limits
from fissile.tasks import Task
from fissile.training.groups import in_row_order, refuse_split_groups, training_limits
from tiny import AREA, squares, tiny_tokenizer
from tiny_models import tiny_llama

TASKS = squares(8)
PROMPTS, GROUP = 2, 4


def config(folder: Path, **changes: Any) -> GRPOConfig:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": PROMPTS * GROUP,
        "num_generations": GROUP,
        "max_steps": 4,
        "max_completion_length": 40,
        "temperature": 2.0,  # some of the random policy's completions end early, so that rewards vary
        "learning_rate": 1e-2,
        "loss_type": "grpo",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **changes,
    }
    return GRPOConfig(**settings)


def policy(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return get_peft_model(
        tiny_llama(267, max_position_embeddings=2048),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def trainer(folder: Path, args: dict[str, Any] | None = None, **changes: Any) -> FissionGRPOTrainer:
    return FissionGRPOTrainer(
        model=policy(),
        args=config(folder, **(args or {})),
        train_dataset=TASKS,
        processing_class=tiny_tokenizer(),
        **changes,
    )


def phases(made: FissionGRPOTrainer) -> list[bool]:
    return [bool(log["fission/is_fission"]) for log in made.state.log_history if "fission/is_fission" in log]


def test_a_prompt_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="shorten it or lower max_new_tokens"):
        trainer(tmp_path, args={"max_completion_length": 2040, "max_steps": 1}).train()


def test_explore_and_fission_steps_alternate_and_learn(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    made = trainer(tmp_path, journal=records.append)
    before = {name: value.clone() for name, value in made.model.named_parameters() if "lora_B" in name}
    made.train()
    assert phases(made) == [False, True, False, True]
    assert dict(made.updates) == {"explore": 2, "fission": 2}
    fissions = [record for record in records if record["event"] == "fission"]
    assert len(fissions) == 2 * PROMPTS
    assert all(len(record["recoveries"]) == GROUP for record in fissions)
    after = dict(made.model.named_parameters())
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_grpo_is_the_same_run_without_fission(tmp_path: Path) -> None:
    made = trainer(tmp_path, method="grpo")
    made.train()
    assert phases(made) == [False] * 4
    assert made.method.report() == {}


def test_a_dataset_of_rows_is_as_good_as_tasks(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = Dataset.from_list(
        [
            {
                "messages": [{"role": "user", "content": f"A square of {n}"}],
                "tools": [AREA.to_schema()],
                "ground_truth": [{"name": "area", "arguments": {"side": n}}],
            }
            for n in range(4)
        ]
    )
    made = FissionGRPOTrainer(
        model=policy(), args=config(tmp_path, max_steps=1), train_dataset=rows, processing_class=tiny_tokenizer()
    )
    made.train()
    assert made.state.global_step == 1


def test_recovery_groups_of_another_size_are_normalised_among_themselves(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"max_steps": 2}, method=FissionGRPO(samples=8, per_group=2))
    seen: list[tuple[Phase, torch.Tensor]] = []
    count = made._count

    def watched(plan: Any, advantages: torch.Tensor) -> None:
        seen.append((plan.phase, advantages))
        count(plan, advantages)

    made._count = watched  # type: ignore[method-assign]
    made.train()
    (explore, first), (fission, second) = seen
    assert (explore, fission) == (Phase.EXPLORE, Phase.FISSION)
    torch.testing.assert_close(first.view(-1, 4).mean(1), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(second.view(-1, 8).mean(1), torch.zeros(1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("samples", [3, 16])
def test_recoveries_that_do_not_fill_a_step_are_refused_before_it(tmp_path: Path, samples: int) -> None:
    with pytest.raises(ConfigError, match=rf"method\.samples = {samples} does not divide the 8 rollouts of a step"):
        trainer(tmp_path, method=FissionGRPO(samples=samples))
    assert trainer(tmp_path, method="grpo").method.name == "grpo"


def test_log_probabilities_equal_trls_padded_ones(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    torch.manual_seed(1)
    prompts = torch.tensor([[0, 5, 6, 7]] * 4 + [[8, 9, 10, 11]] * 4)
    completions = torch.randint(12, 200, (8, 6))
    ids = torch.cat([prompts, completions], dim=1)
    mask = torch.ones_like(ids)
    mask[:4, 0] = 0  # padding on the left
    mask[::3, -2:] = 0  # and on the right
    packed, entropy, _ = made._get_per_token_logps_and_entropies(made.model, ids, mask, 6, compute_entropy=True)
    padded, reference, _ = GRPOTrainer._get_per_token_logps_and_entropies(
        made, made.model, ids, mask, 6, compute_entropy=True
    )
    kept = mask[:, -6:].bool()
    torch.testing.assert_close(packed[kept], padded[kept], atol=1e-5, rtol=1e-4)
    assert entropy is not None
    torch.testing.assert_close(entropy[kept], reference[kept], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"])
@pytest.mark.parametrize(("checkpointing", "beta"), [(False, 0.0), (True, 0.0), (False, 0.1), (True, 0.1)])
def test_loss_and_gradients_equal_those_of_trls_padded_batch(
    tmp_path: Path, loss_type: str, checkpointing: bool, beta: float
) -> None:
    """Every loss that the configuration offers, off-policy enough to clip, one group without any advantage."""
    settings = {"loss_type": loss_type, "gradient_checkpointing": checkpointing, "beta": beta, "max_steps": 1}
    made = trainer(tmp_path, settings)
    batches: list[dict[str, Any]] = []
    compute = made._compute_loss
    made._compute_loss = lambda model, inputs: (batches.append(inputs), compute(model, inputs))[1]  # type: ignore[assignment]
    made.train()
    torch.manual_seed(2)
    (inputs,) = batches
    inputs["advantages"] = torch.tensor([0.0] * GROUP + [1.5, -0.5, -1.2, 0.0])
    with torch.no_grad():
        for weight in made.model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.02)
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        width = inputs["completion_ids"].shape[1]
        now, _, _ = made._get_per_token_logps_and_entropies(made.model, ids, mask, width)
    inputs["old_per_token_logps"] = now + 0.4 * torch.randn_like(now)

    def gradients(loss_of: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        made.model.zero_grad()
        made.model.train()
        loss = loss_of(made.model, inputs)
        loss.backward()
        return loss.detach(), [p.grad.clone() for p in made.model.parameters() if p.requires_grad]

    packed = gradients(compute)
    padded_log_probs = MethodType(GRPOTrainer._get_per_token_logps_and_entropies, made)
    made._get_per_token_logps_and_entropies = padded_log_probs  # type: ignore[method-assign]
    padded = gradients(MethodType(GRPOTrainer._compute_loss, made))
    torch.testing.assert_close(packed[0], padded[0], atol=1e-6, rtol=1e-4)
    assert any(gradient.abs().max() > 1e-6 for gradient in padded[1])
    for one, other in zip(packed[1], padded[1], strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-9


def test_a_group_without_variance_is_counted_and_costs_no_forward(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"max_steps": 2})
    right = made.chat.completion_ids('<tool_call>\n{"name": "area", "arguments": {"side": 77}}\n</tool_call>')
    made.engine = ScriptedEngine(lambda prompt, sample: right)  # everyone fails alike
    with pytest.raises(RunError, match="No update was made: no group of 2 steps had any variance"):
        made.train()
    logs = [log for log in made.state.log_history if "fission/is_fission" in log]
    assert logs[0]["explore/zero_variance_groups"] == 1
    assert logs[1]["fission/zero_variance_groups"] == 1
    assert logs[1]["fission/repeat"] == 1
    assert [log["grad_norm"] for log in logs] == [0, 0]
    assert made.steps_without_signal == 2


def test_an_engine_failure_leaves_the_batch_and_is_counted(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"max_steps": 1})

    class Failing:
        def generate(self, prompts: Any, sampling: Sampling, samples: int = 1) -> list[Completion]:
            done = made_engine.generate(prompts, sampling, samples)
            return [Completion.of_failure("out_of_memory", "No memory"), *done[1:]]

    made_engine, made.engine = made.engine, Failing()
    made.train()
    log = next(log for log in made.state.log_history if "fission/is_fission" in log)
    assert log["explore/infrastructure"] == 1
    assert made.learning.reasons == {"out_of_memory": 1}
    assert made.method.report()["corrections/intercepted"] > 0


def test_users_rewards_are_added_and_see_task_and_attempt(tmp_path: Path) -> None:
    seen: list[str] = []

    def brevity(attempt: list[Any], task: list[Task], **columns: Any) -> list[float]:
        seen.extend(entry.id for entry in task)
        return [-float(len(entry.text)) for entry in attempt]

    made = trainer(tmp_path, {"max_steps": 1}, reward_funcs=brevity)
    made.train()
    assert len(seen) == PROMPTS * GROUP
    assert any("rewards/brevity/mean" in log for log in made.state.log_history)


def test_full_weights_in_float32_under_bfloat16_autocast(tmp_path: Path) -> None:
    made = FissionGRPOTrainer(
        model=tiny_llama(267, max_position_embeddings=2048),
        args=config(tmp_path, max_steps=2, bf16=True, seed=1),
        train_dataset=TASKS,
        processing_class=tiny_tokenizer(),
    )
    made.train()
    assert dict(made.updates) == {"explore": 1, "fission": 1}


def test_an_evaluation_with_the_trainer_before_any_step(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    metrics = made.evaluate(made.train_dataset.select(range(PROMPTS)))
    assert metrics["eval_entropy"] > 0
    assert not made.updates


def test_sampled_log_probabilities_reach_trls_importance_sampling(tmp_path: Path) -> None:
    """What a GPU's vLLM does, with another engine in its place."""
    made = trainer(tmp_path, {"max_steps": 1, "temperature": 1.0, "seed": 2})
    made.use_vllm, made._last_loaded_step = True, 0  # now TRL corrects for what sampler and trainer differ in
    made.train()
    ratios = [log["sampling/importance_sampling_ratio/mean"] for log in made.state.log_history if "reward" in log]
    assert ratios
    assert 0.99 < ratios[0] < 1.01


def test_a_batch_that_splits_a_group_is_refused_with_the_numbers() -> None:
    refuse_split_groups(4, 2, 8)
    with pytest.raises(ConfigError, match=r"per_device_train_batch_size \(4\).*\(3\) = 12.*num_generations = 8"):
        refuse_split_groups(4, 3, 8)


def test_micro_batches_hold_whole_groups_again_after_trls_shuffle(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"per_device_train_batch_size": GROUP, "gradient_accumulation_steps": PROMPTS})
    seen: list[int] = []
    compute = made._compute_loss

    def watched(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        seen.append(len({tuple(prompt.tolist()) for prompt in inputs["prompt_ids"]}))
        loss: torch.Tensor = compute(model, inputs)
        return loss

    made._compute_loss = watched  # type: ignore[method-assign]
    made.train()
    assert seen == [1] * PROMPTS * 4  # one prompt a micro-batch, explore and fission alike


def test_rows_are_sorted_over_micro_batches_with_all_their_values() -> None:
    row = torch.tensor([3, 0, 2, 1])
    batches = [
        {"row": row[:2], "x": row[:2] * 10, "n": torch.tensor(7)},
        {"row": row[2:], "x": row[2:] * 10, "n": torch.tensor(7)},
    ]
    first, second = in_row_order(batches)
    assert first["x"].tolist() + second["x"].tolist() == [0, 10, 20, 30]
    assert (first["n"], second["n"]) == (7, 7)


def test_the_adapter_loads_with_plain_peft(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"max_steps": 2})
    made.train()
    made.model.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(0)
    loaded = PeftModel.from_pretrained(tiny_llama(267, max_position_embeddings=2048), tmp_path / "adapter")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded(ids).logits, made.model.eval()(ids).logits)


def test_limits_with_retries_are_of_evaluations() -> None:
    with pytest.raises(ConfigError, match=r"limits\.retries is of evaluations"):
        training_limits(Limits(retries=1), None)
    assert training_limits(None, 7) == Limits(context_tokens=7)
