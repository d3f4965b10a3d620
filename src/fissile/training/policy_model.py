"""The policy: a pretrained causal language model with a LoRA adapter, and its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from fissile import assets
from fissile.calls import JSON
from fissile.config import ModelConfig
from fissile.dialects import ChatFormat
from fissile.engines.base import longest_input
from fissile.errors import ModelError
from fissile.journal import write_json
from fissile.training.base_model import base_model
from fissile.training.checkpoints import explained_disk_errors

EMBEDDED = "smollm2-135m"
"""The name of the embedded model; everything else is a Hugging Face id or a path."""


@dataclass(frozen=True)
class ModelSource:
    """Where `from_pretrained` finds a model: a name, and the file's name if it is a GGUF file."""

    name: str
    gguf_file: str | None = None


def resolve(path: str) -> ModelSource:
    """The source of a model. The embedded one is fetched on first use.

    Raises:
        ModelError: a local path that does not exist.
    """
    if path == EMBEDDED:
        return ModelSource(str(assets.derived(f"{assets.MODEL.folder}-bfloat16", _unpack_embedded)))
    local = Path(path)
    if local.suffix == ".gguf" and local.is_file():
        return ModelSource(str(local.parent), local.name)
    if not local.exists() and (local.is_absolute() or path.startswith(("./", "../", "~")) or path.count("/") > 1):
        raise ModelError(
            f"There is no model at '{path}'. Set model.path to a folder with a config.json, to a Hugging Face id "
            f"such as 'Qwen/Qwen3-0.6B', or to '{EMBEDDED}' for the embedded model."
        )
    return ModelSource(path)


def _unpack_embedded(folder: Path) -> None:
    """Write the embedded GGUF model as a plain bfloat16 one: it then loads in a second instead of half a minute."""
    file = assets.model_path()
    source = ModelSource(str(file.parent), file.name)
    _from_pretrained(source, torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.name, gguf_file=source.gguf_file).save_pretrained(folder)


def _from_pretrained(source: ModelSource, dtype: torch.dtype | str) -> PreTrainedModel:
    """The model.

    Raises:
        ModelError: the files lack some of its weights, which would be random.
        OSError, ValueError: it cannot be loaded.
    """
    unpack = GgufConfig(dequantize=True) if source.gguf_file else None  # packed weights cannot be trained
    model, loaded = AutoModelForCausalLM.from_pretrained(
        source.name, dtype=dtype, gguf_file=source.gguf_file, quantization_config=unpack, output_loading_info=True
    )
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(
            f"The files of '{source.name}' lack {len(missing)} of the model's weights ({missing[0]}, ...), which would "
            "be random. Set model.path to a whole causal language model."
        )
    return model


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, padding on the left."""
    source = resolve(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.name, padding_side="left", gguf_file=source.gguf_file)
    except (OSError, ValueError) as error:
        raise _unloadable("tokenizer", path, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(path: str, dtype: str = "bfloat16") -> PreTrainedModel:
    """The base model in `dtype` ("auto" keeps the checkpoint's), on the accelerator if there is one."""
    source = resolve(path)
    resolved = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        model = _from_pretrained(source, resolved)
    except (OSError, ValueError) as error:
        raise _unloadable("model", path, error) from None
    model.config._name_or_path = path
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return model if device is None else model.to(device)


def load_policy(config: ModelConfig, adapter: str | Path | None = None) -> Any:
    """The base model under a trainable LoRA adapter: a fresh one, or the one saved at `adapter`.

    Raises:
        ModelError: the model or the adapter cannot be loaded, or `lora_targets` names no module.
    """
    model = load_model(config.path, config.dtype)
    adapter = adapter or config.adapter
    try:
        if adapter is not None:
            settings = _nameless(PeftConfig.from_pretrained(str(adapter)))
            policy = PeftModel.from_pretrained(model, str(adapter), is_trainable=True, config=settings)
            _refuse_left_over(policy, Path(adapter))
            return _quiet_when_saved(policy)
        policy = get_peft_model(
            model,
            LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                lora_dropout=config.lora_dropout,
                target_modules=config.lora_targets,
                modules_to_save=config.lora_whole or None,
                ensure_weight_tying=bool(config.lora_whole),
                task_type="CAUSAL_LM",
            ),
        )
        return _quiet_when_saved(policy)
    except (OSError, ValueError, RuntimeError) as error:  # the last: an adapter of another model
        raise ModelError(
            f"The LoRA adapter cannot be set up ({_first_line(error)}). Check the adapter, whether it is "
            "one of this model, and model.lora_targets."
        ) from None


