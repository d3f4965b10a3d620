"""Who produces tokens. An engine maps prompts (token ids) to completions (token ids)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from fissile.errors import InfrastructureError, ModelError
from fissile.rollouts import Completion

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        max_new_tokens: limit per completion.
        temperature: 0 means greedy.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of tokens with at least this mass; 1 keeps all.
        seed: the same seed, prompts and weights give the same completions.
        min_p: keep the tokens at least this share as likely as the most likely one; 0 keeps all.
        repetition_penalty: above 1, tokens of the prompt and of the completion so far become less likely, as
            transformers' `RepetitionPenaltyLogitsProcessor` has it; 1 leaves them.
    """

    max_new_tokens: int = 128
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


class Engine(Protocol):
    """A source of completions."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """`samples` completions for each prompt, in order: all of prompt 0, then all of prompt 1, ...

        Args:
            prompts: token ids, any lengths.
            sampling: how tokens are drawn.
            samples: completions for each prompt.

        Returns:
            len(prompts) * samples completions. A completion that the engine could not produce has
            `StopReason.INFRASTRUCTURE` and no ids.
        """
        ...


def complete(
    engine: Engine, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1
) -> list[Completion]:
    """`engine.generate`; when the engine fails as a whole, every completion has `StopReason.INFRASTRUCTURE`.

    It is data then, not a crash: it leaves the batch, counted.
    """
    try:
        return engine.generate(prompts, sampling, samples)
    except InfrastructureError as error:
        logger.warning("No completions (%s): %s", error.reason, error)
        return [Completion.of_failure(error.reason, str(error))] * (len(prompts) * samples)


_WATCHER: ContextVar[Callable[[int, int], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(tell: Callable[[int, int], None]) -> Iterator[None]:
    """Within it, an engine that can tells (completions made, completions of the call) while it goes on."""
    token = _WATCHER.set(tell)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def tell_watcher(made: int, total: int) -> None:
    """What an engine calls during `generate`, whenever more is made."""
    if (tell := _WATCHER.get()) is not None:
        tell(made, total)


def longest_input(config: Any) -> int | None:
    """Tokens that a model reads at most, by its transformers configuration; None where that does not say."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if positions is None else int(positions)


def check_lengths(prompts: Sequence[Sequence[int]], sampling: Sampling, positions: int | None) -> None:
    """Refuse what no engine can sample.

    Args:
        prompts: token ids, any lengths.
        sampling: gives the limit of a completion.
        positions: tokens that the model reads at most, prompt and completion together; None where unknown.

    Raises:
        ModelError: an empty prompt, one that leaves too little room, or no token to sample.
    """
    if sampling.max_new_tokens < 1:
        raise ModelError("max_new_tokens must be at least 1.")
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError(f"Prompt {index} is empty. Give every prompt at least one token.")
        if positions is not None and len(prompt) + sampling.max_new_tokens > positions:
            raise ModelError(
                f"Prompt {index} has {len(prompt)} tokens. With max_new_tokens = {sampling.max_new_tokens} it "
                f"exceeds the {positions} positions of the model: shorten it or lower max_new_tokens."
            )
