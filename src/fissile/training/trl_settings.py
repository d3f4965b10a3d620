"""Every field of `trl.GRPOConfig` and every argument of `trl.GRPOTrainer`: who sees to it, or why it is refused.

A name that stands in no table is refused wherever it is set, until somebody has looked at what it does to rollouts
that are sampled, masked and packed here. `tests/training/test_trl_settings.py` compares the tables with TRL.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from fissile.engines import Sampling
from fissile.errors import ConfigError


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


TRLS = _names(
    """
    output_dir seed full_determinism use_cpu local_rank do_train do_eval do_predict
    num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args
    weight_decay adam_beta1 adam_beta2 adam_epsilon optim_target_modules max_grad_norm average_tokens_across_devices
    per_device_train_batch_size gradient_accumulation_steps steps_per_generation generation_batch_size
    auto_find_batch_size num_generations num_iterations shuffle_dataset pad_to_multiple_of
    bf16 fp16 bf16_full_eval fp16_full_eval tf32 use_cache neftune_noise_alpha torch_empty_cache_steps
    activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs
    logging_strategy logging_steps logging_first_step log_on_each_node logging_nan_inf_filter log_level
    log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id
    trackio_static_space_id include_num_input_tokens_seen skip_memory_metrics debug
    log_completions log_multimodal num_completions_to_print log_unique_prompts log_completions_hub_repo
    eval_strategy eval_steps eval_delay eval_on_start per_device_eval_batch_size eval_accumulation_steps
    eval_do_concat_batches eval_use_gather_object prediction_loss_only
    save_only_model save_strategy save_steps save_on_each_node save_total_limit enable_jit_checkpoint
    load_best_model_at_end metric_for_best_model greater_is_better ignore_data_skip
    restore_callback_states_from_checkpoint
    push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision
    accelerator_config parallelism_config ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers
    ddp_static_graph ddp_backend ddp_timeout
    dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order
    trust_remote_code router_aux_loss_coef disable_dropout cast_lm_head_to_fp32
    beta epsilon delta epsilon_high loss_type sapo_temperature_neg sapo_temperature_pos vespo_k_pos vespo_lambda_pos
    vespo_k_neg vespo_lambda_neg importance_sampling_level multi_objective_aggregation scale_rewards
    mask_truncated_completions sync_ref_model ref_model_mixup_alpha ref_model_sync_steps top_entropy_quantile
    entropy_coef use_adaptive_entropy entropy_coef_min entropy_coef_max entropy_coef_delta entropy_target
    off_policy_mask_threshold use_bias_correction_kl use_vllm
    """
)
"""Fields that do here what they do in TRL, by TRL's own code. Values that TRL refuses, TRL refuses."""

OURS = {
    "max_completion_length": "the limit of a response",
    "temperature": "of our sampling",
    "top_k": "of our sampling; 0, None and vLLM's -1 keep all tokens",
    "top_p": "of our sampling",
    "min_p": "of our sampling",
    "repetition_penalty": "of our sampling",
    "chat_template_kwargs": "goes to every rendering of the chat template, as template_options does",
    "num_generations_eval": "the group size of evaluations",
    "reward_weights": "one for each of reward_funcs; one more, the first, weighs the composite reward",
    "remove_unused_columns": "True keeps a dataset's own columns from reward functions",
    "resume_from_checkpoint": "what train() goes on from, unless it is told itself; TRL leaves it to scripts",
    "model_init_kwargs": "of a model that is given by its name",
    "fsdp": "with use_vllm only: the local engine reads whole weights",
    "fsdp_config": "of fsdp",
    "deepspeed": "ZeRO-3 with use_vllm only: the local engine reads whole weights",
}
"""Fields that this package sees to, and how."""

WITH_VLLM = _names(
    """
    generation_kwargs ds3_gather_for_generation vllm_mode vllm_model_impl vllm_enable_sleep_mode
    vllm_structured_outputs_regex vllm_server_base_url vllm_server_host vllm_server_port vllm_server_timeout
    vllm_group_port vllm_gpu_memory_utilization vllm_max_model_length vllm_tensor_parallel_size
    vllm_importance_sampling_correction vllm_importance_sampling_mode vllm_importance_sampling_clip_max
    vllm_importance_sampling_clip_min vllm_importance_sampling_cap
    """
)
"""Fields that TRL hands to its vLLM, and that nobody reads where use_vllm is off."""

