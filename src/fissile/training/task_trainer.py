"""`TaskGRPOTrainer`: what a user gives, checked and turned into what TRL takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from trl import GRPOConfig
from trl.trainer.utils import get_config_model_id

from fissile.errors import ConfigError
from fissile.training.grpo_config import FissionGRPOConfig
from fissile.training.packed_trainer import PackedGRPOTrainer
from fissile.training.task_rows import TaskRows
from fissile.training.trl_settings import (
    check_arguments,
    check_model_arguments,
    check_settings,
    reward_weights_of,
    sampling_of,
    template_options_of,
)
from fissile.training.updates import Learning, refuse_frozen, refuse_idle_settings, trainable_bits


class TaskGRPOTrainer(PackedGRPOTrainer):
    """TRL's trainer over datasets of tasks. Subclasses sample and reward: `_roll_out`.

    Attributes:
        tasks: the training tasks by their ids.
        learning: whether anything was learned so far.
    """

    def __init__(
        self,
        *,
        model: Any,
        args: GRPOConfig | None,
        reward_funcs: Any,
        train_dataset: Any,
        eval_dataset: Any,
        reward_processing_classes: Any,
        optimizers: Any,
        quantization_config: Any,
        template_options: Mapping[str, Any] | None,
        least_rollouts: int | None,
        others: Mapping[str, Any],
        **trl_arguments: Any,
    ) -> None:
        """See `FissionGRPOTrainer`.

        Args:
            model: as for TRL.
            args: as for TRL; None for the defaults.
            reward_funcs: beside the composite reward.
            train_dataset: tasks, or rows of them.
            eval_dataset: the same, or several by name.
            reward_processing_classes: of `reward_funcs`.
            optimizers: as for TRL.
            quantization_config: as for TRL.
            template_options: variables of the chat template.
            least_rollouts: the budget of rollouts, which must last for a step; None for no limit.
            others: arguments that are refused, unless they say nothing.
            trl_arguments: what TRL takes as it is.

        Raises:
            ConfigError: a setting that is not honoured, or with which no update could be made.
            DataError: a row that is no task.
        """
        check_arguments(others)
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = FissionGRPOConfig(f"{name.split('/')[-1]}-GRPO")
        check_settings(args)
        check_model_arguments(model, args, quantization_config)
        functions = reward_funcs if isinstance(reward_funcs, list | tuple) else [reward_funcs] if reward_funcs else []
        args = copy.copy(args)
        args.reward_weights = reward_weights_of(args, len(functions))
        args.chat_template_kwargs = template_options_of(args, template_options)
        self._sampling = sampling_of(args)
        self._rows = TaskRows(keep_columns=bool(functions) and not args.remove_unused_columns)
        train_rows = self._rows.read_train(train_dataset)
        self.tasks = self._rows.train
        self.learning = Learning()
        refuse_idle_settings(args, len(self.tasks), least_rollouts, optimizers[0] is not None)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*rollout_func.*experimental.*")
            super().__init__(
                model=model,
                args=args,
                reward_funcs=[_composite, *functions],
                train_dataset=train_rows,
                eval_dataset=self._rows.read_eval(eval_dataset),
                reward_processing_classes=_aligned(reward_processing_classes),
                optimizers=optimizers,
                quantization_config=quantization_config,
                rollout_func=self._roll_out,
                **trl_arguments,
            )
        refuse_frozen(self.model)
        self._refuse_what_engines_cannot()
        self._start = trainable_bits(self.model)

    def train(self, resume_from_checkpoint: str | bool | None = None, *arguments: Any, **options: Any) -> Any:
        """TRL's, and what it returns. It goes on from the checkpoint that is named here or in `args`.

        Raises:
            RunError: the training is over, and no update was made.
        """
        if resume_from_checkpoint is None:
            resume_from_checkpoint = self.args.resume_from_checkpoint
        output = super().train(resume_from_checkpoint, *arguments, **options)
        self.require_update()
        return output

    def require_update(self) -> None:
        """Refuse to call what was trained so far a success where it is nothing.

        Raises:
            RunError: no update was made.
        """
        moved = not self._start or trainable_bits(self.model) != self._start
        seen = torch.tensor([[self.learning.with_signal > 0, moved]], device=self.accelerator.device)
        learned, moved = self.accelerator.gather(seen).view(-1, 2).any(dim=0).tolist()
        self.learning.require(self.state.global_step, learned, moved)

    def evaluate(self, eval_dataset: Any = None, *arguments: Any, **options: Any) -> dict[str, float]:
        """TRL's; `eval_dataset` holds tasks, as the constructor's does."""
        metrics: dict[str, float] = super().evaluate(self._rows.read_eval(eval_dataset), *arguments, **options)
        return metrics

    def predict(self, test_dataset: Any, *arguments: Any, **options: Any) -> Any:
        """TRL's; `test_dataset` holds tasks, as the constructor's datasets do."""
        return super().predict(self._rows.read_eval(test_dataset, "test_dataset"), *arguments, **options)

    def _roll_out(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """TRL's rollout hook; its column `composite` is the reward."""
        raise NotImplementedError

    @contextmanager
    def _group_size(self, samples: int) -> Iterator[None]:
        """TRL normalises over `num_generations` consecutive rows; a recovery group may have another size."""
        name = "num_generations" if self.model.training else "num_generations_eval"
        before = getattr(self, name)
        setattr(self, name, samples)
        try:
            yield
        finally:
            setattr(self, name, before)

    def _set_signature_columns_if_needed(self) -> None:
        """What `remove_unused_columns` keeps."""
        self._signature_columns = ["prompt", "task_id"]

    def _refuse_what_engines_cannot(self) -> None:
        """What only shows when TRL has loaded the model: images, and weights in pieces."""
        if self._is_vlm:
            raise ConfigError(
                "The model has a processor for images, and only text is trained on. Give its tokenizer as "
                "processing_class."
            )
        plugin = self.accelerator.state.deepspeed_plugin
        in_pieces = self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)
        if in_pieces and not self.use_vllm:
            raise ConfigError(
                "FSDP and DeepSpeed ZeRO-3 split the weights, and the local engine reads whole ones. Set "
                "use_vllm=True, or train with DDP or ZeRO-2."
            )


def _composite(prompts: list[Any], composite: list[float | None], **columns: Any) -> list[float | None]:  # noqa: ARG001
    """The composite reward, which the rollout already holds."""
    return composite


_composite.__name__ = "composite"


def _aligned(classes: Any) -> Any:
    """TRL's `reward_processing_classes`, with none for the composite reward."""
    if classes is None:
        return None
    return [None, *(classes if isinstance(classes, list | tuple) else [classes])]
