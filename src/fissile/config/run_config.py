"""The configuration of a run of `fissile train` or `fissile eval`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fissile.config import logger_names
from fissile.config.engine import EngineConfig, WorldConfig
from fissile.config.loading import Section, load, parse
from fissile.config.method import MethodTable, refuse_old_spelling, switched
from fissile.dialects import get_dialect
from fissile.engines.injection import InjectionConfig
from fissile.environments.worlds import WORLDS
from fissile.errors import ConfigError
from fissile.feedback.phrasebooks import RULES
from fissile.feedback.source_names import UNFAILING
from fissile.methods import FissionGRPO, FissionSettings
from fissile.methods.fission_grpo import none_word
from fissile.rewards import RewardConfig
from fissile.simulator.settings import SimulatorSettings
from fissile.simulator.sources import check_source
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.tasks.procedural import ProceduralSettings
from fissile.tasks.scenarios import Domain

MULTI_TURN = "multi_turn"
"""How the names of BFCL's multi-turn categories begin."""


class ModelConfig(Section):
    """Which model, and the LoRA adapter that is trained on it."""

    path: str = Field(
        default="smollm2-135m", description="'smollm2-135m' (embedded), a Hugging Face id, or a local folder."
    )
    dtype: Literal["bfloat16", "float32", "auto"] = Field(
        default="bfloat16", description="Dtype of the frozen weights."
    )
    adapter: str | None = Field(default=None, description="A PEFT adapter to start from, instead of a fresh one.")
    dialect: str = Field(
        default="hermes", description="Tool-call format: hermes (also qwen3), python, llama3_json or mistral."
    )
    template_options: dict[str, Any] = Field(
        default={}, description="Variables of the chat template, such as {enable_thinking = false} for Qwen 3."
    )
    lora_rank: int = Field(default=16, ge=1, description="LoRA r.")
    lora_alpha: int = Field(default=32, ge=1, description="LoRA alpha.")
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="LoRA dropout.")
    lora_targets: str | list[str] = Field(default="all-linear", description="Modules that get an adapter.")
    lora_whole: list[str] = Field(
        default=[],
        description="Modules that are trained whole and saved with the adapter: ['embed_tokens'] teaches new words.",
    )


class TasksConfig(Section):
    """Which tasks, and how they are split."""

    source: str = Field(
        default="bfcl",
        description="'bfcl', 'procedural' (made by chance), a JSON-lines file, or a Hugging Face dataset id.",
    )
    procedural: ProceduralSettings = Field(
        default=ProceduralSettings(), description="The dials of the procedural world."
    )
    categories: list[str] = Field(
        default=["simple_python", "multiple", "live_simple"],
        min_length=1,
        description="BFCL categories, all single-turn or all multi_turn_*; ignored for other sources.",
    )
    hub_split: str = Field(default="train", description="Split of a Hugging Face dataset.")
    split_seed: int = Field(default=0, description="Seed of the split, by function name or by scenario.")
    tools: str | None = Field(
        default=None, description="A Python file with the tools: functions, or one class whose instance is the state."
    )
    world: str | None = Field(
        default=None,
        description="The world that the tasks of a file or dataset run in: one that an installed package offers as an "
        "entry point of fissile.worlds.",
    )
    held_out: Annotated[Domain | None, BeforeValidator(none_word)] = Field(
        default="trading",
        description="Multi-turn BFCL: the domain to test on, of which nothing is trained; 'none' tests on scenarios of "
        "all domains.",
    )
    docs: Literal["full", "brief"] = Field(
        default="full", description="Multi-turn BFCL: 'brief' cuts each description to a sentence."
    )
    reseed: bool = Field(
        default=True,
        description="Multi-turn BFCL: give the training scenarios other booking numbers than the benchmark's.",
    )
    max_prompt_tokens: int = Field(
        default=512, ge=16, description="Tasks with a longer prompt are left out, and counted."
    )


