"""The configuration of a small policy that is made from nothing for the procedural world."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from fissile.config.loading import Section
from fissile.feedback import get_source
from fissile.tasks.procedural import ProceduralSettings


class StartConfig(Section):
    """A small policy with its own tokenizer, pretrained on right calls of the procedural world."""

    hidden_size: int = Field(default=192, ge=16, description="Width of the model.")
    layers: int = Field(default=4, ge=1, description="Layers of the model.")
    heads: int = Field(default=6, ge=1, description="Attention heads; they divide the width.")
    vocabulary: int = Field(default=1500, ge=400, description="Tokens of the tokenizer.")
    positions: int = Field(default=1024, ge=64, description="Tokens that the model reads at most.")
    drills: int = Field(
        default=32_000,
        ge=0,
        description="Lists of facts that are said again in another order, before the tasks: they teach copying.",
    )
    examples: int = Field(default=96_000, ge=1, description="Tasks that are shown, each once.")
    live_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Share of the examples that are whole episodes in the live world, to their end.",
    )
    batch_examples: int = Field(default=16, ge=1, description="Examples of one optimizer step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Peak; short warm-up, linear decay at the end.")
    recovery_share: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the examples that are demonstrated recoveries: a wrong call, its error, the right calls; "
        "the loss is on the right calls only. Half of the wrong ones are in another convention than the tool's.",
    )
    feedback: str = Field(
        default="environment",
        description="Source of the error in demonstrated recoveries; a live world answers itself.",
    )
    seed: int = Field(default=0, description="Of everything that is drawn.")
    procedural: ProceduralSettings = Field(
        default=ProceduralSettings(),
        description="The dials of the world. Its training tools' names and values are used; the tools are drawn anew "
        "every few tasks, so that no convention can be learned by heart.",
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"heads = {self.heads} must divide hidden_size = {self.hidden_size} into even widths")
        return self

    @model_validator(mode="after")
    def _feedback_is_known(self) -> Self:
        get_source(self.feedback)
        return self
