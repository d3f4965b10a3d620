"""The source `learned`: a local model that was taught to diagnose (`fissile simulate train`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fissile.dialects import ChatFormat
from fissile.engines.base import Engine, Sampling
from fissile.feedback import Failure, NoDiagnosis
from fissile.rollouts import Completion, StopReason
from fissile.simulator.prompt import SimulatorPrompt
from fissile.simulator.reply import diagnosis_of


@dataclass(frozen=True)
class LearnedSource:
    """Diagnoses by a language model, all failures at hand in one batch.

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
    max_new_tokens: int = 80
    room: int | None = None

    name: ClassVar[str] = "learned"

    def prompt_ids(self, failure: Failure) -> tuple[int, ...]:
        """The tokens that the diagnosis of a failure continues."""
        return self.chat.prompt_ids(self.prompt.messages(failure), ())

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        """One text for each failure, in order, greedily; none for a prompt without room or a text without an end.

        Raises:
            InfrastructureError: the engine failed as a whole.
        """
        prompts = [self.prompt_ids(failure) for failure in failures]
        fitting = [index for index, ids in enumerate(prompts) if self.room is None or len(ids) <= self.room]
        said: list[str | NoDiagnosis] = [NoDiagnosis("prompt_too_long")] * len(prompts)
        if fitting:
            sampling = Sampling(max_new_tokens=self.max_new_tokens, temperature=0.0)
            completions = self.engine.generate([prompts[index] for index in fitting], sampling)
            for index, completion in zip(fitting, completions, strict=True):
                said[index] = self._read(completion)
        return said

    def _read(self, completion: Completion) -> str | NoDiagnosis:
        if completion.stop is not StopReason.END:
            return NoDiagnosis("truncated" if completion.stop is StopReason.LENGTH else completion.stop.value)
        return diagnosis_of(self.chat.decode(completion.ids))