def _refuse_left_over(policy: PeftModel, adapter: Path) -> None:
    """Refuse an adapter with weights that the model has no place for: PEFT would drop them.

    Raises:
        ValueError: it has some.
    """
    file = adapter / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        return
    with safe_open(file, "pt") as weights:
        left = sorted(set(weights.keys()) - set(get_peft_model_state_dict(policy)))
    if left:
        raise ValueError(f"{len(left)} of its weights have no place in the model, such as {left[0]}")


def _quiet_when_saved(policy: PeftModel) -> PeftModel:
    """Let PEFT write no card of empty headings beside an adapter or a checkpoint, and ask no hub about the base model.

    It would look there, at every load and save, whether the vocabulary was resized; `save_adapter` names the base model
    itself.
    """
    policy.create_or_update_model_card = _no_card
    for config in policy.peft_config.values():
        _nameless(config)
    return policy


def _nameless(config: PeftConfig) -> PeftConfig:
    config.base_model_name_or_path = ""
    return config


def _no_card(output_dir: str) -> None:
    """Nothing: what is published gets a card of `fissile.training.model_card`."""


def save_adapter(
    policy: Any,
    folder: Path,
    texts: Mapping[str, str] = MappingProxyType({}),
    chat: ChatFormat | None = None,
    sampling: Mapping[str, JSON] = MappingProxyType({}),
) -> None:
    """Save so that the folder exists exactly when it is whole, and names nothing of this machine.

    Args:
        policy: from `load_policy`.
        folder: of the adapter.
        texts: further files, by name.
        chat: with it the folder holds tokenizer, chat template, and how prompts and calls are written.
        sampling: how it was sampled from: `temperature`, `top_k`, `top_p`, `max_new_tokens`.
    """
    assert isinstance(policy, PeftModel)
    temporary = folder.with_name(f".{folder.name}.partial")
    with explained_disk_errors(folder):
        policy.save_pretrained(str(temporary))
        _name_base(temporary / "adapter_config.json", policy.get_base_model().config._name_or_path)
        if chat is not None:
            _save_format(temporary, chat, sampling)
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.rename(folder)


def _name_base(config_file: Path, path: str) -> None:
    """In PEFT's configuration: the base model by a name that means something elsewhere."""
    fields = json.loads(config_file.read_text(encoding="utf-8"))
    write_json(config_file, {**fields, "base_model_name_or_path": base_model(path, EMBEDDED).id})


FORMAT_FILE = "fissile.json"
"""In an adapter's folder: how prompts and calls are written, and how it was sampled from."""


def _save_format(folder: Path, chat: ChatFormat, sampling: Mapping[str, JSON]) -> None:
    tokenizer: Any = chat.tokenizer
    tokenizer.save_pretrained(str(folder))
    told = {"dialect": chat.dialect.name, "template_options": chat.template_options, "sampling": dict(sampling)}
    write_json(folder / FORMAT_FILE, {**told, "renders_tools": chat.renders_tools})
    ends = {"eos_token_id": sorted(chat.end_ids), "pad_token_id": tokenizer.pad_token_id}
    is_sampled = bool(sampling.get("temperature"))
    generation = {key: value for key, value in sampling.items() if is_sampled or key == "max_new_tokens"}
    GenerationConfig(do_sample=is_sampled, **generation, **ends).save_pretrained(str(folder))


def other_format(adapter: str | Path, path: str, chat: ChatFormat) -> str:
    """How an adapter of this package is used otherwise than it was trained, as a sentence; "" where it is not.

    Args:
        adapter: its folder.
        path: the model under it, as `model.path`.
        chat: how prompts and calls are written now.
    """
    try:
        told = json.loads((Path(adapter) / FORMAT_FILE).read_text(encoding="utf-8"))
        base = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
        trained = {name: told[name] for name in ("dialect", "template_options")}
        trained["base model"] = base["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # of another library, or of an older version
    now = {"dialect": chat.dialect.name, "template_options": dict(chat.template_options)}
    now["base model"] = base_model(path, EMBEDDED).id
    differing = [f"{name} {now[name]!r} (trained with {was!r})" for name, was in trained.items() if now[name] != was]
    if not differing:
        return ""
    return (
        f"The adapter '{adapter}' was trained otherwise than it is used here: {'; '.join(differing)}. Its figures say "
        "little then; use it as it was trained, unless this is what you want to know."
    )


def longest_context(path: str) -> int | None:
    """Tokens that a model reads at most, as its configuration says; None where it does not."""
    source = resolve(path)
    try:
        config = AutoConfig.from_pretrained(source.name, gguf_file=source.gguf_file)
    except (OSError, ValueError) as error:
        raise _unloadable("model", path, error) from None
    return longest_input(config)


def _unloadable(what: str, path: str, error: Exception) -> ModelError:
    return ModelError(
        f"The {what} of '{path}' cannot be loaded ({_first_line(error)}). Set model.path to a local folder or to a "
        f"Hugging Face id that this machine can reach, or to '{EMBEDDED}'."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
