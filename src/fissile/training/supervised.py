"""Supervised fine-tuning of the adapter: TRL's `SFTTrainer` on examples that are already tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from fissile.config import SupervisedConfig
from fissile.kernels.packed_attention import use_packed_attention, why_not_packable
from fissile.kernels.packing import PackedCollator
from fissile.kernels.scoring import score_labels_only
from fissile.training.checkpoints import explained_disk_errors

logger = logging.getLogger(__name__)

Example = dict[str, list[int]]
"""{"input_ids": prompt and answer, "labels": the answer, -100 over the prompt}."""


def example(prompt: Sequence[int], answer: Sequence[int]) -> Example:
    """An example of token ids, with the loss on the whole answer."""
    return {"input_ids": [*prompt, *answer], "labels": [-100] * len(prompt) + list(answer)}


def padded_rows(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """One example a row, padded on the right: `input_ids`, `attention_mask` and `labels`, [examples, longest]."""
    longest = max(len(one["input_ids"]) for one in examples)

    def rows(key: str, filler: int) -> torch.Tensor:
        return torch.tensor([[*one[key], *[filler] * (longest - len(one[key]))] for one in examples])

    lengths = torch.tensor([len(one["input_ids"]) for one in examples])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return {"input_ids": rows("input_ids", 0), "attention_mask": mask, "labels": rows("labels", -100)}


def fine_tune(
    policy: Any,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    config: SupervisedConfig,
    folder: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    resume_from: Path | None = None,
) -> float:
    """Train the adapter of `policy` in place, each example once an epoch; checkpoints go to `folder`.

    A model whose layers would read packed rows wrongly gets one example a row.

    Returns:
        The mean loss of all steps, those before an interruption included, in nats a token of the answers.
    """
    model = policy.get_base_model()
    if reason := why_not_packable(model):
        logger.warning("Supervised training without packed rows, which is slower: %s.", reason)
    steps = -(-len(examples) // config.batch_examples) * config.epochs
    arguments = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=config.micro_batch_examples,
        gradient_accumulation_steps=config.batch_examples // config.micro_batch_examples,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, steps // 20),
        logging_steps=1,
        save_steps=max(1, steps // 4),
        save_total_limit=1,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        bf16=_is_bfloat16(policy),
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        seed=seed,
        use_cpu=not torch.accelerator.is_available(),
    )
    trainer = _Trainer(
        model=policy,
        args=arguments,
        train_dataset=Dataset.from_list(list(examples)),
        processing_class=tokenizer,
        data_collator=padded_rows if reason else PackedCollator(config.batch_tokens),
        callbacks=list(callbacks),
    )
    score_labels_only(model, top1=True)
    if not reason:
        use_packed_attention(model)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    losses = [float(logged["loss"]) for logged in trainer.state.log_history if "loss" in logged]
    return sum(losses) / max(len(losses), 1)


class _Trainer(SFTTrainer):  # type: ignore[misc]
    """Writes no model card into a checkpoint, and says what a full disk means."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder says what was trained."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with explained_disk_errors(self.args.output_dir):
            super()._save_checkpoint(model, trial)


def _is_bfloat16(policy: Any) -> bool:
    """Whether the frozen weights are in bfloat16: then autocast brings the float32 adapters to them."""
    return bool(policy.get_base_model().dtype == torch.bfloat16)