_NO_PART = "it has no part in GRPO, where TRL ignores it; leave it out"
_OWN_ENGINE = "this trainer samples with an engine of its own; give another one with make_engine, or set use_vllm=True"

REFUSED = {
    "cache_implementation": _OWN_ENGINE,
    "use_transformers_continuous_batching": _OWN_ENGINE,
    "transformers_continuous_batching_config": _OWN_ENGINE,
    "use_transformers_paged": _OWN_ENGINE,
    "max_tool_calling_iterations": "live worlds take limits=Limits(steps_per_turn=...), of fissile.rollouts",
    "use_liger_kernel": "its kernels replace layers when the training starts, and are untried on packed rows",
    "liger_kernel_config": "use_liger_kernel is refused",
    "torch_compile": "untried on packed rows, of which each has another length",
    "torch_compile_backend": "torch_compile is refused",
    "torch_compile_mode": "torch_compile is refused",
    "data_seed": "TRL shuffles with seed; set that",
    "label_smoothing_factor": _NO_PART,
    "train_sampling_strategy": "TRL's sampler keeps groups whole and orders prompts by shuffle_dataset; set that",
    "length_column_name": _NO_PART,
    "label_names": _NO_PART,
    "include_for_metrics": _NO_PART,
    "batch_eval_metrics": _NO_PART,
}
"""Fields that only their default is taken of, and what to do instead."""

PASSED = _names(
    """
    model reward_funcs args train_dataset eval_dataset processing_class reward_processing_classes callbacks optimizers
    quantization_config peft_config
    """
)
"""Arguments that this trainer takes as TRL's does."""

_WORLD = (
    "TRL's own tool loop is not used here: rollouts come from a world, which masks what tools answered, judges, and is "
    "restored for a recovery. {put}\n"
    "    from fissile.environments.python import PythonTools, PythonWorld\n"
    '    tools = PythonTools.from_file("my_tools.py")\n'
    '    tasks = load_jsonl("my_tasks.jsonl", tools=tools.tools, world=World("python"))  # of fissile.tasks\n'
    "    FissionGRPOTrainer(..., train_dataset=tasks, make_environment=lambda task: PythonWorld(tools))"
)

REFUSED_ARGUMENTS = {
    "tools": _WORLD.format(put="Put the functions into a file, and write"),
    "environment_factory": _WORLD.format(
        put="Put the class into a file (its instance is the state of an episode; a reward of its own becomes one of "
        "reward_funcs), and write"
    ),
    "rollout_func": "this trainer is a rollout function itself; give your sampler with make_engine (prompts of token "
    "ids in, completions out), or a world of your own with make_environment.",
}
"""Arguments of TRL's trainer that are refused, and what to use instead."""


def check_settings(args: Any) -> None:
    """Refuse what would have no effect here, or another than it says.

    Raises:
        ConfigError: it is no `GRPOConfig`, or a field is set that nobody here sees to; the message names it.
    """
    if not isinstance(args, GRPOConfig):
        raise ConfigError(f"args must be a trl.GRPOConfig, not {type(args).__name__}.")
    for field in dataclasses.fields(GRPOConfig):
        if field.name in TRLS or field.name in OURS or not _is_set(args, field):
            continue
        if field.name not in WITH_VLLM:
            reason = REFUSED.get(field.name, "this field of TRL is not known here yet; leave it at its default")
            raise ConfigError(f"GRPOConfig.{field.name} is refused: {reason}.")
        if not args.use_vllm:
            instead = _instead_of(args.generation_kwargs) if field.name == "generation_kwargs" else "set that, too"
            raise ConfigError(f"GRPOConfig.{field.name} has no effect without use_vllm=True; {instead}.")


def check_arguments(given: Mapping[str, Any]) -> None:
    """Refuse arguments that are not `PASSED`; those without a value pass.

    Raises:
        ConfigError: an argument of TRL's trainer that this one does not take.
        TypeError: an argument that neither of them knows.
    """
    for name, value in given.items():
        if name not in inspect.signature(GRPOTrainer.__init__).parameters:
            raise TypeError(f"FissionGRPOTrainer got an argument that neither it nor trl.GRPOTrainer takes: '{name}'.")
        if value:
            reason = REFUSED_ARGUMENTS.get(name, "this argument of TRL's is not known here yet.")
            raise ConfigError(f"{name}= is refused: {reason}")


