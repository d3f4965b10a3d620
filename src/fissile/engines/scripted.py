"""An engine that follows a script, for tests and dry runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fissile.engines.base import Sampling
from fissile.rollouts import Completion, StopReason


@dataclass(frozen=True)
class ScriptedEngine:
    """Answers each prompt with what the script says.

    Attributes:
        script: (prompt ids, index of the sample) -> token ids of the completion, the end token included.
        calls: (prompts, sampling, samples) of every call so far.
    """

    script: Callable[[tuple[int, ...], int], Sequence[int]]
    calls: list[tuple[list[tuple[int, ...]], Sampling, int]] = field(default_factory=list)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """See `fissile.engines.base.Engine`. Longer completions are cut at `max_new_tokens`, as a policy's are."""
        contexts = [tuple(prompt) for prompt in prompts]
        self.calls.append((contexts, sampling, samples))
        return [
            _completion(self.script(context, sample), sampling.max_new_tokens)
            for context in contexts
            for sample in range(samples)
        ]


def _completion(ids: Sequence[int], limit: int) -> Completion:
    return Completion(tuple(ids[:limit]), stop=StopReason.LENGTH if len(ids) > limit else StopReason.END)
