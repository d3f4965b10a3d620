"""The policy and the two trainers, set up alike: prompts, LoRA, lengths, optimizer, and a reward drawn at random.

A drawn reward gives every group variance, so that no arm may skip work. No token ends a completion.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.arms import Channel
from benchmarks.cases import Case, prompt_tasks
from fissile import FissionGRPOTrainer
from fissile.config import ModelConfig
from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import TransformersEngine
from fissile.feedback import FeedbackSource
from fissile.tasks import Task, load_tasks
from fissile.training.policy_model import load_policy, load_tokenizer

PADDED_TOKENS = 6000
"""Tokens of a padded micro-batch at most: an update of SmolLM2-135M by vanilla TRL holds 2.3 MB for each of them."""

STEPS = 1_000_000
"""More than any benchmark runs: the parent says when it is over."""


@dataclass(frozen=True)
class Bench:
    """What the arms of a case have in common.

    Attributes:
        case: the setting.
        steps: optimizer steps until the prompts come again.
    """

    case: Case
    steps: int = 1

    @cached_property
    def model(self) -> ModelConfig:
        """The embedded model, LoRA on all linear layers, bfloat16."""
        return ModelConfig(adapter=self.case.adapter or None)

    @cached_property
    def chat(self) -> ChatFormat:
        """How prompts are written."""
        return ChatFormat(load_tokenizer(self.model.path), get_dialect(self.model.dialect))

    @cached_property
    def tasks(self) -> list[Task]:
        """The prompts of `steps` steps."""
        return prompt_tasks(load_tasks("bfcl"), self.chat, self.case.prompt_tokens, self.case.groups * self.steps)

    @cached_property
    def prompts(self) -> list[tuple[int, ...]]:
        """Their token ids."""
        return [self.chat.prompt_ids(task.messages, task.tools) for task in self.tasks]

    def policy(self) -> Any:
        """The base model under a trainable adapter."""
        torch.manual_seed(0)
        return load_policy(self.model)

    def facts(self, **more: Any) -> dict[str, Any]:
        """What a report says of an arm."""
        lengths = [len(ids) for ids in self.prompts]
        return {"threads": torch.get_num_threads(), "prompt_lengths": [min(lengths), max(lengths)], **more}

    def trl(self, folder: str | Path, rows: int) -> GRPOTrainer:
        """Vanilla TRL, `rows` rollouts a micro-batch."""
        prompts = [{"prompt": self.chat.dialect.instruct(task.messages, task.tools)} for task in self.tasks]
        return GRPOTrainer(
            model=self.policy(),
            args=self._config(folder, rows, plain=True),
            train_dataset=Dataset.from_list(prompts),
            processing_class=self.chat.tokenizer,
            reward_funcs=drawn_reward,
        )

    def fissile(
        self,
        folder: str | Path,
        rewards: Sequence[Callable[..., list[float]]] | None = None,
        endless: bool = True,
        source: FeedbackSource | None = None,
    ) -> FissionGRPOTrainer:
        """Ours, a group a micro-batch.

        Args:
            folder: for what a trainer writes.
            rewards: beside the composite reward; by default a drawn one.
            endless: no token ends a completion.
            source: of the diagnoses; by default `rules`.
        """
        trainer = FissionGRPOTrainer(
            model=self.policy(),
            args=self._config(folder, self.case.group_size),
            train_dataset=self.tasks,
            processing_class=self.chat.tokenizer,
            reward_funcs=[drawn_reward] if rewards is None else list(rewards),
            source=source,
        )
        if endless:
            trainer.engine = self.endless_engine(trainer.model)
        return trainer

    def endless_engine(self, policy: Any) -> TransformersEngine:
        """Our engine; as with TRL's `min_new_tokens`, every completion has the full length."""
        return TransformersEngine(policy, end_ids=(), pad_id=self.chat.tokenizer.pad_token_id or 0)

    def _config(self, folder: str | Path, rows: int, plain: bool = False) -> GRPOConfig:
        return GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=self.case.rows // rows,
            num_generations=self.case.group_size,
            max_steps=STEPS,
            max_completion_length=self.case.completion,
            generation_kwargs={"min_new_tokens": self.case.completion} if plain else None,
            learning_rate=1e-6,
            loss_type="grpo",
            temperature=1.0,
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
        )


def padded_rows(case: Case, longest: int) -> int:
    """Rows of a padded micro-batch: a whole group, or the largest part of one that stays within `PADDED_TOKENS`.

    Args:
        case: the setting.
        longest: tokens of the longest prompt.
    """
    fitting = max(1, PADDED_TOKENS // (longest + case.completion))
    return max(rows for rows in range(1, case.group_size + 1) if case.group_size % rows == 0 and rows <= fitting)


def drawn_reward(prompts: Sequence[Any], **columns: Any) -> list[float]:
    """A number from [0, 1) for each rollout, the same ones in every step."""
    draw = random.Random(len(prompts))
    return [draw.random() for _ in prompts]


class StepTurns(TrainerCallback):  # type: ignore[misc]
    """One turn is one optimizer step: from the sampling of the step to the end of its update."""

    def __init__(
        self,
        channel: Channel,
        facts: Callable[[], dict[str, Any]] = dict,
        before: Callable[[], Any] = lambda: None,
    ) -> None:
        """Take turns on a channel.

        Args:
            channel: the child's end.
            facts: asked after each step for what its report says beside the seconds.
            before: called when a step begins.
        """
        self._channel = channel
        self._facts = facts
        self._before = before
        self._start = 0.0

    def on_step_begin(self, *arguments: Any, **state: Any) -> None:
        """Wait for the turn; `Stopped` ends the training."""
        self._channel.wait()
        self._before()
        self._start = time.perf_counter()

    def on_step_end(self, *arguments: Any, **state: Any) -> None:
        """Report the step."""
        seconds = time.perf_counter() - self._start
        self._channel.report(seconds, **self._facts())


def phases(trainer: FissionGRPOTrainer) -> Callable[[], dict[str, Any]]:
    """Says, when called after each step, of which kind the step was."""
    before: Counter[str] = Counter()

    def last() -> dict[str, Any]:
        (kind,) = trainer.updates - before
        before[kind] += 1
        return {"kind": kind}

    return last
