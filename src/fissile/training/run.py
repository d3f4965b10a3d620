"""A whole run: base model, cold start, reinforcement learning, and a recovery evaluation after each.

Every stage leaves a file when it is done, so a run that is killed at any moment goes on where it was: a finished stage
is not repeated, an unfinished one goes on from its last complete checkpoint.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import PeftModel
from transformers import PrinterCallback
from trl import GRPOConfig

from fissile.calls import JSON
from fissile.config import RunConfig
from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Sampling
from fissile.engines.attempts import Attempter
from fissile.environments import SingleStep
from fissile.environments.bfcl_ast import is_valid
from fissile.errors import DataError
from fissile.evaluation import evaluate_recovery
from fissile.feedback import get_source
from fissile.journal import JsonLines
from fissile.metrics import evaluate_episodes
from fissile.tasks import Split, Task, load_tasks, split_by_function
from fissile.training.callbacks import CompleteMark, LearningWatch, MetricsLog, StepProgress
from fissile.training.checkpoints import explained_disk_errors, latest_checkpoint, write_json
from fissile.training.cold_start import cold_start, supervised_examples
from fissile.training.engines import Engines
from fissile.training.folder import RunFolder
from fissile.training.meter import Meter
from fissile.training.policy import load_model, load_policy, load_tokenizer
from fissile.training.progress import Progress
from fissile.training.trainer import FissionGRPOTrainer

STAGE_OF_METHOD = {"fission_grpo": "fission", "grpo": "grpo"}
"""Name of the last stage in `summary.json`."""


@dataclass
class Run:
    """One run over its folder. `execute` does what is left to do."""

    config: RunConfig
    folder: RunFolder
    progress: Progress
    meter: Meter = field(default_factory=Meter)
    engines: Engines = field(init=False)

    def __post_init__(self) -> None:
        self.engines = Engines(self.config.engine)

    def execute(self) -> dict[str, JSON]:
        """Carry out the stages that are not done yet.

        Returns:
            The summary, as in `summary.json`.
        """
        attempter, split, evaluated = self._prepare()
        if self.config.evaluation.base:
            self._evaluate("base", evaluated, attempter, self.config.model.adapter)
        start = self._cold_start(split, attempter)
        if start is not None:
            self._evaluate("cold_start", evaluated, attempter, start)
        trained = self._train(split, attempter, start)
        if trained != start:
            self._evaluate(self.stage, evaluated, attempter, trained)
        return self._summarize()

    def evaluate_only(self) -> None:
        """Evaluate the configured model, with its adapter if there is one, as stage "model"."""
        attempter, _, evaluated = self._prepare()
        self._evaluate("model", evaluated, attempter, self.config.model.adapter)

    @property
    def stage(self) -> str:
        """Name of the reinforcement-learning stage."""
        return STAGE_OF_METHOD[self.config.method]

    # --- stages --------------------------------------------------------------------------------------------------

    def _cold_start(self, split: Split, attempter: Attempter) -> Path | None:
        """The adapter after the cold start; None if there is none."""
        settings = self.config.cold_start
        adapter = self.folder.cold_start / "adapter"
        if not settings.examples:
            return None
        if not adapter.exists():
            with self._phase("cold_start"):
                examples = supervised_examples(split.train, attempter, settings, self.config.seed)
                policy = load_policy(self.config.model)
                checkpoints = self.folder.cold_start / "checkpoints"
                cold_start(
                    policy,
                    examples,
                    settings,
                    checkpoints,
                    self.config.seed,
                    [StepProgress(self.progress.step("cold start")), CompleteMark(self.config.fingerprint)],
                    resume_from=latest_checkpoint(checkpoints),
                )
                _save_adapter(policy, adapter)
        return adapter

    def _train(self, split: Split, attempter: Attempter, start: Path | None) -> Path | None:
        """The adapter after reinforcement learning."""
        settings = self.config.training
        if not settings.steps:
            return start
        if not self.folder.adapter.exists():
            with (
                self._phase(self.stage),
                JsonLines(self.folder.corrections) as corrections,
                JsonLines(self.folder.metrics) as metrics,
            ):
                self._reinforce(split, attempter, start, corrections, metrics)
        return self.folder.adapter

    def _reinforce(
        self, split: Split, attempter: Attempter, start: Path | None, corrections: JsonLines, metrics: JsonLines
    ) -> None:
        checkpoint = latest_checkpoint(self.folder.checkpoints)
        reached = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        for lines in (corrections, metrics):
            # Records of step s are written after update s, but interceptions carry the step they were sampled in.
            lines.truncate_after(reached if lines is metrics else reached - 1)
        trainer = FissionGRPOTrainer(
            model=load_policy(self.config.model, start),
            args=self._trl_config(),
            train_dataset=list(split.train),
            processing_class=attempter.chat.tokenizer,
            method=self.config.method,
            fission=self.config.fission,
            reward=self.config.reward,
            dialect=self.config.model.dialect,
            journal=corrections.append,
            fingerprint=self.config.fingerprint,
            make_engine=self.engines.over,
            callbacks=[MetricsLog(metrics), StepProgress(self.progress.step(self.stage))],
        )
        watch = LearningWatch(self.config.training.patience, lambda: trainer.steps_without_signal)
        trainer.add_callback(watch)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        write_json(
            self.folder.path / "training.json",
            {
                "steps": trainer.state.global_step,
                "updates": {phase: trainer.updates[phase] for phase in ("explore", "fission")},
                "corrections": trainer.method.counts(),
                "stopped": watch.reason,
            },
        )
        _save_adapter(trainer.accelerator.unwrap_model(trainer.model), self.folder.adapter)

    def _evaluate(self, stage: str, tasks: Sequence[Task], attempter: Attempter, adapter: Path | str | None) -> None:
        """Measure accuracy and recovery on the held-out tasks, unless that was done before."""
        if self.folder.evaluation(stage).exists():
            return
        settings = self.config.evaluation
        with self._phase(f"evaluate_{stage}"):
            model = self.config.model
            policy = load_policy(model, adapter) if adapter else load_model(model.path, model.dtype)
            episodes = evaluate_recovery(
                self.engines.over(policy, attempter.chat, remember=True),
                attempter,
                tasks,
                get_source(settings.feedback),
                Sampling(
                    max_new_tokens=settings.max_new_tokens,
                    temperature=settings.temperature,
                    top_k=settings.top_k,
                    seed=settings.seed,
                ),
                retries=settings.retries,
                samples=settings.samples,
                progress=self.progress.evaluation(stage),
            )
            self.folder.episodes(stage).unlink(missing_ok=True)
            with JsonLines(self.folder.episodes(stage)) as lines:
                for episode in episodes:
                    lines.append(episode.to_dict())
            report = {
                **evaluate_episodes(episodes).to_dict(),
                "feedback": settings.feedback,
                "settings": settings.model_dump(mode="json"),
            }
            write_json(self.folder.evaluation(stage), report)
        self.progress.report(stage, report)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Attempter, Split, list[Task]]:
        """Tokenizer, dialect and tasks; the seconds that an earlier, interrupted part took."""
        if self.folder.meter.exists():
            self.meter = Meter(**json.loads(self.folder.meter.read_text(encoding="utf-8")))
        torch.manual_seed(self.config.seed)
        dialect = get_dialect(self.config.model.dialect)
        chat = ChatFormat(load_tokenizer(self.config.model.path), dialect)
        attempter = Attempter(chat, SingleStep(dialect, official=is_valid))
        split = self._split(attempter)
        return attempter, split, self._evaluated(split)

    def _split(self, attempter: Attempter) -> Split:
        """The tasks, split by function; those with too long a prompt are left out."""
        settings = self.config.tasks
        tasks = load_tasks(settings.source, categories=settings.categories, hub_split=settings.hub_split)
        fitting = [task for task in tasks if len(attempter.context(task).prompt_ids) <= settings.max_prompt_tokens]
        split = split_by_function(fitting, seed=settings.split_seed)
        for side, side_tasks in (("training", split.train), ("held-out", self._evaluated(split))):
            if not side_tasks:
                raise DataError(
                    f"No {side} task is left of {len(tasks)} (max_prompt_tokens = {settings.max_prompt_tokens}). Raise "
                    "tasks.max_prompt_tokens, or give more tasks with different functions."
                )
        self.progress.say(
            f"{len(tasks)} tasks, {len(tasks) - len(fitting)} left out with more than {settings.max_prompt_tokens} "
            f"prompt tokens: {len(split.train)} to train on, {len(split.validation)} for validation, "
            f"{len(split.test)} to test on, no function in common"
        )
        return split

    def _evaluated(self, split: Split) -> list[Task]:
        settings = self.config.evaluation
        tasks = list(split.test if settings.split == "test" else split.validation)
        random.Random(settings.seed).shuffle(tasks)
        return tasks[: settings.tasks]

    def _trl_config(self) -> GRPOConfig:
        settings = self.config.training
        return GRPOConfig(
            output_dir=str(self.folder.checkpoints),
            per_device_train_batch_size=settings.group_size,  # one group at a time: memory does not grow with the step
            gradient_accumulation_steps=settings.prompts_per_step,
            num_generations=settings.group_size,
            max_steps=settings.steps,
            num_iterations=settings.iterations,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=settings.warmup_steps,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            max_completion_length=settings.max_new_tokens,
            loss_type=settings.loss_type,
            scale_rewards=settings.scale_rewards,
            epsilon=settings.epsilon,
            epsilon_high=settings.epsilon_high,
            beta=settings.beta,
            max_grad_norm=settings.max_grad_norm,
            gradient_checkpointing=settings.gradient_checkpointing,
            bf16=self.config.model.dtype == "bfloat16",  # the weights are; autocast brings the float32 adapters to them
            use_cpu=not torch.accelerator.is_available(),
            logging_steps=1,
            save_steps=settings.save_steps,
            save_total_limit=2,
            report_to=settings.report_to,
            disable_tqdm=True,
            seed=self.config.seed,
            **self.engines.trl_settings(),
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        try:
            with self.meter.phase(name), self.progress.phase(name):
                yield
        finally:
            write_json(
                self.folder.meter,
                {"seconds": self.meter.seconds, "peak_memory_bytes": self.meter.peak_memory_bytes},
            )

    def _summarize(self) -> dict[str, JSON]:
        stages = {
            stage: json.loads(self.folder.evaluation(stage).read_text(encoding="utf-8"))
            for stage in ("base", "cold_start", self.stage)
            if self.folder.evaluation(stage).exists()
        }
        training = self.folder.path / "training.json"
        trained = json.loads(training.read_text(encoding="utf-8")) if training.exists() else {}
        counted = trained.get("corrections", {})
        summary = {
            "method": self.config.method,
            "seed": self.config.seed,
            "stages": stages,
            "steps": trained.get("steps", 0),
            "updates": trained.get("updates", {"explore": 0, "fission": 0}),
            "corrections": {
                name: counted.get(name, 0) for name in ("intercepted", "deduplicated", "used", "stale", "leaked")
            },
            "stopped": trained.get("stopped", ""),
            "seconds": {name: round(seconds, 1) for name, seconds in self.meter.seconds.items()},
            "peak_memory_bytes": self.meter.peak_memory_bytes,
        }
        write_json(self.folder.summary, summary)
        return summary


def _save_adapter(policy: Any, folder: Path) -> None:
    """Save so that the folder exists exactly when it is whole."""
    assert isinstance(policy, PeftModel)
    temporary = folder.with_name(f".{folder.name}.partial")
    with explained_disk_errors(folder):
        policy.save_pretrained(str(temporary))
        temporary.rename(folder)


def quieten_libraries() -> None:
    """Leave the terminal to the progress line: no bars and no deprecation notes of the libraries below."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|peft|torch")
