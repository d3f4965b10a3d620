"""The typed recipe of an error simulator: its data, its training, its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from fissile.calls import JSON
from fissile.config.loading import Section, load
from fissile.config.run_config import ModelConfig, SupervisedConfig
from fissile.dialects import get_dialect
from fissile.faults import Fault
from fissile.feedback import get_source
from fissile.methods.fission_grpo import none_word
from fissile.simulator.settings import LearnedSettings, ServedSettings
from fissile.tasks import CATEGORIES, MULTI_TURN_CATEGORIES
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.tasks.procedural import ProceduralSettings
from fissile.tasks.scenarios import Domain

ENDPOINT = "endpoint"

SPLIT_KEYS = ("categories", "live_categories", "held_out", "split_like", "split_seed", "runs")
"""Keys of `DataConfig` that the procedural world has no use for: its sides are given."""

PROCEDURAL_KEYS = ("procedural", "miswritten_share")
"""Keys of `DataConfig` for the procedural world alone."""


class DataConfig(Section):
    """Failed calls and their diagnoses."""

    source: str = Field(
        default="bfcl",
        description="'bfcl', 'procedural' (made by chance; BFCL's keys are then ignored), a JSON-lines file of "
        "single-step tasks, or a dataset id.",
    )
    procedural: ProceduralSettings = Field(
        default=ProceduralSettings(),
        description="The dials of the procedural world. Its tasks are single-step; with live = true they are executed "
        "in the world, too.",
    )
    categories: list[str] = Field(default=list(CATEGORIES), description="Single-turn BFCL categories.")
    live_categories: list[str] = Field(
        default=["multi_turn_base"],
        description="Multi-turn BFCL categories: their corruptions are executed in the live world.",
    )
    held_out: Domain = Field(default="trading", description="Multi-turn BFCL: the domain of the test side.")
    split_like: str | None = Field(
        default=None, description="A recipe: the functions that it trains on and tests on keep their sides."
    )
    split_seed: int = Field(default=0, description="Of the sides of what that recipe leaves open.")
    rows: int = Field(default=6000, ge=1, description="Training rows, as even over error kinds as the failures allow.")
    test_rows: int = Field(default=1200, ge=0, description="Test rows: unseen functions, and an unseen domain.")
    live_share: float = Field(default=0.35, ge=0, le=1, description="Share of the rows that come from live worlds.")
    miswritten_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The procedural world: share of the single-step rows with a value in another convention than the "
        "tool's, the mistake that its policies make.",
    )
    faults: list[Fault] = Field(default=list(Fault), min_length=1, description="Corruptions of right calls.")
    teachers: list[str] = Field(
        default=["environment", "rules"],
        min_length=1,
        description="Who writes the diagnoses: 'environment' (where the live world objected), 'rules', 'endpoint'.",
    )
    environment_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Of the failures that the live world objected to: share with its own words, where they name "
        "the argument that is wrong.",
    )
    endpoint_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Of the rest: share of the teacher 'endpoint'. Any other teachers share equally.",
    )
    runs: list[str] = Field(default=[], description="Run folders whose intercepted failures are taken, too.")
    dialect: str = Field(default="hermes", description="Tool-call format of the corrupted calls.")

    @model_validator(mode="after")
    def _names_are_known(self) -> DataConfig:
        get_dialect(self.dialect)
        unknown = [name for name in self.live_categories if name not in MULTI_TURN_CATEGORIES]
        if unknown:
            raise ValueError(f"live_categories: '{unknown[0]}' is none of {', '.join(MULTI_TURN_CATEGORIES)}")
        for teacher in self.teachers:
            if teacher != ENDPOINT:
                get_source(teacher)
        if set(self.teachers) == {"environment"}:
            raise ValueError("data.teachers: 'environment' is silent in single-step tasks. Name another one beside it.")
        return self

    @model_validator(mode="after")
    def _sides_are_given_once(self) -> DataConfig:
        if self.is_procedural and (self.split_like is not None or self.runs):
            key = "runs" if self.split_like is None else "split_like"
            raise ValueError(f"data.{key}: the procedural world has sides of its own. Leave it out.")
        return self

    @property
    def is_procedural(self) -> bool:
        """Whether the tasks are made by chance."""
        return self.source == PROCEDURAL

    @property
    def shaping(self) -> dict[str, JSON]:
        """The keys that decide the data, JSON-ready: without those that the source has no use for."""
        return self.model_dump(mode="json", exclude=set(SPLIT_KEYS if self.is_procedural else PROCEDURAL_KEYS))


class SimulatorTraining(SupervisedConfig):
    """How the adapter is taught."""

    examples: int = Field(
        default=1600, ge=1, description="Training rows shown once an epoch, the first ones of the data."
    )


class JudgingConfig(Section):
    """What a source is judged on."""

    rows: Annotated[int | None, BeforeValidator(none_word)] = Field(
        default=600, ge=1, description="Test rows that are diagnosed; 'none' takes all."
    )
    samples: int = Field(default=4, ge=1, description="Usefulness: next attempts sampled after each diagnosis.")
    first_samples: int = Field(
        default=2, ge=1, description="Usefulness: first attempts of a task, whose failures are used."
    )
    tasks: Annotated[int | None, BeforeValidator(none_word)] = Field(
        default=None, ge=1, description="Usefulness: held-out tasks; all by default."
    )
    temperature: float = Field(default=0.95, gt=0, description="Usefulness: of the policy's sampling.")
    top_k: int = Field(default=50, ge=0, description="Usefulness: 0 keeps all tokens.")
    max_new_tokens: int = Field(default=64, ge=8, description="Usefulness: limit of a response.")
    seed: int = Field(default=0, description="Of sampling.")


class SimulatorRecipe(Section):
    """An error simulator: data, supervised training, evaluation."""

    output: str = Field(default="runs/simulator", description="Folder of the data, the adapter and the evaluation.")
    seed: int = Field(default=0, description="Of corruption, of the choice of examples, and of training.")
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: SimulatorTraining = SimulatorTraining()
    max_new_tokens: int = Field(default=128, ge=8, description="Limit of a diagnosis, its fields included.")
    endpoint: ServedSettings | None = Field(
        default=None, description="The server of the teacher or the source 'endpoint'."
    )
    evaluation: JudgingConfig = JudgingConfig()

    def learned(self, adapter: str | Path) -> LearnedSettings:
        """The source 'learned' with this recipe's model."""
        return LearnedSettings(
            model=self.model.path,
            adapter=str(adapter),
            dtype=self.model.dtype,
            template_options=self.model.template_options,
            max_new_tokens=self.max_new_tokens,
        )

    @model_validator(mode="after")
    def _endpoint_is_given(self) -> SimulatorRecipe:
        if ENDPOINT in self.data.teachers and self.endpoint is None:
            raise ValueError("data.teachers names 'endpoint', and there is no table [endpoint] that says which server")
        return self


def load_simulator_recipe(path: str | Path | None, overrides: Sequence[str] = ()) -> SimulatorRecipe:
    """A simulator's recipe from a TOML file (or the defaults) and overrides; see `fissile.config.loading.load`."""
    return load(SimulatorRecipe, path, overrides)
