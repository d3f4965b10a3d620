"""Teaching an error simulator, and loading or merging one that was taught."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, TrainerCallback

from fissile.config import EngineConfig, ModelConfig
from fissile.config.simulator_recipe import SimulatorRecipe
from fissile.dialects import ChatFormat, get_dialect
from fissile.engines.base import longest_input
from fissile.errors import ConfigError, RunError
from fissile.feedback.source_names import LEARNED
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.simulator.learned import LearnedSource
from fissile.simulator.prompt import SimulatorPrompt
from fissile.simulator.settings import LearnedSettings
from fissile.training.callbacks import CompleteMark
from fissile.training.checkpoints import explained_disk_errors, load_state, resume_point
from fissile.training.engine_choice import Engines
from fissile.training.policy_model import load_policy, load_tokenizer, save_adapter
from fissile.training.simulator_adapter_card import adapter_card
from fissile.training.supervised import Example, example, fine_tune

logger = logging.getLogger(__name__)

PROMPT_FILE = "prompt.txt"
"""In an adapter's folder: the prompt that it was taught with."""


def simulator_examples(rows: Sequence[DiagnosedFailure], chat: ChatFormat, limit: int) -> list[Example]:
    """The first `limit` training rows as examples: the prompt, then fields and sentence, which carry loss."""
    prompt = SimulatorPrompt.named(LEARNED)
    shown = [row for row in rows if row.side == "train"][:limit]
    return [
        example(chat.prompt_ids(prompt.messages(row.failure), ()), chat.completion_ids(row.written)) for row in shown
    ]


@dataclass(frozen=True)
class TaughtSimulator:
    """What a training says of itself.

    Attributes:
        examples: rows that it was taught with.
        loss: the mean over the training, in nats a token of the diagnoses.
    """

    examples: int
    loss: float


def train_simulator(
    recipe: SimulatorRecipe,
    rows: Sequence[DiagnosedFailure],
    folder: Path,
    fingerprint: str,
    callbacks: Sequence[TrainerCallback] = (),
) -> TaughtSimulator:
    """Teach the adapter, and save it at `folder / "adapter"`; an interrupted training goes on.

    `prompt.txt` in it is what the model must be asked with (of a server: `simulator.endpoint.prompt_file`).

    Args:
        recipe: model and training.
        rows: the data.
        folder: of the simulator.
        fingerprint: of all that shapes the training; a checkpoint of another one is refused.
        callbacks: of the trainer.

    Raises:
        RunError: a checkpoint of another recipe, or one that cannot be written.
    """
    chat = chat_of(recipe.model)
    torch.manual_seed(recipe.seed)  # of the fresh adapter, whatever this process did before
    policy = load_policy(recipe.model)
    examples = simulator_examples(rows, chat, recipe.training.examples)
    checkpoints, adapter = folder / "checkpoints", folder / "adapter"
    checkpoint = resume_point(checkpoints)
    if checkpoint is not None:
        load_state(str(checkpoint), fingerprint)
    loss = fine_tune(
        policy,
        chat.tokenizer,
        examples,
        recipe.training,
        checkpoints,
        recipe.seed,
        [*callbacks, CompleteMark(fingerprint)],
        resume_from=checkpoint,
    )
    if adapter.exists():  # of a training that was cut off before it was noted as done
        shutil.rmtree(adapter)
    texts = {
        PROMPT_FILE: SimulatorPrompt.named(LEARNED).text,
        "README.md": adapter_card(recipe, rows, len(examples), loss),
    }
    save_adapter(policy, adapter, texts, chat, {"max_new_tokens": recipe.max_new_tokens})
    return TaughtSimulator(len(examples), loss)


def check_adapter(settings: LearnedSettings) -> Path:
    """The adapter's folder.

    Raises:
        ConfigError: none is named, or it is not there.
    """
    if settings.adapter is None:
        raise ConfigError(
            "The source 'learned' needs an adapter: set simulator.learned.adapter to the folder that `fissile simulate "
            "train` leaves, usually runs/simulator/adapter."
        )
    folder = Path(settings.adapter).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"There is no adapter at '{settings.adapter}'. Make one: fissile simulate train recipes/simulator.toml"
        )
    return folder


def load_learned(settings: LearnedSettings) -> LearnedSource:
    """The source `learned`: the adapter is merged once, so that each call costs what the bare model costs.

    It samples with transformers, whatever the policy samples with: a process has room for one vLLM.

    Raises:
        ConfigError: the adapter is not there.
        ModelError: model or adapter cannot be loaded.
    """
    adapter = check_adapter(settings)
    model, chat = _merged(settings, adapter)
    positions = longest_input(model.config)
    room = None if positions is None else positions - settings.max_new_tokens
    if not (adapter / PROMPT_FILE).exists():
        logger.warning(
            "'%s' holds no %s: this adapter is asked with the package's prompt. Was it taught with another one, put "
            "that there.",
            adapter,
            PROMPT_FILE,
        )
    prompt = SimulatorPrompt.from_file(prompt_file(adapter))
    engine = Engines(EngineConfig()).over(model.requires_grad_(False), chat)
    return LearnedSource(engine, chat, prompt, settings.max_new_tokens, room)


def merge_adapter(settings: LearnedSettings, folder: Path) -> Path:
    """Write the model with its adapter in its weights, with tokenizer, chat template and prompt, as servers load it.

    Args:
        settings: of the model and its adapter.
        folder: exists afterwards exactly when it is whole.

    Raises:
        ConfigError: the adapter is not there.
        ModelError: model or adapter cannot be loaded.
        RunError: the folder is there already, or cannot be written.
    """
    adapter = check_adapter(settings)
    if folder.exists():
        raise RunError(f"'{folder}' is there already. Delete it, or name another folder with --to.")
    model, chat = _merged(settings, adapter)
    tokenizer: Any = chat.tokenizer
    partial = folder.with_name(f".{folder.name}.partial")
    with explained_disk_errors(folder):
        ends = {"eos_token_id": sorted(chat.end_ids), "pad_token_id": tokenizer.pad_token_id}
        model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=settings.max_new_tokens, **ends)
        model.save_pretrained(str(partial))
        tokenizer.save_pretrained(str(partial))
        shutil.copyfile(prompt_file(adapter), partial / PROMPT_FILE)
        partial.rename(folder)
    return folder


def _merged(settings: LearnedSettings, adapter: Path) -> tuple[Any, ChatFormat]:
    """The model with its adapter in its weights, and its chat format."""
    config = ModelConfig(path=settings.model, dtype=settings.dtype, template_options=settings.template_options)
    with torch.random.fork_rng():  # a policy that is made after it starts as it would have without
        return load_policy(config, adapter).merge_and_unload().eval(), chat_of(config)


def prompt_file(adapter: str | Path) -> Path:
    """The prompt that an adapter was taught with: the file in its folder, else the package's."""
    own = Path(adapter).expanduser().resolve() / PROMPT_FILE
    return own if own.exists() else SimulatorPrompt.path_of(LEARNED)


def chat_of(model: ModelConfig) -> ChatFormat:
    """The chat format of a model."""
    return ChatFormat(load_tokenizer(model.path), get_dialect(model.dialect), model.template_options)
