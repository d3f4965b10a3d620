"""`FissionGRPOTrainer`: `trl.GRPOTrainer` with typed attempts, recovery groups and packed log-probabilities.

TRL keeps the losses, LoRA, checkpoints, accelerate, vLLM and the loggers. A few thin overrides attach the method:
which contexts a step samples from, how the outcome is observed, and how log-probabilities are computed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from trl import GRPOConfig, GRPOTrainer

from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Engine, TransformersEngine
from fissile.engines.attempts import Sampler
from fissile.engines.injection import Injector
from fissile.engines.live import EnvironmentMaker, LiveSampler
from fissile.engines.samplers import make_sampler
from fissile.environments.worlds import make_environment
from fissile.feedback import FeedbackSource
from fissile.methods import (
    GRPO,
    FissionSettings,
    Method,
    OfflineGRPO,
    OfflineSettings,
    Phase,
    Plan,
    Scored,
    make_method,
)
from fissile.rewards import RewardConfig
from fissile.rollouts import Limits
from fissile.training.callbacks import BudgetWatch
from fissile.training.checkpoints import explained_disk_errors, load_state, save_state
from fissile.training.engines import EngineMaker, Engines, TRLEngine
from fissile.training.figures import step_figures
from fissile.training.groups import (
    check_loss_mask,
    in_row_order,
    learned_tokens,
    refuse_several_processes,
    refuse_split_evaluation,
    refuse_split_groups,
    room_for_context,
)
from fissile.training.spending import Budget, Limit, Spent
from fissile.training.step_sampler import Sampled, StepSampler
from fissile.training.task_trainer import TaskGRPOTrainer
from fissile.training.updates import Learning


class FissionGRPOTrainer(TaskGRPOTrainer):
    """GRPO on tool calls, with fission of the failed ones.

    Takes what `trl.GRPOTrainer` takes, in its order, and the fission settings; what it does not take it refuses by name
    (`fissile.training.trl_settings`). Rows of `train_dataset` and `eval_dataset` are tasks: `messages`, `tools`,
    `ground_truth` (or `Task` objects). `reward_funcs` are added to the composite reward and receive the columns of the
    dataset, and `task` and `attempt`.
    """

    _tag_names = ("trl", "grpo", "fissile")
    _buffered_inputs: list[dict[str, Any]] | None  # TRL's: the micro-batches of the rollouts at hand
    _is_saving = False

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
        fission: FissionSettings | None = None,
        source: FeedbackSource | None = None,
        method: str = "fission_grpo",
        reward: RewardConfig | None = None,
        dialect: str = "hermes",
        template_options: Mapping[str, Any] | None = None,
        journal: Callable[[dict[str, Any]], None] = lambda record: None,
        fingerprint: str = "",
        make_engine: EngineMaker | None = None,
        make_environment: EnvironmentMaker = make_environment,
        limits: Limits | None = None,
        injector: Injector | None = None,
        offline: OfflineSettings | None = None,
        budget: Budget | None = None,
        refills: int = 0,
        **others: Any,
    ) -> None:
        """Build the trainer.

        Args:
            model: as for TRL: a name, a model or a PEFT model.
            reward_funcs: more rewards, as for TRL; `reward_weights` has one weight for each, or one more, the first,
                for the composite reward.
            args: as for TRL; `FissionGRPOConfig` also trains where there is no accelerator, and is the default.
            train_dataset: tasks, or a dataset of rows with the task columns.
            eval_dataset: the same, or several by name.
            processing_class: the tokenizer.
            reward_processing_classes: as for TRL.
            callbacks: as for TRL.
            optimizers: as for TRL.
            quantization_config: as for TRL.
            peft_config: as for TRL; adapters of virtual tokens cannot be sampled from.
            fission: the knobs of Fission-GRPO.
            source: writes the diagnoses, whatever `fission.feedback` says: a simulator of
                `fissile.simulator.sources.make_source`, or any object of your own that is a `FeedbackSource`. It may
                fail as it likes; the leak guard stands over it, and `rules` stands in for it.
            method: "fission_grpo", "grpo" for the same run without fission, or "offline_grpo" for corrections of the
                starting policy only.
            reward: the composite reward.
            dialect: the tool-call format.
            template_options: variables of the chat template, such as {"enable_thinking": False} for Qwen 3; the same as
                `GRPOConfig.chat_template_kwargs`.
            journal: receives one record for each intercepted failure and each fission.
            fingerprint: of the configuration; a checkpoint of another one is refused.
            make_engine: from the policy and the chat format, who samples; `TransformersEngine` by default. With
                `use_vllm=True` TRL samples.
            make_environment: gives each rollout of a task with a live world its own; BFCL's need no other.
            limits: where a live rollout is cut; by default after BFCL's 21 steps, and where the model has no room.
            injector: forces failures in the explore contexts of training; see `fissile.engines.injection`.
            offline: what "offline_grpo" collects.
            budget: the training ends after the update that spends it, if that is before `max_steps`. For one process.
            refills: rounds of dynamic sampling in an explore step at most; see `StepSampler.refilled`.
            others: arguments of `trl.GRPOTrainer` that are refused.

        Raises:
            ConfigError: a setting or an argument of TRL's that is not honoured, a batch shape that splits a group, what
                cannot make an update, an unknown method, dialect or feedback, or what several processes cannot do.
            DataError: a row that is no task.
        """
        self._fingerprint = fingerprint
        self._budget = budget or Budget()
        self._refills = refills
        self._progress = 0.0
        self.spent = Spent()
        self._scored: list[Scored] = []
        self.updates: Counter[str] = Counter()
        self.steps_without_signal = 0
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
            least_rollouts=self._budget.rollouts,
            others=others,
        )
        refuse_split_groups(self.args.per_device_train_batch_size, self.args.steps_per_generation, self.num_generations)
        self.chat = ChatFormat(self._tokenizer, get_dialect(dialect), self.args.chat_template_kwargs)
        self.eos_token_ids: list[int] = sorted({*self.eos_token_ids, *self.chat.end_ids})
        room = room_for_context(self.model, self.max_completion_length)
        limits = limits or Limits(context_tokens=room)
        sampler = make_sampler(self.chat, list(self.tasks.values()), make_environment, limits)
        refuse_several_processes(
            self.accelerator.num_processes,
            in_rounds=self.use_vllm and (isinstance(sampler, LiveSampler) or refills > 0),
            counted=self._budget != Budget(),
        )
        self.groups = StepSampler(sampler, self.tasks, reward or RewardConfig(), injector)
        self._prepare_packing(self.args.cast_lm_head_to_fp32)
        self.engine: Engine = self._engine(make_engine)
        self.method: Method = make_method(
            method,
            fission or FissionSettings(),
            offline or OfflineSettings(),
            source,
            sampler.extend,
            self.tasks,
            journal,
            room,
        )
        if not isinstance(self.method, GRPO):
            rollouts = self.args.per_device_train_batch_size * self.args.steps_per_generation
            (fission or FissionSettings()).refuse_remainder(rollouts, self.num_generations)
        self.add_callback(BudgetWatch(lambda: self._budget.reached(self.spent) is not None))

    @property
    def sampler(self) -> Sampler:
        """Makes the contexts of tasks and continues them."""
        return self.groups.sampler

    @property
    def injector(self) -> Injector | None:
        """Forces failures in the explore contexts of training."""
        return self.groups.injector

    @property
    def ended_by(self) -> Limit | Literal["steps"] | None:
        """Which limit of the training is reached, a budget before the steps; None as long as it goes on."""
        steps = self.args.max_steps if self.args.max_steps > 0 else self.state.max_steps
        return self._budget.reached(self.spent) or ("steps" if 0 < steps <= self.state.global_step else None)

    def train_from(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint on if there is one. Where that is the last, it is only loaded.

        Raises:
            RunError: the checkpoint is incomplete, or was written under another configuration; or no update was made.
        """
        if checkpoint is not None:
            state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
            saved = load_state(str(checkpoint), self._fingerprint, self.accelerator.process_index)
            spent = Spent(**saved.get("spent", {}))
            steps = self.args.max_steps if self.args.max_steps > 0 else state.max_steps
            if state.global_step >= steps or self._budget.reached(spent):
                self._load_from_checkpoint(str(checkpoint))
                self.state = state
                self.require_update()
                return
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    # --- the overrides -------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Choose the contexts of the step, let TRL sample and score, then let the method observe."""
        training = self.model.training
        group = self.num_generations if training else self.num_generations_eval
        self._progress = self._share_done()
        refuse_split_evaluation(len(inputs), group)
        explore = [self.groups.context(self._rows.task(row)) for row in inputs[::group]]
        method: Method = self.method if training else GRPO()
        if training:
            self._collect()
        sampled = self._sampled(method.plan(explore, group, self.state.global_step))
        plan, self._scored = sampled.plan, sampled.scored
        rows = [self._rows.row(context) for context in plan.contexts for _ in range(plan.samples)]
        with self._group_size(plan.samples):
            batch: dict[str, Any] = super()._generate_and_score_completions(rows)
        check_loss_mask(batch, [scored.rollout for scored in self._scored], self.mask_truncated_completions)
        method.observe(*sampled.observed, self.state.global_step)
        if training:
            if self._refills and plan.phase is Phase.EXPLORE:
                self._metrics["train"]["explore/refilled"].append(float(len(sampled.discarded)))
            self.learning.count(batch, [scored.rollout.lost for scored in self._scored])
            self._count(plan, batch["advantages"])
        else:
            for name, value in step_figures(plan, self._scored).items():
                self._metrics["eval"][name.removeprefix("explore/")].append(value)
        batch["row"] = torch.arange(len(rows), device=batch["advantages"].device)
        return batch

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

    def _sampled(self, plan: Plan) -> Sampled:
        """The rollouts of a plan; in training with what is forced, and with others in the place of silent groups."""
        step = self.state.global_step
        if self.model.training:
            plan = self.groups.injected(plan, step)
        sampled = Sampled(plan, self._sample(plan))
        if self.model.training and self._refills and plan.phase is Phase.EXPLORE:
            sampled = self.groups.refilled(sampled, self._refills, step, f"refill/{self._step_key()}", self._sample)
        return sampled

    def _sample(self, plan: Plan, draw: str = "") -> list[Scored]:
        """The rewarded rollouts of a plan; `draw` tells several draws of a step apart."""
        if not self.model.training:  # every batch of an evaluation its own numbers
            draw = f"evaluation/{plan.contexts[0].task.id}"
        sampling = replace(self._sampling, seed=self._step_seed(draw))
        scored = self.groups.sample(self.engine, plan, sampling, self._progress)
        if isinstance(self.engine, TransformersEngine):
            self.engine.forget()  # the weights are about to change, and the update needs the memory
        if self.model.training:
            self.spent.add(entry.rollout for entry in scored)
        return scored

    def _collect(self) -> None:
        """Before the first update: the corrections of the starting policy, where the method asks for them."""
        if isinstance(self.method, OfflineGRPO) and not self.method.collected:
            contexts = self.groups.draw(self.method.offline.tasks, f"collection/{self.args.seed}")
            self.method.collect(contexts, lambda plan: self._sample(plan, f"collection/{plan.contexts[0].task.id}"))

    def _share_done(self) -> float:
        """Share of the training that is done, in [0, 1]: by steps, or by a budget where that is more."""
        steps: float = self.state.global_step / max(1, self.state.max_steps)
        return max(steps, self._budget.share(self.spent))

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
        groups = advantages.view(-1, plan.samples)
        silent = int((groups == 0).all(dim=1).sum())
        self.steps_without_signal = self.steps_without_signal + 1 if silent == len(groups) else 0
        self.updates[plan.phase.value] += 1
        log = self._metrics["train"]
        log[f"{plan.phase.value}/zero_variance_groups"].append(silent / len(groups))
        for name, value in (step_figures(plan, self._scored) | self.method.figures()).items():
            log[name].append(value)
        for name, count in self.method.counts().items():
            log[f"corrections/{name}"].append(float(count))
        for name, count in asdict(self.spent).items():
            log[f"spent/{name}"] = [float(count)]  # cumulative: the latest, not a mean

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's, but none beside a checkpoint that stays on disk: it would name no model."""
        if not self._is_saving or self.args.push_to_hub or self.hub_model_id is not None:
            super().create_model_card(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's checkpoint, then the method's state; the state file, written last, marks the checkpoint complete."""
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        self._is_saving = True
        with explained_disk_errors(folder):
            super()._save_checkpoint(model, trial)
        self._is_saving = False
        save_state(
            folder,
            {
                "fingerprint": self._fingerprint,
                "method": self.method.state_dict(),
                **self._injector_state(),
                "updates": dict(self.updates),
                "steps_without_signal": self.steps_without_signal,
                "learning": asdict(self.learning),
                "spent": asdict(self.spent),
            },
            process_index=self.accelerator.process_index,
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        state = load_state(resume_from_checkpoint, self._fingerprint, self.accelerator.process_index)
        self.method.load_state_dict(state["method"])
        if "injector" in state and self.injector is not None and self.injector.diagnoser is not None:
            self.injector.diagnoser.load_state_dict(state["injector"])
        self.updates = Counter(state["updates"])
        self.steps_without_signal = state["steps_without_signal"]
        self.learning = Learning(**state.get("learning", {"steps": 1, "with_signal": 1}))  # older ones did not count
        self.spent = Spent(**state.get("spent", {}))

    def _injector_state(self) -> dict[str, Any]:
        """The counts of the injector's diagnoses."""
        diagnoser = None if self.injector is None else self.injector.diagnoser
        return {} if diagnoser is None else {"injector": diagnoser.state_dict()}

    # --- wiring --------------------------------------------------------------------------------------------------

    def _engine(self, make_engine: EngineMaker | None) -> Engine:
        if self.use_vllm:
            return TRLEngine.ending_at(self.chat.end_ids, self)
        live = isinstance(self.sampler, LiveSampler)
        make = make_engine or partial(Engines().over, remember=live)  # later steps continue earlier contexts
        return make(self.accelerator.unwrap_model(self.model), self.chat)
