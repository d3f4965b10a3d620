"""A whole run: base model, cold start, reinforcement learning, and a recovery evaluation after each.

Every stage leaves a file when it is done, so a run that is killed at any moment goes on where it was: a finished stage
is not repeated, an unfinished one goes on from its last complete checkpoint.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from transformers import PrinterCallback
from trl import GRPOConfig

from fissile.calls import JSON
from fissile.config import RunConfig
from fissile.config.unread import told_unread
from fissile.corrections.store import COUNTS
from fissile.dialects import ChatFormat, get_dialect
from fissile.errors import DataError
from fissile.evaluation.losses import counted
from fissile.feedback import FeedbackSource
from fissile.journal import JsonLines, write_json, write_text
from fissile.simulator.settings import CACHE
from fissile.simulator.sources import make_source
from fissile.training.callbacks import AfterCheckpoint, CompleteMark, LearningWatch, MetricsLog, StepProgress
from fissile.training.checkpoints import resume_point, step_of
from fissile.training.cold_start import Shown
from fissile.training.course import Course, Records, make_course
from fissile.training.engines import Engines
from fissile.training.folder import RunFolder, told_shown
from fissile.training.loggers import Loggers
from fissile.training.meter import Meter
from fissile.training.policy import load_model, load_policy, load_tokenizer, longest_context, other_format, save_adapter
from fissile.training.progress import Count, Progress
from fissile.training.run_card import run_card
from fissile.training.simulator import load_learned
from fissile.training.spending import Budget, Spent
from fissile.training.step_evaluations import StepEvaluations
from fissile.training.supervised import fine_tune
from fissile.training.trainer import FissionGRPOTrainer

STAGE_OF_METHOD = {"fission_grpo": "fission", "grpo": "grpo", "offline_grpo": "offline"}
"""Name of the last stage in `summary.json`."""


@dataclass
class Run:
    """One run over its folder. `execute` does what is left to do."""

    config: RunConfig
    folder: RunFolder
    progress: Progress
    meter: Meter = field(default_factory=Meter)
    engines: Engines = field(init=False)
    loggers: Loggers = field(init=False)
    _sources: dict[str, FeedbackSource] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.engines = Engines(self.config.engine)
        self.loggers = Loggers(self.config.training, self.folder.path, self._trl_config, self.progress.say)

    def execute(self) -> dict[str, JSON]:
        """Carry out the stages that are not done yet.

        Returns:
            The summary, as in `summary.json`.
        """
        with self.loggers:
            return self._execute()

    def _execute(self) -> dict[str, JSON]:
        course = self._prepare(told_unread(self.config))
        if self.config.evaluation.base:
            self._evaluate("base", course, self.config.model.adapter)
        start = self._cold_start(course)
        if start is not None:
            self._evaluate("cold_start", course, start)
            self._write_card(start, course, ("base", "cold_start"))
        trained = self._train(course, start)
        if trained is not None and trained != start:
            self._evaluate(self.stage, course, trained)
            self._write_card(trained, course, ("base", "cold_start", self.stage))
        return self._summarize()

    def evaluate_only(self) -> None:
        """Evaluate the configured model, with its adapter if there is one, as stage "model"."""
        with self.loggers:
            course = self._prepare(told_unread(self.config, evaluates_only=True))
            self._evaluate("model", course, self.config.model.adapter)

    @property
    def stage(self) -> str:
        """Name of the reinforcement-learning stage."""
        return STAGE_OF_METHOD[self.config.method]

    # --- stages --------------------------------------------------------------------------------------------------

    def _cold_start(self, course: Course) -> Path | None:
        """The adapter after the cold start; None if there is none."""
        settings = self.config.cold_start
        adapter = self.folder.cold_start / "adapter"
        if not settings.examples:
            return None
        if not adapter.exists():
            with self._phase("cold_start"):
                shown = Shown()
                examples = course.examples(shown)
                if not examples:
                    raise DataError(
                        f"No demonstration of the cold start is left ({dict(shown.left_out)}). Set cold_start.examples "
                        "= 0, or take shorter tasks or a model that reads more."
                    )
                if course.demonstrations is not None:
                    write_json(self.folder.cold_start / "feedback.json", course.demonstrations.report())
                policy = load_policy(self.config.model)
                checkpoints = self.folder.cold_start / "checkpoints"
                loss = fine_tune(
                    policy,
                    course.sampler.chat.tokenizer,
                    examples,
                    settings,
                    checkpoints,
                    self.config.seed,
                    [
                        StepProgress(self.progress.step("cold start")),
                        CompleteMark(self.config.fingerprint),
                        AfterCheckpoint(self._keep_meter),
                    ],
                    resume_from=resume_point(checkpoints, self._say_further),
                )
                summary = shown.to_dict(settings.examples, loss)
                write_json(self.folder.cold_start_summary, summary)
                self.progress.say(f"  shown: {told_shown(summary)}")
                save_adapter(policy, adapter, chat=course.sampler.chat)
        return adapter

    def _train(self, course: Course, start: Path | None) -> Path | None:
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
                self._reinforce(course, start, corrections, metrics)
        return self.folder.adapter

    def _reinforce(self, course: Course, start: Path | None, corrections: JsonLines, metrics: JsonLines) -> None:
        checkpoint = resume_point(self.folder.checkpoints, self._say_further)
        reached = step_of(checkpoint) if checkpoint else 0
        for lines in (corrections, metrics):
            # Records of step s are written after update s, but interceptions carry the step they were sampled in.
            if dropped := lines.truncate_after(reached if lines is metrics else reached - 1):
                self._say_further(f"{dropped} records of {lines.path.name} beyond that step are dropped: made again")
        trainer = FissionGRPOTrainer(
            model=load_policy(self.config.model, start),
            args=self._trl_config(),
            train_dataset=list(course.train),
            processing_class=course.sampler.chat.tokenizer,
            method=self.config.method,
            fission=self.config.fission,
            source=self._source(asked) if (asked := self.config.fission_feedback) else None,
            offline=self.config.offline,
            budget=Budget(self.config.training.rollouts, self.config.training.tokens),
            refills=self.config.training.refills,
            reward=self.config.reward,
            dialect=self.config.model.dialect,
            template_options=self.config.model.template_options,
            journal=corrections.append,
            fingerprint=self.config.fingerprint,
            make_engine=partial(self.engines.over, remember=self.config.is_live),
            **course.trainer_settings,
            callbacks=[
                MetricsLog(metrics),
                self.loggers,
                StepProgress(self.progress.step(self.stage)),
                AfterCheckpoint(self._keep_meter),
            ],
        )
        patience = self.config.training.patience
        watch = LearningWatch(patience, lambda: trainer.steps_without_signal, lambda: trainer.learning.quiet_losses)
        trainer.add_callback(watch)
        if (every := self.config.evaluation.every) is not None:
            trainer.add_callback(StepEvaluations(every, partial(self._evaluate_step, course, trainer)))
        trainer.remove_callback(PrinterCallback)
        trainer.train_from(checkpoint)
        injector = trainer.injector
        write_json(
            self.folder.path / "training.json",
            {
                "steps": trainer.state.global_step,
                "updates": {phase: trainer.updates[phase] for phase in ("explore", "fission")},
                "corrections": trainer.method.counts(),
                "feedback": trainer.method.feedback(),
                "injection": injector.diagnoser.report() if injector and injector.diagnoser else {},
                "lost": trainer.learning.reasons,
                "spent": asdict(trainer.spent),
                "ended_by": trainer.ended_by or "patience",
                "stopped": watch.reason,
            },
        )
        sampled = self.config.training.model_dump(include={"temperature", "top_k", "top_p", "max_new_tokens"})
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), self.folder.adapter, {}, trainer.chat, sampled)

    def _evaluate(self, stage: str, course: Course, adapter: Path | str | None) -> None:
        """Measure accuracy and recovery on the held-out tasks, unless that was done before."""
        if self.folder.evaluation(stage).exists():
            return
        with self._phase(f"evaluate_{stage}"):
            model = self.config.model
            policy = load_policy(model, adapter) if adapter else load_model(model.path, model.dtype)
            engine = self.engines.over(policy, course.sampler.chat, remember=True)
            records, report = course.evaluate(engine, self._count(stage))
            self._keep(stage, records, report)
            self.loggers.evaluated(stage, report, self._trained() if stage == self.stage else 0, policy)
        self.progress.report(stage, report)
        if "lost" in report:
            self.progress.say((f"lost and left out of these figures: {counted(report['lost'])}", "bold yellow"))

    def _evaluate_step(self, course: Course, trainer: FissionGRPOTrainer, step: int) -> None:
        """Measure the policy in training on the first held-out tasks, unless that was done before."""
        stage = self.folder.step_evaluation(step).stem
        if self.folder.evaluation(stage).exists():
            return
        with self.meter.phase("evaluate_steps"):
            engine = self.engines.over(trainer.accelerator.unwrap_model(trainer.model), trainer.chat, remember=True)
            tasks = self.config.evaluation.every_tasks
            records, report = course.evaluate(engine, self._count(stage), tasks)
            self._keep(stage, records, report)
            self.loggers.evaluated("steps", report, step, trainer.model)

    def _count(self, stage: str) -> Count:
        """Tells how far an evaluation is."""
        counted = ("an episode", "episodes") if self.config.is_live else ("an attempt", "attempts")
        return self.progress.count(stage.replace("_", " "), *counted)

    def _keep(self, stage: str, records: Records, report: dict[str, Any]) -> None:
        """Write what an evaluation left; the report comes last and marks it complete."""
        for name, lines_of_file in records.items():
            file = self.folder.records(stage, name)
            file.unlink(missing_ok=True)
            with JsonLines(file) as lines:
                for record in lines_of_file:
                    lines.append(record)
        write_json(self.folder.evaluation(stage), report)

    def _write_card(self, adapter: Path, course: Course, stages: tuple[str, ...]) -> None:
        """The model card, from what the folder holds; again with each evaluation."""
        card = run_card(self.config, self.folder, course.sampler.chat, course.summary, stages)
        write_text(adapter / "README.md", card)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _prepare(self, unread: str) -> Course:
        """Tokenizer, dialect, sources and tasks; the seconds that an earlier, interrupted part took.

        Args:
            unread: said before anything else: the settings that have no meaning in this run.
        """
        if unread:
            self.progress.say((unread, "yellow"))
        self.meter = Meter.read(self.folder.meter)
        torch.manual_seed(self.config.seed)
        path = self.config.model.path
        model = self.config.model
        with self.progress.waiting("load the tokenizer"):  # the first time, the embedded model is fetched for it
            tokenizer = load_tokenizer(path)
        chat = ChatFormat(tokenizer, get_dialect(model.dialect), model.template_options)
        if model.adapter is not None and (warning := other_format(model.adapter, path, chat)):
            self.progress.say((warning, "bold yellow"))
        for name in sorted(self.config.sources):  # what is amiss with them is told before anything is trained
            self._source(name)
        with self.progress.waiting("read the tasks"):
            course = make_course(self.config, chat, longest_context(path), self._source)
        self.progress.say(course.summary)
        return course

    def _source(self, name: str) -> FeedbackSource:
        """The feedback source of that name, made once: one cache, one budget, one model in memory."""
        if name not in self._sources:
            cache = self.folder.path / CACHE
            self._sources[name] = make_source(name, self.config.simulator, load_learned, cache)
        return self._sources[name]

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
            report_to="none",  # `Loggers` forwards: they hear the evaluations, too
            run_name=self.loggers.run_name,
            project=self.loggers.project,
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
            self._keep_meter()

    def _say_further(self, text: str) -> None:
        self.progress.say(f"  {text}")

    def _keep_meter(self) -> None:
        """Write the seconds so far: a run that is killed goes on from its last checkpoint, and counts on from there."""
        self.meter.write(self.folder.meter)

    def _trained(self) -> int:
        """Optimizer steps of the reinforcement learning, once it is finished."""
        record = self.folder.path / "training.json"
        return int(json.loads(record.read_text(encoding="utf-8"))["steps"]) if record.exists() else 0

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
            "corrections": {**dict.fromkeys(COUNTS, 0), **counted},
            "lost": trained.get("lost", {}),
            "feedback": trained.get("feedback", {}),
            "injection": trained.get("injection", {}),
            "spent": trained.get("spent", asdict(Spent())),
            "ended_by": trained.get("ended_by", ""),
            "stopped": trained.get("stopped", ""),
            "seconds": {name: round(seconds, 1) for name, seconds in self.meter.seconds.items()},
            "peak_memory_bytes": self.meter.peak_memory_bytes,
        }
        write_json(self.folder.summary, summary)
        return summary


def quieten_libraries() -> None:
    """Leave the terminal to the progress line: no bars and no deprecation notes of the libraries below."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|peft|torch")
