"""Reading prompts: keys and values of every prefix, once, and none again that a finished row left behind.

A retry after a failed call continues the very tokens of the attempt: [prompt, attempt, feedback]. Where the weights
are still the same, `FinishedRows` has the keys and values of prompt and attempt, and only the feedback is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from fissile.kernels.shared_prefix import SharedPrefixLayer

Tokens = tuple[int, ...]
Layers = list[tuple[Tensor, Tensor]]
"""Keys and values of one sequence in each layer, [kv_heads, tokens, head_dim] each."""


class FinishedRows:
    """Keys and values of finished rows, the latest at the end, up to a number of tokens."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._layers: dict[Tokens, Layers] = {}
        self._weights: object = None

    def only_of(self, weights: object) -> None:
        """Forget what other weights computed; `weights` is anything that differs when they do."""
        if weights != self._weights:
            self.clear()
        self._weights = weights

    def clear(self) -> None:
        """Forget everything."""
        self._layers.clear()

    def add(self, tokens: Tokens, layers: Layers) -> None:
        """Keep one sequence; the oldest ones make room."""
        if len(tokens) > self.max_tokens:
            return
        self._layers.pop(tokens, None)
        while self._layers and sum(map(len, self._layers)) + len(tokens) > self.max_tokens:
            del self._layers[next(iter(self._layers))]
        self._layers[tokens] = layers

    def known(self, tokens: Tokens) -> tuple[int, Layers]:
        """How many of the first tokens are known, and their keys and values; (0, []) if none are.

        A sequence counts only as a whole: that is what a retry continues.
        """
        found = max((known for known in self._layers if known == tokens[: len(known)]), key=len, default=())
        return len(found), self._layers.get(found, [])


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is read of one prompt: all of it but its last token, which is the first that its rows feed.

    Attributes:
        tokens: at least none.
        layers: of the first tokens, if they are known.
        known: how many are.
    """

    tokens: Tokens
    layers: Layers
    known: int

    @property
    def unread(self) -> Tokens:
        """The tokens to read."""
        return self.tokens[self.known :]


def prefill_batches(prefixes: Sequence[Prefix], max_tokens: int) -> Iterator[range]:
    """Runs of prefixes whose unread tokens, padded to the longest, stay within `max_tokens` (one may exceed it)."""
    start, longest = 0, 0
    for index, prefix in enumerate(prefixes):
        longest = max(longest, len(prefix.unread))
        if index > start and (index + 1 - start) * longest > max_tokens:
            yield range(start, index)
            start, longest = index, len(prefix.unread)
    if prefixes:
        yield range(start, len(prefixes))


def read_prefixes(model: PreTrainedModel, prefixes: Sequence[Prefix], pad_id: int) -> list[SharedPrefixLayer]:
    """Keys and values of the prefixes, each padded at the right to the longest, one layer after the other."""
    width = max(1, *(len(prefix.unread) for prefix in prefixes))
    past = max(prefix.known for prefix in prefixes)
    padded = [[*prefix.unread, *[pad_id] * (width - len(prefix.unread))] for prefix in prefixes]
    ids, cache = torch.tensor(padded, device=model.device), DynamicCache()
    if not past:  # padding is at the right, where causality hides it
        model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return [SharedPrefixLayer(layer.keys, layer.values) for layer in cache.layers]
    for index, (keys, values) in enumerate(_pasts(prefixes, past)):
        cache.update(keys, values, index)
    known = torch.tensor([prefix.known for prefix in prefixes], device=model.device)[:, None]
    steps = torch.arange(width, device=model.device)
    columns = torch.arange(past + width, device=model.device)
    visible = (columns >= past - known[:, :, None]) & (columns <= past + steps[:, None])
    model(
        input_ids=ids,
        attention_mask=visible[:, None],
        position_ids=known + steps,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return [SharedPrefixLayer(*_left_aligned((layer.keys, layer.values), prefixes, past)) for layer in cache.layers]


def _pasts(prefixes: Sequence[Prefix], past: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The known keys and values of each layer, [prefixes, kv_heads, past, head_dim], padded at the left."""
    some = next(prefix.layers for prefix in prefixes if prefix.known)
    for index, like in enumerate(some):
        stacks = [x.new_zeros(len(prefixes), x.shape[0], past, x.shape[-1]) for x in like]
        for row, prefix in enumerate(prefixes):
            if prefix.known:
                for stack, x in zip(stacks, prefix.layers[index], strict=True):
                    stack[row, :, past - prefix.known :] = x
        yield stacks[0], stacks[1]


def _left_aligned(layer: Iterable[Tensor], prefixes: Sequence[Prefix], past: int) -> Iterator[Tensor]:
    """Without the padding at the left; padded at the right to the longest prefix."""
    longest = max(len(prefix.tokens) for prefix in prefixes)
    for x in layer:
        aligned = x.new_zeros(*x.shape[:2], max(1, longest), x.shape[-1])
        for row, prefix in enumerate(prefixes):
            start = past - prefix.known
            aligned[row, :, : len(prefix.tokens)] = x[row, :, start : start + len(prefix.tokens)]
        yield aligned
