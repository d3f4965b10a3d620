"""What a user of TRL brings, through the real trainer: it takes effect, or the trainer says why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification
from trl import GRPOConfig, GRPOTrainer

from fissile import FissionGRPOTrainer
from fissile.engines import Engine, Sampling
from fissile.errors import ConfigError, DataError, ModelError, RunError
from fissile.rollouts import Completion
from fissile.training.groups import check_loss_mask
from fissile.training.spending import Budget
from tiny import AREA, CHATML, squares, tiny_tokenizer
from tiny_models import tiny_llama

PROMPTS, GROUP = 2, 4


def rows(count: int = 4, **columns: Any) -> Dataset:
    return Dataset.from_list(
        [
            {
                "messages": [{"role": "user", "content": "A square" + "!" * n}],
                "tools": [AREA.to_schema()],
                "ground_truth": [{"name": "area", "arguments": {"side": n}}],
                **{name: value(n) for name, value in columns.items()},
            }
            for n in range(count)
        ]
    )


def args(folder: Path, **changes: Any) -> GRPOConfig:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": PROMPTS * GROUP,
        "num_generations": GROUP,
        "max_steps": 1,
        "max_completion_length": 24,
        "learning_rate": 1e-2,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        **changes,
    }
    return GRPOConfig(**settings)


def adapted(model: Any = None) -> Any:
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model or tiny_llama(267, max_position_embeddings=2048), lora)


class Chatter:
    """Answers of different lengths, so that rewards differ; remembers how it was asked."""

    def __init__(self, end: int, asked: list[Sampling]) -> None:
        self.end, self.asked = end, asked

    def generate(self, prompts: Any, sampling: Sampling, samples: int = 1) -> list[Completion]:
        self.asked.append(sampling)
        lengths = [5 * (index % samples) for index in range(len(prompts) * samples)]
        made = [(*range(40, 40 + length), self.end) for length in lengths]
        return [Completion(ids, tuple(-1.0 for _ in ids)) for ids in made]


def trainer(folder: Path, settings: dict[str, Any] | None = None, **changes: Any) -> FissionGRPOTrainer:
    asked: list[Sampling] = []

    def chatter(policy: nn.Module, chat: Any) -> Engine:
        return Chatter(min(chat.end_ids), asked)

    given: dict[str, Any] = {
        "model": adapted(),
        "args": args(folder, **(settings or {})),
        "train_dataset": rows(),
        "processing_class": tiny_tokenizer(),
        "make_engine": chatter,
        **changes,
    }
    made = FissionGRPOTrainer(**given)
    made.asked = asked  # type: ignore[attr-defined]
    return made


# --- datasets ----------------------------------------------------------------------------------------------------


def test_an_evaluation_dataset_is_sampled_and_scored_during_the_training(tmp_path: Path) -> None:
    settings = {"eval_strategy": "steps", "eval_steps": 1, "num_generations_eval": 2, "per_device_eval_batch_size": 4}
    made = trainer(tmp_path, settings, eval_dataset={"seen": rows(2), "unseen": rows(4, extra=lambda n: n)})
    made.train()
    evaluations = [log for log in made.state.log_history if "eval_seen_loss" in log or "eval_unseen_loss" in log]
    assert len(evaluations) == 2
    assert all(log["eval_reward_std"] > 0 and log["eval_correct"] == 0 for log in evaluations)
    assert set(made.tasks) == {f"rows:{n}" for n in range(4)}  # evaluated tasks are never drawn for training
    assert len({sampling.seed for sampling in made.asked}) == 1 + 1 + 2  # type: ignore[attr-defined]


def test_an_evaluation_may_come_later_and_must_hold_whole_groups(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"per_device_eval_batch_size": 4})
    assert made.evaluate(rows(3))["eval_reward"] > 0
    assert made.evaluate(squares(2))["eval_infrastructure"] == 0
    assert made.predict(squares(2)).metrics["test_loss"] is not None
    made.create_model_card("me/mine")
    assert "fissile" in (tmp_path / "README.md").read_text(), "a card that is asked for is written"
    made.args.per_device_eval_batch_size = 6
    with pytest.raises(ConfigError, match=r"6 rows splits a group of 4.*per_device_eval_batch_size"):
        made.evaluate(rows(3))
    made.args.per_device_eval_batch_size = 4
    made.eval_dataset = rows(2)
    with pytest.raises(DataError, match="rather than setting train_dataset or eval_dataset"):
        made.evaluate()


def test_own_columns_reach_reward_functions_in_explore_and_fission_steps(tmp_path: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    def mine(prompts: Any, completions: Any, ground_truth: Any, level: Any, task: Any, **others: Any) -> list[float]:
        assert len(prompts) == len(completions) == len(level) == PROMPTS * GROUP
        assert [truth[0]["arguments"]["side"] for truth in ground_truth] == level
        seen.append((level, [entry.ground_truth[0].arguments["side"][0] for entry in task], len(prompts[0])))
        return [0.0] * len(level)

    trainer(tmp_path, {"max_steps": 2}, train_dataset=rows(level=lambda n: n), reward_funcs=(mine,)).train()
    (explored, tasks, told), (recovered, tasks_again, told_again) = seen
    assert explored == tasks
    assert recovered == tasks_again
    assert (told, told_again) == (1, 3)  # a recovery's conversation holds the failure and its diagnosis


def test_columns_stay_out_where_trl_would_remove_them(tmp_path: Path) -> None:
    names: set[str] = set()

    def mine(prompts: Any, **columns: Any) -> list[float]:
        names.update(columns)
        return [0.0] * len(prompts)

    data = rows(level=lambda n: n)
    trainer(tmp_path, {"remove_unused_columns": True}, train_dataset=data, reward_funcs=mine).train()
    assert {"task", "attempt"} <= names
    assert not {"level", "messages"} & names


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: rows().to_iterable_dataset(), ConfigError, "is a stream"),
        (lambda: DatasetDict(train=rows(), test=rows()), ConfigError, "several splits"),
        (lambda: "tasks.jsonl", ConfigError, "load_tasks"),
        (lambda: rows().to_pandas(), ConfigError, "from_pandas"),
        (lambda: [], ConfigError, "holds no task"),
        (lambda: rows(1), ConfigError, "has 1 tasks, and a step samples 2"),
        (lambda: rows(task=lambda n: n), DataError, "column 'task'"),
        (lambda: rows(images=lambda n: n), DataError, "column 'images'"),
        (lambda: [squares(2)[1], squares(3)[1]], DataError, "same id"),
    ],
)
def test_datasets_that_cannot_be_trained_on(
    tmp_path: Path, data: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        trainer(tmp_path, train_dataset=data(), reward_funcs=lambda prompts, **_: [0.0] * len(prompts))


def test_an_id_of_two_tasks_is_refused_across_datasets(tmp_path: Path) -> None:
    one, other = rows(2, id=lambda n: f"t{n}"), rows(3, id=lambda n: f"t{n - 1}")
    with pytest.raises(DataError, match="'t0' is that of two different tasks"):
        trainer(tmp_path, train_dataset=one, eval_dataset=other)
    assert trainer(tmp_path, train_dataset=one, eval_dataset=one).evaluate()["eval_reward"] > 0


# --- settings ----------------------------------------------------------------------------------------------------


def test_sampling_settings_reach_the_engine(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"min_p": 0.1, "repetition_penalty": 1.3, "top_k": None, "top_p": 0.9, "temperature": 0.7})
    made.train()
    (asked,) = made.asked  # type: ignore[attr-defined]
    assert (asked.min_p, asked.repetition_penalty, asked.top_k, asked.top_p, asked.temperature) == (
        0.1,
        1.3,
        0,
        0.9,
        0.7,
    )


def test_chat_template_kwargs_are_template_options(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML + "{%- if shout is defined -%}{{- 'AT ONCE' -}}{%- endif -%}"
    made = trainer(tmp_path, {"chat_template_kwargs": {"shout": True}}, processing_class=tokenizer)
    context = made.groups.context(next(iter(made.tasks.values())))
    assert "AT ONCE" in tokenizer.decode(context.prompt_ids)
    with pytest.raises(ModelError, match="does not use the option 'shuot'"):
        trainer(tmp_path, {"chat_template_kwargs": {"shuot": True}})


def test_reward_models_and_weights_stand_beside_the_composite(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=267, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=1
    )
    judge, tokenizer = LlamaForSequenceClassification(config), tiny_tokenizer()
    made = trainer(
        tmp_path, {"reward_weights": [0.0]}, reward_funcs=judge, reward_processing_classes=tokenizer, method="grpo"
    )
    made.train()
    log = made.state.log_history[0]
    assert log["reward"] == pytest.approx(log["rewards/composite/mean"])
    assert made.reward_weights.tolist() == [1.0, 0.0]


def test_epochs_count_where_there_is_no_number_of_steps(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"max_steps": -1, "num_train_epochs": 2}, method="grpo")
    made.train()
    assert (made.state.global_step, made.ended_by) == (4, "steps")


def test_truncated_completions_leave_the_loss_whole(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"mask_truncated_completions": True, "num_iterations": 2, "max_steps": 2}, method="grpo")
    generate = made.engine.generate

    def cut(prompts: Any, sampling: Sampling, samples: int = 1) -> list[Completion]:
        whole = generate(prompts, sampling, samples)
        return [Completion(entry.ids[:-1], entry.logprobs) if len(entry.ids) > 11 else entry for entry in whole]

    made.engine.generate = cut  # type: ignore[method-assign]
    made.train()
    assert made.state.log_history[0]["completions/clipped_ratio"] == 0.25
    assert all(log["loss"] == log["loss"] for log in made.state.log_history if "loss" in log)  # no NaN


@pytest.mark.parametrize("settings", [{"beta": 0.1}, {"beta": 0.1, "sync_ref_model": True, "ref_model_sync_steps": 1}])
def test_full_weights_with_a_reference_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    tiny_llama(267, max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    made = trainer(tmp_path, {**settings, "max_steps": 2}, model=str(tmp_path / "model"), processing_class=None)
    made.train()
    assert made.ref_model is not None
    assert made.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-5)
    if "sync_ref_model" not in settings:
        assert made.state.log_history[1]["kl"] > 1e-4


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_another_attention_is_read_in_trls_padded_rows(tmp_path: Path, attention: str) -> None:
    model = tiny_llama(267, max_position_embeddings=2048)
    model.set_attn_implementation(attention)
    made = trainer(tmp_path, model=adapted(model))
    assert made._packs is (attention == "sdpa")
    ids = torch.tensor([[0, 5, 6, 7, 20, 21, 22]] * 2 + [[8, 9, 10, 11, 23, 24, 25]] * 2)
    mask = torch.ones_like(ids)
    mask[:2, 0] = 0
    ours, _, _ = made._get_per_token_logps_and_entropies(made.model, ids, mask, 3)
    made.model.get_base_model().set_attn_implementation("sdpa")
    trls, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(made, made.model, ids, mask, 3)
    torch.testing.assert_close(ours, trls, atol=1e-5, rtol=1e-4)


def test_a_head_in_float32(tmp_path: Path) -> None:
    model = tiny_llama(267, max_position_embeddings=2048, tie_word_embeddings=False).to(torch.bfloat16)
    made = FissionGRPOTrainer(
        model=adapted(model),
        args=args(tmp_path, cast_lm_head_to_fp32=True, bf16=True, temperature=2.0, max_completion_length=40, seed=3),
        train_dataset=squares(8),
        processing_class=tiny_tokenizer(),
    )
    assert made.model.get_base_model().lm_head.weight.dtype == torch.float32
    made._generate_and_score_completions([row for row in made.train_dataset for _ in range(GROUP)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"learning_rate": 0.0}}, "learning_rate = 0"),
        ({"settings": {"max_steps": 0}}, "no update would be made"),
        ({"settings": {"max_steps": -1, "num_train_epochs": 0}}, "no update would be made"),
        ({"settings": {"warmup_steps": 5}}, "warmup_steps"),
        ({"budget": Budget(rollouts=7)}, "budget of 7 rollouts is less than the 8"),
        ({"settings": {"model_init_kwargs": {"dtype": "float32"}}}, "model_init_kwargs has no effect"),
        ({"tools": [len]}, "make_environment"),
        ({"environment_factory": dict}, "make_environment"),
        ({"peft_config": LoraConfig(r=2)}, "PeftModel"),
    ],
)
def test_what_could_not_be_done_is_said_before_it_starts(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        trainer(tmp_path, **changes)


def test_a_frozen_adapter_and_virtual_tokens_are_refused(tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path / "adapter")
    frozen = PeftModel.from_pretrained(tiny_llama(267, max_position_embeddings=2048), tmp_path / "adapter")
    with pytest.raises(ConfigError, match="is_trainable=True"):
        trainer(tmp_path, model=frozen)
    virtual = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2)
    with pytest.raises(ModelError, match="virtual tokens"):
        trainer(tmp_path, model=tiny_llama(267, max_position_embeddings=2048), peft_config=virtual)


# --- what is learned ---------------------------------------------------------------------------------------------


def test_updates_that_change_no_weight_are_no_success(tmp_path: Path) -> None:
    model = tiny_llama(267, max_position_embeddings=2048).to(torch.bfloat16)
    made = trainer(tmp_path, {"learning_rate": 1e-12}, model=model, method="grpo")
    with pytest.raises(RunError, match=r"1 steps changed no weight.*float32"):
        made.train()


def test_a_mask_that_lets_a_token_of_the_world_in_stops_the_step(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    rows_of_step = [row for row in made.train_dataset.select(range(PROMPTS)) for _ in range(GROUP)]
    batch = made._generate_and_score_completions(rows_of_step)
    rollouts = [scored.rollout for scored in made._scored]
    check_loss_mask(batch, rollouts, drops_truncated=False)
    batch["completion_mask"][0, -1] = 1  # padding, for instance
    with pytest.raises(RuntimeError, match="row 0: 2 tokens, of which the policy wrote 1"):
        check_loss_mask(batch, rollouts, drops_truncated=False)


def test_a_checkpoint_named_in_the_settings_is_gone_on_from(tmp_path: Path) -> None:
    missing = str(tmp_path / "checkpoint-5")
    with pytest.raises(ValueError, match="checkpoint-5"):
        trainer(tmp_path, {"resume_from_checkpoint": missing}).train()
