"""The local engine: any Llama- or Qwen-shaped decoder of transformers, on a CPU or a GPU.

What makes it fast, in order: the samples of a prompt share its keys and values (`shared_prefix`), rows that finish
leave the batch and waiting ones take their place, adapters are merged while it generates (`adapters`) into weights laid
out for the processor (`prepacked`), and a retry is read from where the failed attempt ended (`prefill`).

A prompt is read up to its last token, once; its rows then start from that token, so that every sampled token, the
first included, comes from the same kind of step.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from fissile.engines.base import Sampling, check_lengths, longest_input, tell_watcher
from fissile.engines.sampling import draw
from fissile.errors import InfrastructureError
from fissile.kernels.adapters import bare_model, merged_adapters, weights_digest
from fissile.kernels.prefill import FinishedRows, Prefix, prefill_batches, read_prefixes
from fissile.kernels.prepacked import prepacked_linears
from fissile.kernels.shared_prefix import SHARED_PREFIX, SharedPrefixCache, why_not_shareable
from fissile.rollouts import Completion, StopReason

logger = logging.getLogger(__name__)

_COMPACT_AT = 0.75
"""Finished rows leave when at most this share of the batch is alive: moving the others costs a third of a step."""


class TransformersEngine:
    """Samples from a causal language model held in this process.

    After each call the model's weights, training flags and attention implementation are as before; the global random
    state is never touched. A completion depends on the seed, its place among the completions and its prompt; not,
    up to rounding, on `max_rows` or the other prompts.
    """

    def __init__(
        self,
        model: nn.Module,
        end_ids: Iterable[int],
        pad_id: int,
        max_rows: int = 64,
        prefill_tokens: int = 4096,
        merge_adapters: bool = True,
        prepack: bool = True,
        remembered_tokens: int = 0,
    ) -> None:
        """Wrap a model.

        Args:
            model: a causal language model of transformers, bare or wrapped by PEFT or accelerate.
            end_ids: tokens that end a completion.
            pad_id: any valid token id; it fills unequal lengths and never reaches a result.
            max_rows: completions decoded at once.
            prefill_tokens: tokens of prompts read at once, padding included (a single prompt may exceed it).
            merge_adapters: during each call, merge adapters into a copy of the weights.
            prepack: during each call, hold a copy of the weights in the layout that a CPU multiplies fastest.
            remembered_tokens: keep the keys and values of finished rows, so many tokens in all, for later prompts that
                continue them (retries, next turns) with the same weights.

        Raises:
            ModelError: the model is not a causal language model of transformers.
        """
        self._model = bare_model(model)
        self._end_ids = frozenset(end_ids)
        self._pad_id = pad_id
        self._max_rows = max_rows
        self._prefill_tokens = prefill_tokens
        self._merge_adapters = merge_adapters
        self._prepack = prepack
        self._finished = FinishedRows(remembered_tokens)
        self._decode = self._decode_shared
        if reason := why_not_shareable(self._model):
            logger.warning("Generating without shared prefixes, which is slower: %s.", reason)
            self._decode = self._decode_plainly

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        """See `fissile.engines.base.Engine`.

        Raises:
            ModelError: a prompt is empty or too long for the model, or no token may be sampled.
            InfrastructureError: out of memory (reason "out_of_memory").
        """
        check_lengths(prompts, sampling, longest_input(self._model.config))
        repeated = [tuple(prompt) for prompt in prompts for _ in range(samples)]
        rows = [_Row(index, prompt) for index, prompt in enumerate(repeated)]
        generator = torch.Generator().manual_seed(sampling.seed)
        draws = _Draws(torch.rand(len(rows), sampling.max_new_tokens, generator=generator), sampling, self._end_ids)
        adapters = merged_adapters(self._model, self._prepack) if self._merge_adapters else nullcontext()
        layout = prepacked_linears(self._model) if self._prepack else nullcontext()
        if self._finished.max_tokens:
            self._finished.only_of(weights_digest(self._model))
        try:
            with torch.no_grad(), _eval_mode(self._model), adapters, layout, torch.inference_mode():
                self._decode(rows, draws)
        except (MemoryError, torch.OutOfMemoryError) as error:
            self._finished.clear()
            message = f"Out of memory while generating with max_rows = {self._max_rows}. Lower it. ({error})"
            raise InfrastructureError("out_of_memory", message) from error
        return [Completion(tuple(row.ids), tuple(row.logprobs), row.stop or StopReason.LENGTH) for row in rows]

    def forget(self) -> None:
        """Free what is remembered of finished rows."""
        self._finished.clear()

    def _decode_shared(self, rows: list[_Row], draws: _Draws) -> None:
        """Admit, step, drop what finished; until nothing waits and nothing is alive."""
        waiting = _groups(rows, self._max_rows)
        batch: list[_Row] = []
        cache: SharedPrefixCache | None = None
        made = 0
        with _attention(self._model, SHARED_PREFIX):
            while waiting or batch:
                alive = [place for place, row in enumerate(batch) if row.stop is None]
                admitted = self._admit(waiting, [batch[place] for place in alive])
                if cache is not None and (admitted or cache.is_full or len(alive) <= _COMPACT_AT * len(batch)):
                    self._remember(batch, cache)
                    batch = [batch[place] for place in alive]
                    cache = cache.keep(alive) if alive else None
                for joining in self._prefill(admitted):
                    cache = joining if cache is None else cache.join(joining)
                batch += [row for group in admitted for row in group]
                if cache is not None:
                    self._step(batch, cache, draws)
                if (now_made := sum(row.stop is not None for row in rows)) > made:
                    made = now_made
                    tell_watcher(made, len(rows))

    def _admit(self, waiting: deque[list[_Row]], alive: list[_Row]) -> list[list[_Row]]:
        """Take the waiting groups that fit: in rows, and in the grid of groups x rows of the largest group."""
        counts = Counter(row.prompt for row in alive)
        used, width = len(alive), max(counts.values(), default=0)
        admitted: list[list[_Row]] = []
        while waiting and used + len(waiting[0]) <= self._max_rows:
            width = max(width, len(waiting[0]))
            if used and (len(counts) + len(admitted) + 1) * width > 2 * self._max_rows:
                break
            used += len(waiting[0])
            admitted.append(waiting.popleft())
        return admitted

    def _prefill(self, groups: list[list[_Row]]) -> Iterator[SharedPrefixCache]:
        """Read each group's prompt once, all but its last token."""
        prefixes = []
        for group in groups:
            tokens = group[0].prompt[:-1]
            known, layers = self._finished.known(tokens)
            prefixes.append(Prefix(tokens, layers, known))
        for run in prefill_batches(prefixes, self._prefill_tokens):
            reading = prefixes[run.start : run.stop]
            lengths = [len(prefix.tokens) for prefix in reading]
            counts = [len(groups[index]) for index in run]
            yield SharedPrefixCache(read_prefixes(self._model, reading, self._pad_id), lengths, counts)

    def _remember(self, batch: list[_Row], cache: SharedPrefixCache) -> None:
        """Keep the keys and values of the finished rows, for prompts that continue them."""
        if self._finished.max_tokens:
            for place, row in enumerate(batch):
                if row.stop is not None:
                    self._finished.add((*row.prompt, *row.ids[:-1]), cache.sequence(place, len(row.ids)))

    def _step(self, batch: list[_Row], cache: SharedPrefixCache, draws: _Draws) -> None:
        """One token for every row."""
        device = self._model.device
        logits = self._model(
            input_ids=torch.tensor([[row.last_id] for row in batch], device=device),
            position_ids=torch.tensor([[row.position] for row in batch], device=device),
            past_key_values=cache,
            use_cache=True,
            shared_prefix=cache,
        ).logits
        draws.extend(batch, logits[:, -1])

    def _decode_plainly(self, rows: list[_Row], draws: _Draws) -> None:
        """The `generate` of transformers, for a model that `shared_prefix` does not fit."""
        settings = GenerationConfig(
            max_new_tokens=draws.sampling.max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(self._end_ids) or None,
            pad_token_id=self._pad_id,
        )
        for start in range(0, len(rows), self._max_rows):
            batch = rows[start : start + self._max_rows]
            longest = max(len(row.prompt) for row in batch)
            padded = [[*[self._pad_id] * (longest - len(row.prompt)), *row.prompt] for row in batch]
            mask = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in batch]

            def draw_next(_: Tensor, scores: Tensor, batch: list[_Row] = batch) -> Tensor:
                tokens = draws.extend(batch, scores)
                return torch.full_like(scores, float("-inf")).scatter_(-1, tokens[:, None], 0)

            self._model.generate(
                torch.tensor(padded, device=self._model.device),
                attention_mask=torch.tensor(mask, device=self._model.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList([draw_next]),
            )
            tell_watcher(start + len(batch), len(rows))


@dataclass(eq=False, slots=True)
class _Row:
    """A completion in the making: its place among the completions, its prompt, and what was sampled so far."""

    index: int
    prompt: tuple[int, ...]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: StopReason | None = None

    @property
    def last_id(self) -> int:
        return self.ids[-1] if self.ids else self.prompt[-1]

    @property
    def position(self) -> int:
        """Of the last token."""
        return len(self.prompt) + len(self.ids) - 1


@dataclass(frozen=True, slots=True)
class _Draws:
    """The random numbers of a call, [rows, max_new_tokens], one for each token that may be sampled."""

    uniforms: Tensor
    sampling: Sampling
    end_ids: frozenset[int]

    def extend(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """Sample a token for each row, append it to the unfinished ones, and return the tokens, [rows]."""
        last = self.sampling.max_new_tokens - 1
        numbers = self.uniforms[[row.index for row in rows], [min(len(row.ids), last) for row in rows]]
        histories = [(*row.prompt, *row.ids) for row in rows] if self.sampling.repetition_penalty != 1 else ()
        tokens, logprobs = draw(logits, numbers.to(logits.device), self.sampling, histories)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if row.stop is not None:
                continue
            row.ids.append(token)
            row.logprobs.append(logprob)
            if token in self.end_ids:
                row.stop = StopReason.END
            elif len(row.ids) > last:
                row.stop = StopReason.LENGTH
        return tokens


def _groups(rows: Iterable[_Row], limit: int) -> deque[list[_Row]]:
    """Rows of equal prompts together, at most `limit` in a group, longest prompts first."""
    by_prompt: dict[tuple[int, ...], list[_Row]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt, []).append(row)
    ordered = sorted(by_prompt.values(), key=lambda group: -len(group[0].prompt))
    return deque(group[start : start + limit] for group in ordered for start in range(0, len(group), limit))


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each has its own flag back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
