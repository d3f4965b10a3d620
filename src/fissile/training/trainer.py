"""`FissionGRPOTrainer`: `trl.GRPOTrainer` with typed attempts, recovery groups and packed log-probabilities.

TRL keeps the losses, LoRA, checkpoints, accelerate, vLLM and the loggers. A few thin overrides attach the method:
which contexts a step samples from, how the outcome is observed, and how log-probabilities are computed.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from fissile.corrections.context import Context
from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Engine, Sampling, TransformersEngine
from fissile.engines.adapters import bare_model
from fissile.engines.injection import Injector
from fissile.engines.live import EnvironmentMaker, LiveSampler
from fissile.engines.samplers import make_sampler
from fissile.environments.worlds import make_environment
from fissile.errors import ConfigError, DataError
from fissile.feedback import FeedbackSource, get_source
from fissile.methods import GRPO, FissionGRPO, FissionSettings, Method, Phase, Plan, Scored
from fissile.rewards import Reward, RewardConfig
from fissile.rollouts import CLOSING, Limits, Rollout, remaining_goal, rollout_reward
from fissile.tasks import Task, tasks_from_rows
from fissile.training.checkpoints import explained_disk_errors, load_state, save_state
from fissile.training.engines import EngineMaker, Engines, TRLEngine
from fissile.training.figures import step_figures
from fissile.training.groups import in_row_order, learned_tokens, refuse_split_groups, room_for_context
from fissile.training.packed_attention import use_packed_attention
from fissile.training.packing import packed_log_probs
from fissile.training.scoring import score_labels_only

PACKED_TOKENS = 4096
"""Tokens of one packed row, unless a long prompt is better kept in one piece. Where attention takes a mask (on a GPU)
it costs the square of a row; on a CPU nothing beyond what is attended to."""


class FissionGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on tool calls, with fission of the failed ones.

    Takes what `trl.GRPOTrainer` takes, and the fission settings. Rows of `train_dataset` are tasks: `messages`,
    `tools`, `ground_truth` (or `Task` objects). `reward_funcs` are added to the composite reward and may use the
    columns `task` and `attempt`.
    """

    _tag_names = ("trl", "grpo", "fissile")
    _buffered_inputs: list[dict[str, Any]] | None  # TRL's: the micro-batches of the rollouts at hand

    def __init__(
        self,
        model: Any,
        args: GRPOConfig | None = None,
        train_dataset: Sequence[Task] | Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        fission: FissionSettings | None = None,
        source: FeedbackSource | None = None,
        method: str = "fission_grpo",
        reward: RewardConfig | None = None,
        dialect: str = "hermes",
        template_options: Mapping[str, Any] | None = None,
        reward_funcs: Callable[..., Any] | list[Any] | None = None,
        journal: Callable[[dict[str, Any]], None] = lambda record: None,
        fingerprint: str = "",
        make_engine: EngineMaker | None = None,
        make_environment: EnvironmentMaker = make_environment,
        limits: Limits | None = None,
        injector: Injector | None = None,
        **trl_arguments: Any,
    ) -> None:
        """Build the trainer.

        Args:
            model: as for TRL: a name, a model or a PEFT model.
            args: as for TRL.
            train_dataset: tasks, or a dataset of rows with the task columns.
            processing_class: the tokenizer; loaded by TRL if not given.
            fission: the knobs of Fission-GRPO.
            source: writes the diagnoses, whatever `fission.feedback` says: a simulator of
                `fissile.simulator.sources.make_source`, or any object of your own that is a `FeedbackSource`. It may
                fail as it likes; the leak guard stands over it, and `rules` stands in for it.
            method: "fission_grpo", or "grpo" for the same run without fission.
            reward: the composite reward.
            dialect: the tool-call format.
            template_options: variables of the chat template, such as {"enable_thinking": False} for Qwen 3.
            reward_funcs: more rewards, as for TRL.
            journal: receives one record for each intercepted failure and each fission.
            fingerprint: of the configuration; a checkpoint of another one is refused.
            make_engine: from the policy and the chat format, who samples; `TransformersEngine` by default. With
                `use_vllm=True` TRL samples.
            make_environment: gives each rollout of a task with a live world its own; BFCL's need no other.
            limits: where a live rollout is cut; by default after BFCL's 21 steps, and where the model has no room.
            injector: forces failures in the explore contexts of training; see `fissile.engines.injection`.
            trl_arguments: everything else that `trl.GRPOTrainer` takes.

        Raises:
            ConfigError: a batch shape that splits a group, or an unknown method, dialect or feedback.
            DataError: a row that is no task.
        """
        tasks = list(tasks_from_rows(train_dataset or []))
        if not tasks:
            raise ConfigError("train_dataset holds no task. Give at least one.")
        self.tasks = {task.id: task for task in tasks}
        if len(self.tasks) < len(tasks):
            raise DataError("Two tasks of train_dataset have the same id. Give every task its own.")
        self._reward_config = reward or RewardConfig()
        self._fingerprint = fingerprint
        self.injector = injector
        self._plan: Plan | None = None
        self._scored: list[Scored] = []
        self._active_rows: torch.Tensor | None = None
        self.updates: Counter[str] = Counter()
        self.steps_without_signal = 0
        extra = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs] if reward_funcs else []
        rows = Dataset.from_list([{"prompt": list(task.messages), "task_id": task.id} for task in tasks])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*rollout_func.*experimental.*")
            super().__init__(
                model=model,
                args=args,
                train_dataset=rows,
                processing_class=processing_class,
                reward_funcs=[_composite, *extra],
                rollout_func=self._roll_out,
                **trl_arguments,
            )
        refuse_split_groups(self.args.per_device_train_batch_size, self.args.steps_per_generation, self.num_generations)
        self.chat = ChatFormat(self._tokenizer, get_dialect(dialect), template_options)
        limits = limits or Limits(context_tokens=room_for_context(self.model, self.max_completion_length))
        self.sampler = make_sampler(self.chat, tasks, make_environment, limits)
        if isinstance(self.sampler, LiveSampler) and self.use_vllm and self.accelerator.num_processes > 1:
            raise ConfigError(
                "Live rollouts take a different number of rounds in each process, and TRL's vLLM samples for all of "
                "them at once. Train in one process, or without use_vllm."
            )
        inner = bare_model(self.model)
        score_labels_only(inner, self.temperature)
        use_packed_attention(inner)
        self.engine: Engine = TRLEngine(self) if self.use_vllm else self._local_engine(make_engine)
        self._explore_contexts: dict[str, Context] = {}
        self._reference_lengths: dict[str, int] = {}
        self.method = self._method(method, fission or FissionSettings(), source, journal)

    # --- the overrides -------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Choose the contexts of the step, let TRL sample and score, then let the method observe."""
        training = self.model.training
        group = self.num_generations if training else self.num_generations_eval
        explore = [self._explore_context(self.tasks[row["task_id"]]) for row in inputs[::group]]
        method: Method = self.method if training else GRPO()
        self._plan = self._injected(method.plan(explore, group, self.state.global_step))
        rows = [
            {"prompt": list(context.task.messages), "task_id": context.task.id}
            for context in self._plan.contexts
            for _ in range(self._plan.samples)
        ]
        with self._group_size(self._plan.samples):
            batch: dict[str, Any] = super()._generate_and_score_completions(rows)
        method.observe(self._plan, self._scored, self.state.global_step)
        if training:
            self._count(self._plan, batch["advantages"])
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

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Each distinct prompt once: a group is one packed row. TRL's padded way for what cannot be packed."""
        if compute_aux_loss or any(value is not None for value in multimodal.values()):
            padded: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
            padded = super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **multimodal,
            )
            return padded

        def forward(**model_inputs: torch.Tensor) -> Any:
            with self.accelerator.autocast():
                return model(**model_inputs, fused_lm_head=True)

        log_probs, entropies = packed_log_probs(
            forward,
            input_ids,
            attention_mask,
            logits_to_keep,
            token_budget=PACKED_TOKENS,
            compute_entropy=compute_entropy,
            rows=self._active_rows,
        )
        return log_probs, entropies, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss; rows whose advantage is zero cannot change it, so they cost no forward."""
        if self.beta == 0.0 and not self._entropy_bonus_enabled and self.top_entropy_quantile == 1.0:
            active = inputs["advantages"] != 0
            active[0] |= ~active.any()  # a graph to differentiate, even when nothing is left
            self._active_rows = active
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            active, self._active_rows = self._active_rows, None
        if active is not None:
            mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
            log = self._metrics["train" if self.model.training else "eval"]
            log["entropy"][-1] *= (mask.sum() / mask[active].sum().clamp(min=1)).item()
        return loss

    # --- sampling and rewards ------------------------------------------------------------------------------------

    def _roll_out(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout hook: sample the plan, judge and reward every attempt."""
        assert self._plan is not None
        sampling = Sampling(
            max_new_tokens=self.max_completion_length,
            temperature=self.temperature,
            top_k=self.top_k or 0,
            top_p=self.top_p,
            seed=self._step_seed(),
        )
        rollouts = self.sampler.sample(self.engine, self._plan.contexts, sampling, self._plan.samples)
        if isinstance(self.engine, TransformersEngine):
            self.engine.forget()  # the weights are about to change, and the update needs the memory
        self._scored = [Scored(rollout, self._score(rollout)) for rollout in rollouts]
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

    def _score(self, rollout: Rollout) -> Reward | None:
        return rollout_reward(
            rollout,
            progress=self.state.global_step / max(1, self.state.max_steps),
            reference_length=self._reference_length(rollout.context),
            config=self._reward_config,
        )

    def _explore_context(self, task: Task) -> Context:
        if task.id not in self._explore_contexts:
            self._explore_contexts[task.id] = self.sampler.context(task)
        return self._explore_contexts[task.id]

    def _injected(self, plan: Plan) -> Plan:
        """The plan with forced failures in its explore contexts."""
        if self.injector is None or not self.model.training or plan.phase is not Phase.EXPLORE:
            return plan
        return replace(plan, contexts=tuple(self.injector.inject(plan.contexts, self.state.global_step)))

    def _reference_length(self, context: Context) -> int:
        """Tokens of the right answer; in a live world of what its turn still needs, and of the closing words."""
        task = context.task
        if task.world is not None:
            left = self.chat.dialect.render_calls(remaining_goal(context).oracle_calls())
            return sum(len(self.chat.completion_ids(text)) for text in (left, CLOSING) if text)
        if task.id not in self._reference_lengths:
            text = self.chat.dialect.render_calls(task.oracle_calls())
            self._reference_lengths[task.id] = len(self.chat.completion_ids(text))
        return self._reference_lengths[task.id]

    def _step_seed(self) -> int:
        """Independent of the global random state, so that a resumed run samples the same."""
        micro_step = self._step % self.args.gradient_accumulation_steps  # TRL's own count starts anew on a resume
        key = f"{self.args.seed}/{self.state.global_step}/{micro_step}/{self.accelerator.process_index}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])

    # --- counting ------------------------------------------------------------------------------------------------

    def _count(self, plan: Plan, advantages: torch.Tensor) -> None:
        """Log what the plan gave. Rates are per rollout or per group of this process."""
        groups = advantages.view(-1, plan.samples)
        silent = int((groups == 0).all(dim=1).sum())
        self.steps_without_signal = self.steps_without_signal + 1 if silent == len(groups) else 0
        self.updates[plan.phase.value] += 1
        log = self._metrics["train"]
        figures = {
            f"{plan.phase.value}/zero_variance_groups": silent / len(groups),
            **step_figures(plan, self._scored),
            **self.method.figures(),
        }
        for name, value in figures.items():
            log[name].append(value)
        for name, count in self.method.counts().items():
            log[f"corrections/{name}"].append(float(count))

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's checkpoint, then the method's state; the state file, written last, marks the checkpoint complete."""
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        with explained_disk_errors(folder):
            super()._save_checkpoint(model, trial)
        save_state(
            folder,
            {
                "fingerprint": self._fingerprint,
                "method": self.method.state_dict(),
                **self._injector_state(),
                "updates": dict(self.updates),
                "steps_without_signal": self.steps_without_signal,
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

    def _injector_state(self) -> dict[str, Any]:
        """The counts of the injector's diagnoses."""
        diagnoser = None if self.injector is None else self.injector.diagnoser
        return {} if diagnoser is None else {"injector": diagnoser.state_dict()}

    # --- wiring --------------------------------------------------------------------------------------------------

    def _method(
        self,
        name: str,
        settings: FissionSettings,
        source: FeedbackSource | None,
        journal: Callable[[dict[str, Any]], None],
    ) -> Method:
        if name == GRPO.name:
            return GRPO()
        if name != FissionGRPO.name:
            raise ConfigError(f"Unknown method '{name}'. Known: {GRPO.name}, {FissionGRPO.name}.")
        source = source or get_source(settings.feedback)
        return FissionGRPO(settings, source, self.sampler.extend, self.tasks, journal)

    def _local_engine(self, make_engine: EngineMaker | None) -> Engine:
        live = isinstance(self.sampler, LiveSampler)
        make = make_engine or partial(Engines().over, remember=live)  # later steps continue earlier contexts
        return make(self.accelerator.unwrap_model(self.model), self.chat)

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


def _composite(prompts: list[Any], composite: list[float | None], **columns: Any) -> list[float | None]:  # noqa: ARG001
    """The composite reward, which the rollout already holds."""
    return composite


_composite.__name__ = "composite"
