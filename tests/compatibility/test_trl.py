"""What of `trl.GRPOConfig` and `trl.GRPOTrainer` works, is converted or refused."""

from __future__ import annotations

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from trl import GRPOConfig

from compatibility.page import Row, assert_section
from fissile import FissionGRPOTrainer
from fissile.engines import Sampling
from fissile.errors import InputError
from fissile.training.grpo_config import FissionGRPOConfig
from fissile.training.trl_settings import OURS, TRLS, check_arguments, check_settings, reward_weights_of, sampling_of
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama


def configured(**fields: Any) -> GRPOConfig:
    args = FissionGRPOConfig("out", bf16=False, per_device_train_batch_size=8, num_generations=4, **fields)
    check_settings(args)
    return args


def trained_by(**changes: Any) -> FissionGRPOTrainer:
    fields = changes.pop("fields", {})
    with TemporaryDirectory() as folder:
        given = {"model": tiny_llama(267, max_position_embeddings=2048), "train_dataset": squares(4)}
        args = configured(max_completion_length=8, disable_tqdm=True, max_steps=1, save_strategy="no", **fields)
        args.output_dir = folder
        return FissionGRPOTrainer(**{"args": args, "processing_class": tiny_tokenizer(), **given, **changes})


def passes(*names: str) -> Callable[[], None]:
    """TRL's own code does it: `test_trl_settings` holds the table against TRL."""

    def check() -> None:
        assert set(names) <= TRLS | set(OURS)

    return check