def sampling_of(args: GRPOConfig) -> Sampling:
    """How this trainer's own engines draw tokens; the seed is still to be set.

    Raises:
        ConfigError: a value outside the range of its field.
    """
    least, top_k, min_p = args.max_completion_length, args.top_k or 0, args.min_p or 0.0
    top_p, penalty = (1.0 if value is None else value for value in (args.top_p, args.repetition_penalty))
    for name, holds, wanted in (
        ("max_completion_length", least is not None and least >= 1, "a number of tokens, at least 1"),
        ("temperature", args.temperature is not None and args.temperature > 0, "above 0"),
        ("top_k", top_k >= -1, "a number of tokens, or 0 for all"),
        ("top_p", 0 < top_p <= 1, "above 0 and at most 1"),
        ("min_p", 0 <= min_p <= 1, "between 0 and 1"),
        ("repetition_penalty", penalty > 0, "above 0; 1 is none"),
    ):
        if not holds:
            raise ConfigError(f"GRPOConfig.{name} is {getattr(args, name)!r}; it must be {wanted}.")
    return Sampling(
        max_new_tokens=args.max_completion_length,
        temperature=args.temperature,
        top_k=max(0, top_k),
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
    )


def template_options_of(args: GRPOConfig, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Variables of the chat template, whichever way they came.

    Raises:
        ConfigError: the two ways contradict each other.
    """
    options, trls = dict(given or {}), dict(args.chat_template_kwargs or {})
    for name in options.keys() & trls.keys():
        if options[name] != trls[name]:
            raise ConfigError(
                f"template_options gives '{name}' as {options[name]!r}, GRPOConfig.chat_template_kwargs as "
                f"{trls[name]!r}. Give it once."
            )
    return {**trls, **options}


def reward_weights_of(args: GRPOConfig, functions: int) -> list[float] | None:
    """The weights, with the composite reward's first (1 where it has none), for so many `reward_funcs` of the user's.

    Raises:
        ConfigError: another number of weights.
    """
    weights: list[float] | None = args.reward_weights
    if weights is None or len(weights) == functions + 1:
        return weights
    if len(weights) != functions:
        raise ConfigError(
            f"GRPOConfig.reward_weights has {len(weights)} weights for {functions} reward_funcs. Give one for each, or "
            "one more, the first, for the composite reward."
        )
    return [1.0, *weights]


def check_model_arguments(model: Any, args: GRPOConfig, quantization_config: Any) -> None:
    """Refuse what only a model given by its name can take; TRL would ignore it with a warning.

    Raises:
        ConfigError: the model is already loaded.
    """
    given = {"model_init_kwargs": args.model_init_kwargs, "quantization_config": quantization_config}
    asked = [name for name, value in given.items() if value]
    if asked and not isinstance(model, str):
        raise ConfigError(f"{asked[0]} has no effect on a model that is already loaded. Give the model by its name.")


def _is_set(args: GRPOConfig, field: dataclasses.Field[Any]) -> bool:
    """Whether a field has another value than its default; what TRL makes of the default itself does not count."""
    value = getattr(args, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return bool(value != field.default_factory())
    if value == field.default:
        return False
    known = field.name in REFUSED or field.name in WITH_VLLM
    return known or value != getattr(_defaults(args), field.name)


def _defaults(args: GRPOConfig) -> GRPOConfig:
    """A configuration with nothing set but what makes one valid on this machine."""
    return GRPOConfig(output_dir=args.output_dir, use_cpu=args.use_cpu, bf16=args.bf16, fp16=args.fp16)


def _instead_of(generation_kwargs: Mapping[str, Any]) -> str:
    known = [name for name in generation_kwargs if hasattr(GRPOConfig, name)]
    if "max_new_tokens" in generation_kwargs:
        return "set GRPOConfig.max_completion_length instead of 'max_new_tokens'"
    return f"set GRPOConfig.{known[0]} instead" if known else _OWN_ENGINE