class SupervisedConfig(Section):
    """Supervised training of an adapter."""

    learning_rate: float = Field(default=5e-4, gt=0, description="Peak; linear decay after a short warm-up.")
    batch_tokens: int = Field(
        default=1024,
        ge=64,
        description="Tokens of a packed row. Fewer leave padding; on a GPU attention costs the square.",
    )
    batch_examples: int = Field(default=8, ge=1, description="Examples of one optimizer step.")
    micro_batch_examples: int = Field(
        default=2, ge=1, description="Examples of one forward; fewer take less memory. Divides batch_examples."
    )
    epochs: int = Field(default=1, ge=1, description="Passes over the examples.")

    @model_validator(mode="after")
    def _micro_batches_fill_a_batch(self) -> Self:
        if self.batch_examples % self.micro_batch_examples:
            raise ValueError(
                f"micro_batch_examples = {self.micro_batch_examples} does not divide batch_examples = "
                f"{self.batch_examples}"
            )
        return self


class ColdStartConfig(SupervisedConfig):
    """Supervised examples of right calls before reinforcement learning."""

    examples: int = Field(default=518, ge=0, description="Training tasks shown once an epoch; 0 skips the cold start.")
    recovery_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the examples that are demonstrated recoveries: a corrupted call, its diagnosis, the "
        "right call; the loss is on the right call only.",
    )
    feedback: str = Field(
        default="rules", description="Source of the diagnosis in demonstrated recoveries; as method.feedback."
    )


class TrainingConfig(Section):
    """The reinforcement-learning stage. What is not here is TRL's default."""

    steps: int = Field(
        default=40, ge=0, description="Optimizer steps at most, explore and fission together; 0 skips the stage."
    )
    rollouts: int | None = Field(
        default=None,
        ge=1,
        description="Ends the training after the update with which so many rollouts are sampled, discarded "
        "and collected ones included. The reward's schedule then follows whichever limit is nearest.",
    )
    tokens: int | None = Field(
        default=None,
        ge=1,
        description="As rollouts, of tokens: those of the contexts, once for each rollout, and the sampled.",
    )
    prompts_per_step: int = Field(default=4, ge=1, description="Groups of a step.")
    group_size: int = Field(default=8, ge=2, description="Rollouts of a group (G).")
    learning_rate: float = Field(
        default=1e-6, gt=0, description="Constant after warm-up. The paper's 1e-6 is for full weights."
    )
    warmup_steps: int = Field(default=0, ge=0, description="Linear warm-up.")
    temperature: float = Field(default=0.95, gt=0, description="Of sampling.")
    top_k: int = Field(default=50, ge=0, description="Of sampling; 0 keeps all tokens.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Of sampling.")
    max_new_tokens: int = Field(default=96, ge=8, description="Limit of a response.")
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"] = Field(default="grpo", description="TRL's.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        default="group", description="TRL's; 'none' is Dr. GRPO's."
    )
    epsilon: float = Field(default=0.2, gt=0, description="Clip, lower (and upper unless epsilon_high is set).")
    epsilon_high: float | None = Field(default=None, gt=0, description="Clip, upper; DAPO's is 0.28.")
    beta: float = Field(default=0.0, ge=0, description="Weight of the KL to the start.")
    iterations: int = Field(default=1, ge=1, description="Updates on the same rollouts.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradient clipping.")
    gradient_checkpointing: bool = Field(default=False, description="Less memory, more time.")
    save_steps: int = Field(default=10, ge=1, description="Steps between checkpoints.")
    patience: int = Field(
        default=20,
        ge=1,
        description="Steps in a row without any signal (no group with variance) after which the run stops.",
    )
    report_to: Annotated[list[str], BeforeValidator(logger_names.listed), AfterValidator(logger_names.known)] = Field(
        default=[],
        description="TRL's loggers: wandb, trackio, tensorboard, ...; 'all' that are installed, or 'none'. They are "
        "told every step and every evaluation, and keep their files in the run folder.",
    )
    run_name: str | None = Field(default=None, description="The run's name for the loggers; by default its folder's.")
    project: str | None = Field(
        default=None,
        description="The loggers' project; by default that of their own variable (WANDB_PROJECT, ...), else 'fissile'.",
    )

    @model_validator(mode="after")
    def _checkpoints_fall_between_generations(self) -> TrainingConfig:
        if self.save_steps % self.iterations:
            raise ValueError(
                f"save_steps = {self.save_steps} must be a multiple of iterations = {self.iterations}, so that a "
                "checkpoint never splits the updates on one batch of rollouts"
            )
        return self


