"""`FissionGRPOTrainer`: `trl.GRPOTrainer` with typed attempts, recovery groups and packed log-probabilities.

TRL keeps the losses, LoRA, checkpoints, accelerate, vLLM and the loggers. A few thin overrides attach the method:
which contexts a step samples from, how the outcome is observed, and how log-probabilities are computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Engine, TransformersEngine
from fissile.engines.injection import Injector
from fissile.engines.sampler import Sampler, refuse_uncallable
from fissile.environments.base import EnvironmentMaker
from fissile.environments.worlds import make_environment
from fissile.feedback import FeedbackSource, get_source
from fissile.methods import Batch, Host, Method, Plan, Scored, make_method
from fissile.rewards import RewardConfig
from fissile.rollouts import Limits
from fissile.training.engine_choice import EngineMaker, Engines, TRLEngine
from fissile.training.figures import log_report, step_figures
from fissile.training.groups import (
    check_loss_mask,
    in_row_order,
    learned_tokens,
    refuse_several_processes,
    refuse_split_evaluation,
    refuse_split_groups,
    room_for_context,
    training_limits,
)
from fissile.training.hooks import apply_credit, checked_plan, checked_revision, with_rewards
from fissile.training.resumable_trainer import ResumableTrainer
from fissile.training.spending import Budget
from fissile.training.step_sampler import StepSampler
from fissile.training.updates import has_advantage


class FissionGRPOTrainer(ResumableTrainer):
    """GRPO on tool calls, by the hooks of a method; by default with fission of the failed ones.

    Takes what `trl.GRPOTrainer` takes, in its order, and a method; what it does not take it refuses by name
    (`fissile.training.trl_settings`). Rows of `train_dataset` and `eval_dataset` are tasks: `messages`, `tools`,
    `ground_truth` (or `Task` objects). `reward_funcs` are added to the composite reward and receive the columns of the
    dataset, and `task` and `attempt`.
    """

    _tag_names = ("trl", "grpo", "fissile")
    _buffered_inputs: list[dict[str, Any]] | None  # TRL's: the micro-batches of the rollouts at hand

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        reward_processing_classes: Any = None,
        callbacks: Any = None,
        optimizers: Any = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
        *,
        method: Method | str | None = None,
        source: FeedbackSource | str | None = None,
        reward: RewardConfig | None = None,
        dialect: str = "hermes",
        template_options: Mapping[str, Any] | None = None,
        journal: Callable[[dict[str, Any]], None] = lambda record: None,
        fingerprint: str = "",
        make_engine: EngineMaker | None = None,
        make_environment: EnvironmentMaker = make_environment,
        limits: Limits | None = None,
        injector: Injector | None = None,
        budget: Budget | None = None,
        **others: Any,
    ) -> None:
        """Build the trainer.

        Args:
            model: as for TRL: a name, a model or a PEFT model.
            reward_funcs: more rewards, as for TRL; `reward_weights` may begin with one for the composite reward.
            args: as for TRL; `FissionGRPOConfig` also trains where there is no accelerator, and is the default.
            train_dataset: tasks, or a dataset of rows with the task columns.
            eval_dataset: the same, or several by name.
            processing_class: the tokenizer.
            reward_processing_classes: as for TRL.
            callbacks: as for TRL.
            optimizers: as for TRL.
            quantization_config: as for TRL.
            peft_config: as for TRL; adapters of virtual tokens cannot be sampled from.
            method: `FissionGRPO(per_group=2)`, an object of your own, or a name of `fissile.methods` for its default
                settings; "fission_grpo" by default, and "grpo" for the same run without fission.
            source: writes the diagnoses, whatever the method's settings say: a name, a simulator of
                `fissile.simulator.sources.make_source`, or any object of your own that is a `FeedbackSource`. It may
                fail as it likes; the leak guard stands over it, and `rules` stands in for it.
            reward: the composite reward.
            dialect: the tool-call format.
            template_options: variables of the chat template, as `GRPOConfig.chat_template_kwargs`.
            journal: receives the method's records, such as one for each intercepted failure.
            fingerprint: of the configuration; a checkpoint of another one is refused.
            make_engine: from the policy and the chat format, who samples; `TransformersEngine` by default. With
                `use_vllm=True` TRL samples.
            make_environment: gives each rollout of a task with a live world its own; BFCL's need no other.
            limits: where a live rollout is cut; by default after BFCL's 21 steps, and where the model has no room.
            injector: forces failures in the explore contexts of training; see `fissile.engines.injection`.
            budget: the training ends after the update that spends it, if that is before `max_steps`. For one process.
            others: arguments of `trl.GRPOTrainer` that are refused.

        Raises:
            ConfigError: a setting or an argument of TRL's that is not honoured, a batch shape that splits a group, what
                cannot make an update, an unknown method, dialect or feedback, or what several processes cannot do.
            DataError: a row that is no task.
        """
        self._progress = 0.0
        self._scored: Sequence[Scored] = ()
        self._rewards = torch.empty(0)  # of the rollouts at hand, as TRL weights and sums them
        super().__init__(
            model=model,
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            reward_processing_classes=reward_processing_classes,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
            template_options=template_options,
            fingerprint=fingerprint,
            budget=budget,
            others=others,
        )
        refuse_split_groups(self.args.per_device_train_batch_size, self.args.steps_per_generation, self.num_generations)
        self.chat = ChatFormat(self._tokenizer, get_dialect(dialect), self.args.chat_template_kwargs)
        self.eos_token_ids: list[int] = sorted({*self.eos_token_ids, *self.chat.end_ids})
        room = room_for_context(self.model, self.max_completion_length)
        limits = training_limits(limits, room if self._in_rounds else None)  # else the engine refuses it
        refuse_uncallable(self.chat, list(self.tasks.values()))
        sampler = Sampler(self.chat, make_environment, limits)
        self.method: Method = make_method(method)
        refuse_several_processes(
            self.accelerator.num_processes,
            in_rounds=self.use_vllm and (self._in_rounds or self.method.samples_again),
            counted=self._budget != Budget(),
        )
        self.groups = StepSampler(sampler, self.tasks, reward or RewardConfig(), injector)
        self._prepare_packing(self.args.cast_lm_head_to_fp32)
        self.engine: Engine = self._engine(make_engine)
        asked = self.method.settings.source or None if source is None else source
        self.method.attach(
            Host(
                self.tasks,
                sampler.writer,
                get_source(asked) if isinstance(asked, str) else asked,
                journal,
                self.groups.draw,
                room,
                self.args.per_device_train_batch_size * self.args.steps_per_generation,
                self.num_generations,
                self.args.seed,
            )
        )

    @property
    def sampler(self) -> Sampler:
        """Makes the contexts of tasks and continues them."""
        return self.groups.sampler

    @property
    def _in_rounds(self) -> bool:
        """Whether a rollout may take several responses."""
        return any(task.world is not None for task in self.tasks.values())

    # --- the overrides -------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Choose the contexts of the step, let TRL sample and score, give credit, then let the method observe."""
        training = self.model.training
        group = self.num_generations if training else self.num_generations_eval
        method = self.method if training else Method()  # an evaluation only explores
        self._progress = self.share_done
        refuse_split_evaluation(len(inputs), group)
        explore = [self.groups.context(self._rows.task(row)) for row in inputs[::group]]
        if training and not self._begun:
            method.begin(self.groups.draw, partial(self._sample, forced=False))
            self._begun = True
        batch = self._sample(checked_plan(method, method.plan(explore, group, self.state.global_step), len(inputs)))
        batch = checked_revision(method, method.revise(batch, self._sample), len(inputs))
        plan, self._scored = batch.plan, batch.scored
        rows = [self._rows.row(context) for context in plan.contexts for _ in range(plan.samples)]
        with self._group_size(plan.samples):
            tensors: dict[str, Any] = super()._generate_and_score_completions(rows)
        check_loss_mask(tensors, [scored.rollout for scored in self._scored], self.mask_truncated_completions)
        apply_credit(method, with_rewards(batch, self._rewards, self.accelerator.process_index), tensors, self.beta)
        method.observe(batch, self.state.global_step)
        if training:
            self.learning.count(tensors, [scored.rollout.lost for scored in self._scored])
            self._count(plan, tensors["advantages"])
        else:
            for name, value in step_figures(plan, self._scored).items():
                self._metrics["eval"][name.removeprefix("explore/")].append(value)
        tensors["row"] = torch.arange(len(rows), device=tensors["advantages"].device)
        return tensors

    def _calculate_rewards(self, *arguments: Any) -> torch.Tensor:
        """TRL's [rows, functions]; what they sum up to is kept for the method."""
        rewards: torch.Tensor = super()._calculate_rewards(*arguments)
        weighted = rewards * self.reward_weights.to(rewards.device)
        self._rewards = weighted.nansum(dim=1).masked_fill(rewards.isnan().all(dim=1), torch.nan)
        return rewards

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """TRL's, with the rows of a group side by side again: TRL shuffles them over the micro-batches."""
        before = self._buffered_inputs
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is not None and self._buffered_inputs is not before:
            self._buffered_inputs = in_row_order(self._buffered_inputs)
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    # --- sampling and rewards ------------------------------------------------------------------------------------

    def _roll_out(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout hook: what was sampled for the step, each attempt with its reward."""
        rollouts = [scored.rollout for scored in self._scored]
        end = [self._tokenizer.eos_token_id]  # stands in where the engine failed, outside the loss
        return {
            "prompt_ids": [list(rollout.context.prompt_ids) for rollout in rollouts],
            "completion_ids": [list(rollout.completion_ids) or end for rollout in rollouts],
            "logprobs": [list(rollout.logprobs or [0.0]) for rollout in rollouts] if self.use_vllm else None,
            "env_mask": [learned_tokens(rollout) for rollout in rollouts],
            "task": [rollout.context.task for rollout in rollouts],
            "attempt": [rollout.outcome for rollout in rollouts],
            "composite": [None if scored.reward is None else scored.reward.total for scored in self._scored],
        }

    def _sample(self, plan: Plan, key: str = "", *, forced: bool = True) -> Batch:
        """The rewarded rollouts of a plan, in training with the failures that are forced in explore contexts.

        Args:
            plan: the groups.
            key: tells several draws of a step apart.
            forced: False for no forced failures.
        """
        step = self.state.global_step
        if not self.model.training:  # every batch of an evaluation its own numbers
            key = f"evaluation/{plan.contexts[0].task.id}"
        elif forced:
            plan = self.groups.injected(plan, step)
        sampling = replace(self._sampling, seed=self._step_seed(key))
        scored = self.groups.sample(self.engine, plan, sampling, self._progress)
        if isinstance(self.engine, TransformersEngine):
            self.engine.forget()  # the weights are about to change, and the update needs the memory
        if self.model.training:
            self.spent.add(entry.rollout for entry in scored)
        return Batch(plan, tuple(scored), step, self._step_key())

    def _step_key(self) -> str:
        """Independent of the global random state, so that a resumed run draws the same."""
        micro_step = self._step % self.args.gradient_accumulation_steps  # TRL's own count starts anew on a resume
        return f"{self.args.seed}/{self.state.global_step}/{micro_step}/{self.accelerator.process_index}"

    def _step_seed(self, draw: str = "") -> int:
        key = "/".join(part for part in (self._step_key(), draw) if part)
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])

    # --- counting ------------------------------------------------------------------------------------------------

    def _count(self, plan: Plan, advantages: torch.Tensor) -> None:
        """Log what the plan gave. Rates are per rollout or per group of this process."""
        groups = has_advantage(advantages).view(-1, plan.samples)
        silent = int((~groups.any(dim=1)).sum())
        self.steps_without_signal = self.steps_without_signal + 1 if silent == len(groups) else 0
        self.updates[plan.phase.value] += 1
        log = self._metrics["train"]
        log[f"{plan.phase.value}/zero_variance_groups"].append(silent / len(groups))
        log_report(log, {**step_figures(plan, self._scored), **self.method.report()})
        for name, count in asdict(self.spent).items():
            log[f"spent/{name}"] = [float(count)]  # cumulative: the latest, not a mean

    # --- wiring --------------------------------------------------------------------------------------------------

    def _engine(self, make_engine: EngineMaker | None) -> Engine:
        if self.use_vllm:
            return TRLEngine.ending_at(self.chat.end_ids, self)
        make = make_engine or partial(Engines().over, remember=self._in_rounds)  # later steps continue earlier contexts
        return make(self.accelerator.unwrap_model(self.model), self.chat)