def refused(make: Callable[[], Any], *words: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises((InputError, ValueError)) as caught:
            make()
        assert all(word in str(caught.value) for word in words), str(caught.value)

    return check


def setting(word: str, **fields: Any) -> Callable[[], None]:
    return refused(lambda: configured(**fields), *fields, word)


def argument(name: str, word: str) -> Callable[[], None]:
    return refused(lambda: check_arguments({name: [len]}), f"{name}=", word)


def samples(expected: Sampling, **fields: Any) -> Callable[[], None]:
    def check() -> None:
        assert sampling_of(configured(max_completion_length=128, **fields)) == expected

    return check


def weights_are_completed() -> None:
    assert reward_weights_of(configured(reward_weights=[0.5]), 1) == [1.0, 0.5]


def template_variables_are_options() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template += "{{- mood|default('') -}}"
    made = trained_by(processing_class=tokenizer, fields={"chat_template_kwargs": {"mood": "QUICK"}})
    assert made.chat.template_options == {"mood": "QUICK"}


def evaluated(dataset: Callable[[], Any]) -> Callable[[], None]:
    def check() -> None:
        made = trained_by(eval_dataset=dataset(), fields={"per_device_eval_batch_size": 4})
        assert isinstance(made.eval_dataset, Dataset | dict)

    return check


def cpu_by_itself() -> None:
    assert FissionGRPOConfig("out").use_cpu is not torch.accelerator.is_available()


def frozen() -> Any:
    model = tiny_llama(267, max_position_embeddings=2048)
    model.requires_grad_(False)
    return model


def stream() -> Any:
    return Dataset.from_list([{"x": 1}]).to_iterable_dataset()


ROWS = [
    Row("loss_type, epsilon, epsilon_high, delta, beta, scale_rewards, importance_sampling_level", "works",
        "TRL's losses over packed rows; loss and gradients are tested against TRL's padded ones.",
        passes("loss_type", "epsilon", "epsilon_high", "delta", "beta", "scale_rewards", "importance_sampling_level")),
    Row("learning_rate, optim, lr_scheduler_type, weight_decay, max_grad_norm, gradient_checkpointing", "works",
        "transformers'.",
        passes("learning_rate", "optim", "lr_scheduler_type", "weight_decay", "max_grad_norm")),
    Row("num_generations, steps_per_generation, generation_batch_size, num_iterations", "works",
        "TRL's; a batch that splits a group is refused with the numbers.",
        passes("num_generations", "steps_per_generation", "generation_batch_size", "num_iterations")),
    Row("num_train_epochs without max_steps", "works", "The number of steps comes from the dataset, as in TRL.",
        passes("num_train_epochs", "max_steps")),
    Row("mask_truncated_completions, top_entropy_quantile, entropy_coef, off_policy_mask_threshold", "works", "TRL's.",
        passes("mask_truncated_completions", "top_entropy_quantile", "entropy_coef", "off_policy_mask_threshold")),
    Row("log_completions, num_completions_to_print", "works",
        "A recovery is printed with the failure and the diagnosis before it.",
        passes("log_completions", "num_completions_to_print")),
    Row("temperature, top_k, top_p, min_p, repetition_penalty", "works",
        "Tested against transformers' logits processors; top_k = None or -1 keeps all tokens.",
        samples(Sampling(temperature=0.9, top_p=0.8, min_p=0.1, repetition_penalty=1.2), temperature=0.9, top_k=-1,
                top_p=0.8, min_p=0.1, repetition_penalty=1.2)),
    Row("chat_template_kwargs", "converted", "The same as template_options; one that the template lacks is refused.",
        template_variables_are_options),
    Row("reward_weights", "converted",
        "One for each of reward_funcs (the composite reward's is 1), or one more, the first, for the composite.",
        weights_are_completed),
    Row("eval_dataset, eval_strategy, num_generations_eval", "works",
        "Tasks, rows, or several datasets by name; eval_reward, eval_correct and the like are logged.",
        evaluated(lambda: {"a": squares(2), "b": squares(3)})),
    Row("columns of the dataset in reward functions", "works",
        "As lists, in recovery groups too; remove_unused_columns=True keeps them out.",
        passes("remove_unused_columns")),
    Row("FissionGRPOConfig on a CPU", "works", "use_cpu is set by itself where torch finds no accelerator.",
        cpu_by_itself),
    Row("tools=", "refused", "Write a world: PythonTools.from_file and make_environment; the message has the lines.",
        argument("tools", "make_environment=lambda task: PythonWorld(tools)")),
    Row("environment_factory=", "refused", "Write a world; its instance is the state of an episode.",
        argument("environment_factory", "make_environment=lambda task: PythonWorld(tools)")),
    Row("rollout_func=", "refused", "The trainer is one itself; give an engine or a world.",
        argument("rollout_func", "make_engine")),
    Row("max_tool_calling_iterations", "refused", "limits=Limits(steps_per_turn=...).",
        setting("steps_per_turn", max_tool_calling_iterations=2)),
    Row("generation_kwargs", "refused", "Without use_vllm; set the field of that name (min_p, ...) instead.",
        setting("set GRPOConfig.min_p", generation_kwargs={"min_p": 0.1})),
    Row("vllm_*", "refused", "Without use_vllm=True, where nobody would read them.",
        setting("use_vllm=True", vllm_gpu_memory_utilization=0.5)),
    Row("cache_implementation", "refused", "The trainer samples with an engine of its own.",
        setting("make_engine", cache_implementation="static")),
    Row("use_transformers_continuous_batching", "refused", "The trainer samples with an engine of its own.",
        setting("make_engine", use_transformers_continuous_batching=True)),
    Row("use_liger_kernel", "refused", "Untried on packed rows.", setting("packed rows", use_liger_kernel=True)),
    Row("label_smoothing_factor, label_names, include_for_metrics", "refused",
        "They have no part in GRPO; TRL ignores them.", setting("no part in GRPO", label_smoothing_factor=0.1)),
    Row("data_seed", "refused", "TRL shuffles with seed.", setting("set that", data_seed=3)),
    Row("an IterableDataset", "refused", "All tasks must be known: take a part of it.",
        refused(lambda: trained_by(train_dataset=stream()), "stream")),
    Row("a DatasetDict as train_dataset", "refused", "Name one of its splits.",
        refused(lambda: trained_by(train_dataset=DatasetDict(train=Dataset.from_list([{"x": 1}]))), "'train'")),
    Row("fewer tasks than a step samples", "refused", "Before anything starts, with the numbers.",
        refused(lambda: trained_by(train_dataset=squares(1)), "has 1 tasks", "samples 2")),
    Row("learning_rate = 0, max_steps = 0", "refused", "No update could be made.",
        refused(lambda: trained_by(fields={"learning_rate": 0.0}), "learning_rate = 0")),
    Row("a model without a trainable weight", "refused", "PeftModel.from_pretrained(..., is_trainable=True).",
        refused(lambda: trained_by(model=frozen()), "is_trainable=True")),
    Row("model_init_kwargs, quantization_config with a loaded model", "refused", "They are for a model given by name.",
        refused(lambda: trained_by(fields={"model_init_kwargs": {"dtype": "float32"}}), "by its name")),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("trl", ROWS)
