"""The source `learned`: a local model that was taught to diagnose (`fissile simulate train`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fissile.dialects import ChatFormat
from fissile.engines.base import Engine, Sampling
from fissile.feedback import Failure, NoDiagnosis
from fissile.rollouts import Completion, StopReason
from fissile.simulator.prompt import SimulatorPrompt, put
from fissile.simulator.reply import Said, said_in

BATCH = 32
"""Failures that are diagnosed at once."""


@dataclass(frozen=True)
class LearnedSource:
    """Diagnoses by a language model, `BATCH` failures at a time.

    Attributes:
        engine: samples from the model.
        chat: its chat format.
        prompt: how a failure is put to it; the one that it was taught with.
        max_new_tokens: limit of a diagnosis.
        room: tokens that a prompt may have; None for no limit.
    """

    engine: Engine
    chat: ChatFormat
    prompt: SimulatorPrompt
    max_new_tokens: int = 128
    room: int | None = None

    name: ClassVar[str] = "learned"

    def prompt_ids(self, failure: Failure) -> tuple[int, ...]:
        """The tokens that the diagnosis of a failure continues."""
        return self.chat.prompt_ids(self.prompt.messages(failure), ())

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        """One text for each failure, in order: the sentence of what `explain` gives."""
        return [said if isinstance(said, NoDiagnosis) else said.sentence for said in self.explain(failures)]

    def explain(self, failures: Sequence[Failure]) -> list[Said | NoDiagnosis]:
        """Fields and a sentence for each failure, in order, greedily.

        `NoDiagnosis` is given for a failure that cannot be put into words, for a prompt without room, for a text
        without an end, and for one that is not of the form (`said_in`).

        Raises:
            InfrastructureError: the engine failed as a whole.
        """
        prompts = [self._prompt(failure) for failure in failures]
        fitting = [ids for ids in prompts if not isinstance(ids, NoDiagnosis)]
        sampling = Sampling(max_new_tokens=self.max_new_tokens, temperature=0.0)
        completions = (
            completion
            for start in range(0, len(fitting), BATCH)
            for completion in self.engine.generate(fitting[start : start + BATCH], sampling)
        )
        return [ids if isinstance(ids, NoDiagnosis) else self._read(next(completions)) for ids in prompts]

    def _prompt(self, failure: Failure) -> tuple[int, ...] | NoDiagnosis:
        ids = put(failure, self.prompt_ids)
        if isinstance(ids, NoDiagnosis) or self.room is None or len(ids) <= self.room:
            return ids
        return NoDiagnosis("prompt_too_long")

    def _read(self, completion: Completion) -> Said | NoDiagnosis:
        if completion.stop is not StopReason.END:
            return NoDiagnosis("truncated" if completion.stop is StopReason.LENGTH else completion.stop.value)
        return said_in(self.chat.decode(completion.ids), needs_fields=True)
