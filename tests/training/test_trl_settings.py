"""Every field and argument of TRL's is looked at by somebody, and says what it does or why it is refused."""

import dataclasses
import inspect
from itertools import combinations
from typing import Any

import pytest
from trl import GRPOConfig, GRPOTrainer

from fissile.errors import ConfigError
from fissile.training import trl_settings
from fissile.training.grpo_config import FissionGRPOConfig
from fissile.training.trainer import FissionGRPOTrainer
from fissile.training.trl_settings import (
    OURS,
    PASSED,
    REFUSED,
    REFUSED_ARGUMENTS,
    TRLS,
    WITH_VLLM,
    check_arguments,
    check_settings,
    reward_weights_of,
    sampling_of,
    template_options_of,
)

FIELDS = {field.name for field in dataclasses.fields(GRPOConfig)}
OTHER_VALUES: dict[str, Any] = {  # of the refused fields: something that TRL itself takes
    "cache_implementation": "static",
    "use_transformers_continuous_batching": True,
    "transformers_continuous_batching_config": {"max_memory_percent": 0.5},
    "use_transformers_paged": True,
    "max_tool_calling_iterations": 3,
    "use_liger_kernel": True,
    "liger_kernel_config": {"rope": True},
    "torch_compile": True,
    "torch_compile_backend": "eager",
    "torch_compile_mode": "default",
    "data_seed": 7,
    "label_smoothing_factor": 0.1,
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "tokens",
    "label_names": ["labels"],
    "include_for_metrics": ["inputs"],
    "batch_eval_metrics": True,
    "generation_kwargs": {"num_beams": 4},
    "ds3_gather_for_generation": False,
    "vllm_mode": "server",
    "vllm_model_impl": "transformers",
    "vllm_enable_sleep_mode": True,
    "vllm_structured_outputs_regex": "a+",
    "vllm_server_base_url": "http://localhost:8000",
    "vllm_server_host": "localhost",
    "vllm_server_port": 8001,
    "vllm_server_timeout": 1.0,
    "vllm_group_port": 51217,
    "vllm_gpu_memory_utilization": 0.5,
    "vllm_max_model_length": 512,
    "vllm_tensor_parallel_size": 2,
    "vllm_importance_sampling_correction": False,
    "vllm_importance_sampling_mode": "token_mask",
    "vllm_importance_sampling_clip_max": 2.0,
    "vllm_importance_sampling_clip_min": 0.5,
    "vllm_importance_sampling_cap": 2.0,
}


def made(**fields: Any) -> GRPOConfig:
    return FissionGRPOConfig("out", **fields)


def test_every_field_of_trls_configuration_stands_in_exactly_one_table() -> None:
    tables = [TRLS, set(OURS), WITH_VLLM, set(REFUSED)]
    assert set().union(*tables) == FIELDS
    assert not any(one & other for one, other in combinations(tables, 2))


def test_every_argument_of_trls_trainer_is_passed_on_or_refused() -> None:
    arguments = list(inspect.signature(GRPOTrainer.__init__).parameters)[1:]
    assert PASSED | set(REFUSED_ARGUMENTS) == set(arguments)
    ours = list(inspect.signature(FissionGRPOTrainer.__init__).parameters)[1:]
    passed = [name for name in arguments if name in PASSED]
    assert ours[: len(passed)] == passed  # by place, too


def test_a_new_field_is_refused_where_it_is_set_until_somebody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_settings, "TRLS", TRLS - {"beta", "bf16"})
    check_settings(made())  # bf16 is another than its default by itself
    with pytest.raises(ConfigError, match=r"GRPOConfig\.beta is refused: this field of TRL is not known here yet"):
        check_settings(made(beta=0.1))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", sorted(set(REFUSED) | WITH_VLLM))
def test_what_has_no_effect_is_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "no")
    monkeypatch.setenv("ACCELERATE_DYNAMO_MODE", "default")  # torch_compile sets them: put back what was
    args = made(**{name: OTHER_VALUES[name]})
    blamed = {  # what TRL and transformers turn the field into
        "use_transformers_paged": "use_transformers_continuous_batching",
        "torch_compile_backend": "torch_compile",
        "torch_compile_mode": "torch_compile",
        "vllm_importance_sampling_cap": "vllm_importance_sampling_clip_max",
    }
    with pytest.raises(ConfigError, match=rf"GRPOConfig\.{blamed.get(name, name)} (is refused|has no effect)"):
        check_settings(args)


def test_the_defaults_pass_and_so_do_trls_own() -> None:
    check_settings(made())
    check_settings(GRPOConfig("out", use_cpu=True))
    with pytest.raises(ConfigError, match=r"args must be a trl\.GRPOConfig, not dict"):
        check_settings({"output_dir": "out"})


def test_generation_kwargs_name_the_field_to_set() -> None:
    with pytest.raises(ConfigError, match=r"set GRPOConfig\.min_p instead"):
        check_settings(made(generation_kwargs={"min_p": 0.1}))
    with pytest.raises(ConfigError, match="max_completion_length instead of 'max_new_tokens'"):
        check_settings(made(generation_kwargs={"max_new_tokens": 9}))


def test_an_unknown_argument_is_no_argument_of_ours() -> None:
    with pytest.raises(TypeError, match="'tokenizer'"):
        check_arguments({"tokenizer": object()})
    check_arguments({"tools": None, "environment_factory": None, "rollout_func": None})


@pytest.mark.parametrize("name", ["tools", "environment_factory", "rollout_func"])
def test_trls_own_loops_are_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){name}= is refused.*make_environment"):
        check_arguments({name: [len]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("top_k", -2),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("max_completion_length", None),
        ("max_completion_length", 0),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"GRPOConfig\.{field} is {value}"):
        sampling_of(made(**{field: value}))


@pytest.mark.parametrize("top_k", [None, 0, -1])
def test_every_spelling_of_no_top_k_keeps_all_tokens(top_k: Any) -> None:
    assert sampling_of(made(top_k=top_k)).top_k == 0


def test_template_options_come_either_way_and_never_contradict() -> None:
    args = made(chat_template_kwargs={"enable_thinking": False})
    assert template_options_of(args, None) == {"enable_thinking": False}
    assert template_options_of(args, {"enable_thinking": False, "x": 1}) == {"enable_thinking": False, "x": 1}
    with pytest.raises(ConfigError, match="'enable_thinking' as True"):
        template_options_of(args, {"enable_thinking": True})


def test_reward_weights_are_of_the_users_functions_or_of_all() -> None:
    assert reward_weights_of(made(), 2) is None
    assert reward_weights_of(made(reward_weights=[0.5, 2.0]), 2) == [1.0, 0.5, 2.0]
    assert reward_weights_of(made(reward_weights=[0.0, 0.5, 2.0]), 2) == [0.0, 0.5, 2.0]
    with pytest.raises(ConfigError, match="1 weights for 2 reward_funcs"):
        reward_weights_of(made(reward_weights=[1.0]), 2)


def test_our_configuration_trains_where_there_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert FissionGRPOConfig("out").use_cpu
    assert FissionGRPOConfig("out").bf16