class EvaluationConfig(Section):
    """How recovery is measured: a first attempt, then feedback and retries."""

    split: Literal["test", "validation"] = Field(default="test", description="Held-out side that is evaluated.")
    tasks: int | None = Field(default=None, ge=1, description="Only the first so many (in a fixed shuffled order).")
    samples: int = Field(default=1, ge=1, description="Episodes of a task; intervals are clustered by task.")
    retries: int = Field(default=1, ge=0, description="Attempts after feedback at most (K).")
    feedback: str = Field(
        default="service", description="Source of the feedback, as method.feedback; never the one trained with."
    )
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy.")
    top_k: int = Field(default=0, ge=0, description="0 keeps all tokens.")
    max_new_tokens: int = Field(default=96, ge=8, description="Limit of a response.")
    base: bool = Field(default=True, description="Evaluate the model that the run starts from, too.")
    every: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer steps between two evaluations during the training; by default there are none.",
    )
    every_tasks: int = Field(default=50, ge=1, description="Tasks of such an evaluation: the first so many.")
    seed: int = Field(default=0, description="Of sampling and of the choice of tasks.")


class RunConfig(Section):
    """A whole run: base model, cold start, reinforcement learning, with an evaluation after each."""

    output: str = Field(default="runs/run", description="Run folder.")
    method: MethodTable = Field(
        default=FissionSettings(name=FissionGRPO.name), description="The learning method and its own settings."
    )
    seed: int = Field(default=0, description="Of everything that is drawn.")
    model: ModelConfig = ModelConfig()
    tasks: TasksConfig = TasksConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    training: TrainingConfig = TrainingConfig()
    reward: RewardConfig = RewardConfig()
    engine: EngineConfig = EngineConfig()
    world: WorldConfig = WorldConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    simulator: SimulatorSettings = SimulatorSettings()
    injection: InjectionConfig = InjectionConfig()

    @model_validator(mode="before")
    @classmethod
    def _is_in_the_new_spelling(cls, fields: Any) -> Any:
        return refuse_old_spelling(fields)

    @model_validator(mode="after")
    def _method_fits_a_step(self) -> RunConfig:
        group = self.training.group_size
        try:
            self.method.check_shape(self.training.prompts_per_step * group, group)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> RunConfig:
        get_dialect(self.model.dialect)
        if self.tasks.world is not None:
            WORLDS.get(self.tasks.world)
            if self.tasks.tools is not None or self.tasks.source in ("bfcl", PROCEDURAL):
                raise ValueError("tasks.world is of tasks from a file or dataset, without tasks.tools; leave one out")
        asked = (self.cold_start.feedback, self.injection.feedback, self.evaluation.feedback)
        for source in (self.method.source, *asked):
            if source:
                check_source(source, self.simulator)
        return self

    @model_validator(mode="after")
    def _evaluation_is_possible(self) -> RunConfig:
        if self.is_live:  # there the world itself answers, in one episode a task
            if self.evaluation.samples != 1:
                raise ValueError("evaluation.samples must be 1: a live evaluation runs one episode of each task")
            return self
        if self.evaluation.samples > 1 and (not self.evaluation.temperature or self.evaluation.top_k == 1):
            raise ValueError(
                f"evaluation.samples = {self.evaluation.samples} would be so many copies of one greedy answer. Set "
                "evaluation.temperature above 0 (and top_k not to 1), or samples = 1"
            )
        if self.injection.at("evaluation").rate and not self.evaluation.retries:
            raise ValueError("evaluation.retries must be at least 1: an injected failure stands for the first attempt")
        if self.evaluation.retries and self.evaluation.feedback in self.trained_with - {"fixed"}:
            raise ValueError(
                f"evaluation.feedback = '{self.evaluation.feedback}' is also trained with; a recovery evaluation "
                "uses another source (for example 'service' or 'fixed')"
            )
        return self

    @model_validator(mode="after")
    def _held_out_side_exists(self) -> RunConfig:
        if self.tasks.source == PROCEDURAL and self.evaluation.split == "validation":
            raise ValueError("evaluation.split = 'validation': the procedural world has no such side; take 'test'")
        return self

    @model_validator(mode="after")
    def _categories_are_of_one_kind(self) -> RunConfig:
        kinds = {category.startswith(MULTI_TURN) for category in self.tasks.categories}
        if self.tasks.source == "bfcl" and len(kinds) > 1:
            raise ValueError("tasks.categories mixes single-turn and multi_turn_* categories; name one kind")
        return self

    @property
    def is_live(self) -> bool:
        """Whether the tasks run in a live world."""
        if self.tasks.tools is not None:
            return True
        if self.tasks.world is not None:
            return not WORLDS.get(self.tasks.world).judges_at_once
        if self.tasks.source == PROCEDURAL:
            return self.tasks.procedural.live
        return self.tasks.source == "bfcl" and all(name.startswith(MULTI_TURN) for name in self.tasks.categories)

    @property
    def cold_start_feedback(self) -> str:
        """Source used by demonstrated recoveries; "" if there are none."""
        has_recoveries = self.cold_start.examples and self.cold_start.recovery_share
        return self.cold_start.feedback if has_recoveries else ""

    @property
    def injection_feedback(self) -> str:
        """Source that diagnoses forced failures in training; "" if there are none, or a live world answers."""
        trains = self.training.steps and self.injection.at("training").rate and not self.is_live
        return self.injection.feedback if trains else ""

    @property
    def trained_with(self) -> frozenset[str]:
        """Names of the feedback sources whose diagnoses are trained with, `rules` where it stands in for a model."""
        named = {self.method.source, self.cold_start_feedback, self.injection_feedback} - {""}
        return frozenset(named | ({RULES.name} if named - set(UNFAILING) else set()))

    @property
    def sources(self) -> frozenset[str]:
        """Names of all feedback sources that the run asks."""
        asked = {self.method.source} - {""} if self.training.steps else set()
        if self.is_live:  # demonstrations and evaluations are answered by the world
            return frozenset(asked)
        evaluation = self.evaluation.feedback if self.evaluation.retries else ""
        return frozenset({*asked, self.cold_start_feedback, self.injection_feedback, evaluation} - {""})

    @property
    def fingerprint(self) -> str:
        """A hash of everything that shapes the run, task, tool and prompt files included.

        Left out are folder, loggers, and of the simulator what is not asked or does not shape its texts.
        """
        fields = self.model_dump(
            mode="json", exclude={"output", "simulator"} | ({"injection"} if not self.injection.rate else set())
        )
        for name in ("report_to", "run_name", "project"):
            fields["training"].pop(name)
        if self.tasks.source != PROCEDURAL:
            fields["tasks"].pop("procedural")
        if simulator := self.simulator.shaping(self.sources):
            fields["simulator"] = simulator
        prompt_file = (
            self.simulator.endpoint.prompt_file if self.simulator.endpoint and "endpoint" in simulator else None
        )
        files = [
            Path(name).expanduser() for name in (self.tasks.source, self.tasks.tools, prompt_file) if name is not None
        ]
        if contents := [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]:
            fields["files"] = contents
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """A run's configuration from a TOML file (or the defaults) and overrides; see `fissile.config.loading.load`."""
    return load(RunConfig, path, overrides, switched)


def parse_config(fields: dict[str, Any], origin: str = "the config") -> RunConfig:
    """A run's configuration from `fields`; see `fissile.config.loading.parse`."""
    return parse(RunConfig, fields, origin)
