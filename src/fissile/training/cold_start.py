"""The supervised cold start: right calls, and optionally demonstrated recoveries from corrupted ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from trl.trainer.utils import add_fused_lm_head

from fissile.config import ColdStartConfig
from fissile.engines.attempts import Attempter
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenWriter
from fissile.faults import corrupt
from fissile.feedback import Diagnoser, get_source
from fissile.rollouts import Completion, LiveRollout, Response, Rollout, corrective_context, failure_of
from fissile.tasks import Task
from fissile.training.checkpoints import explained_disk_errors
from fissile.training.packed_attention import use_packed_attention
from fissile.training.packing import PackedCollator
from fissile.training.scoring import score_labels_only

Example = dict[str, list[int]]
"""{"input_ids": prompt and answer, "labels": the answer, -100 over the prompt}."""


def supervised_examples(
    tasks: Sequence[Task], attempter: Attempter, config: ColdStartConfig, seed: int
) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle.

    A share `config.recovery_share` of them are demonstrated recoveries; a task whose calls cannot be corrupted stays
    a plain example. The loss is on the right call only, never on the corrupted one.
    """
    draw = random.Random(seed)
    return list(_examples(_chosen(tasks, config, draw), attempter, config, draw))


def _examples(
    tasks: Sequence[Task], attempter: Attempter, config: ColdStartConfig, draw: random.Random
) -> Iterator[Example]:
    diagnoser = Diagnoser(get_source(config.feedback))
    for task in tasks:
        context = attempter.context(task)
        if draw.random() < config.recovery_share:
            faulty = corrupt(task, attempter.chat.dialect, draw)
            if faulty is not None:
                completion = Completion(attempter.chat.completion_ids(faulty.text))
                step = attempter.judge(context, completion)
                if step.attempt.failed:
                    (feedback,) = diagnoser.diagnose([failure_of(step, step.attempt)])
                    extended = attempter.extend(step, feedback.text)
                    context = corrective_context(step, step.attempt, feedback.text, extended)
        answer = attempter.chat.completion_ids(attempter.chat.dialect.render_calls(task.oracle_calls()))
        yield {
            "input_ids": [*context.prompt_ids, *answer],
            "labels": [-100] * len(context.prompt_ids) + list(answer),
        }


def live_examples(tasks: Sequence[Task], sampler: LiveSampler, config: ColdStartConfig, seed: int) -> list[Example]:
    """One example for each of the first `config.examples` tasks of a seeded shuffle: the whole episode.

    The world answers the demonstrated calls, and every response but a corrupted one carries loss. In a share
    `config.recovery_share` of the turns a corrupted call goes before the right ones, answered by the world with its
    error; where the world has no objection to it, or the calls cannot be corrupted, the turn stays plain.
    """
    draw = random.Random(seed)
    return [_episode_example(task, sampler, config.recovery_share, draw) for task in _chosen(tasks, config, draw)]


def _chosen(tasks: Sequence[Task], config: ColdStartConfig, draw: random.Random) -> list[Task]:
    """The first `config.examples` tasks of a shuffle."""
    shuffled = list(tasks)
    draw.shuffle(shuffled)
    return shuffled[: config.examples]


def _episode_example(task: Task, sampler: LiveSampler, recovery_share: float, draw: random.Random) -> Example:
    rollout = LiveRollout(sampler.make_environment(task), TokenWriter(sampler.chat), sampler.protocol)
    rollout.begin(task)
    while (context := rollout.context) is not None:
        goal = task.at_turn(context.turn)
        if goal.ground_truth:
            if draw.random() < recovery_share:
                _demonstrate_error(rollout, goal, sampler, draw)
            rollout.answer(sampler.demonstrate(goal.oracle_calls()))
        if rollout.context is not None:
            rollout.answer(sampler.demonstrate(()))
    record = rollout.record()
    prompt = record.context.prompt_ids
    labels = [
        token if learned else -100 for token, learned in zip(record.completion_ids, _learned(record), strict=True)
    ]
    return {"input_ids": [*prompt, *record.completion_ids], "labels": [-100] * len(prompt) + labels}


def _demonstrate_error(rollout: LiveRollout, goal: Task, sampler: LiveSampler, draw: random.Random) -> None:
    """Answer with a corrupted call, if the world answers it with an error and nothing else changes."""
    faulty = corrupt(goal, sampler.chat.dialect, draw)
    if faulty is None or rollout.context is None:
        return
    parsed = sampler.chat.dialect.parse(faulty.text)
    response = Response(faulty.text, parsed, Completion(sampler.chat.completion_ids(faulty.text)))
    trial = LiveRollout(sampler.make_environment(goal), TokenWriter(sampler.chat), sampler.protocol)
    trial.resume(rollout.context)
    trial.answer(response)
    step = trial.record().steps[0]
    if step.attempt.failed and not step.changed:
        rollout.answer(response)


def _learned(record: Rollout) -> Iterator[bool]:
    """For each token behind the prompt: whether a right response wrote it."""
    position = len(record.context.prompt_ids)
    for step in record.steps:
        yield from (False for _ in range(len(step.context.prompt_ids) - position))
        yield from (not step.attempt.failed for _ in step.completion.ids)
        position = len(step.context.prompt_ids) + len(step.completion.ids)


class _Examples(Dataset[Example]):
    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


def cold_start(
    policy: Any,
    examples: Sequence[Example],
    config: ColdStartConfig,
    folder: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    resume_from: Path | None = None,
) -> float:
    """Train the adapter of `policy` in place, each example once an epoch; checkpoints go to `folder`.

    Returns:
        The mean loss over the run, in nats a token of the answers.
    """
    steps = -(-len(examples) // config.batch_examples) * config.epochs
    arguments = TrainingArguments(
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
        seed=seed,
        use_cpu=not torch.accelerator.is_available(),
    )
    model = policy.get_base_model()
    add_fused_lm_head(model)
    score_labels_only(model)
    use_packed_attention(model)
    trainer = _ColdStartTrainer(
        model=policy,
        args=arguments,
        train_dataset=_Examples(examples),
        data_collator=PackedCollator(config.batch_tokens),
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    outcome = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    return float(outcome.training_loss)


class _ColdStartTrainer(Trainer):  # type: ignore[misc]
    """Asks the fused head for the loss, so that only the logits of labelled tokens are ever made."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with explained_disk_errors(self.args.output_dir):
            super()._save_checkpoint(model, trial)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch, fused_lm_head=True)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def _is_bfloat16(policy: Any) -> bool:
    """Whether the frozen weights are in bfloat16: then autocast brings the float32 adapters to them."""
    return bool(policy.get_base_model().dtype == torch.bfloat16)
