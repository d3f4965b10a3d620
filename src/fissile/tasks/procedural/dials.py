"""The dials of the procedural world."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fissile.tasks.procedural.words import tool_names


class ProceduralSettings(BaseModel):
    """How many tools and tasks there are, and how hard they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, description="Another seed, another world.")
    train_tasks: int = Field(default=2000, ge=1, description="Tasks to train on.")
    test_tasks: int = Field(default=200, ge=1, description="Tasks to test on: other tools, other values.")
    train_tools: int = Field(
        default=300, ge=8, le=len(tool_names(held_out=False)), description="Tools of the training tasks."
    )
    test_tools: int = Field(
        default=80,
        ge=8,
        le=len(tool_names(held_out=True)),
        description="Tools of the test tasks, none of them among the former.",
    )
    offered: int = Field(default=2, ge=1, le=8, description="Tools that a task offers, those of its calls included.")
    calls: tuple[float, ...] = Field(
        default=(0.7, 0.22, 0.06, 0.02),
        min_length=1,
        max_length=4,
        description="Weights of tasks with 1, 2, 3 and 4 calls.",
    )
    parameters: int = Field(
        default=3, ge=1, le=6, description="Parameters of a tool at most; an update has two at least."
    )
    optional: float = Field(default=0.2, ge=0, le=1, description="Share of the parameters that a call may leave out.")
    undocumented: float = Field(
        default=0.4, ge=0, le=1, description="Share of the parameters whose convention only the tool's error tells."
    )
    unusual: float = Field(
        default=0.4, ge=0, le=1, description="Share of the parameters with another than the most usual convention."
    )
    shuffled: float = Field(
        default=0.2, ge=0, le=1, description="Share of the calls whose parameters a request states in another order."
    )
    paraphrased: float = Field(default=0.1, ge=0, le=1, description="Share of words that a request says otherwise.")
    live: bool = Field(default=False, description="The tasks run in a live world, which executes the calls.")
    transient: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Live: share of the calls that time out or raise when they are first made, and work when made "
        "again. Leave it 0 where failures are fissioned: a recovery begins in the world from before the failed call.",
    )

    @field_validator("calls")
    @classmethod
    def _weights_can_be_drawn_by(cls, calls: tuple[float, ...]) -> tuple[float, ...]:
        if not all(math.isfinite(weight) and weight >= 0 for weight in calls) or not any(calls):
            raise ValueError(f"{list(calls)} are no weights: give numbers from 0 up, one of them above 0")
        return calls
