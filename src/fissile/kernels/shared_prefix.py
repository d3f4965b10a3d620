"""Attention of a decoding batch whose rows share prefixes, exact and without copying a prefix.

The samples of one prompt form a group. The keys and values of the prompt are kept once for the group; every row
keeps only those of its own tokens. At each step the scores over the prefix are one matrix product a group
(`samples * heads` queries at once instead of one matrix-vector product a row), put beside the scores over the rows'
own tokens, and normalised by one softmax.

It attaches to transformers by its two public hooks: a `Cache`, and an attention function registered under
`SHARED_PREFIX`, which receives the cache as the keyword argument `shared_prefix` of the model's forward.
https://huggingface.co/docs/transformers/attention_interface
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SHARED_PREFIX = "fissile_shared_prefix"
"""Name of the attention function. It is in no mask table, so transformers builds no mask for it."""

_CAPACITY = 32
"""Columns of own tokens are reserved so many at a time."""

_UNSUPPORTED_OPTIONS = ("softcap", "s_aux", "sliding_window", "position_bias")


@dataclass(frozen=True, slots=True)
class Grid:
    """The rows arranged as `groups` x `width` slots; groups with fewer rows than `width` leave slots without meaning.

    Attributes:
        groups: number of groups.
        width: rows of the largest group.
        rows: [groups * width] the row that fills each slot; None where the slots are the rows.
        slots: [rows] the slot of each row; None where the slots are the rows.
    """

    groups: int
    width: int
    rows: Tensor | None
    slots: Tensor | None

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> Grid:
        """The grid of groups with `counts` rows each; the rows are ordered by group."""
        width = max(counts)
        if min(counts) == width:
            return cls(len(counts), width, None, None)
        slots = [group * width + place for group, count in enumerate(counts) for place in range(count)]
        rows = [0] * (len(counts) * width)
        for row, slot in enumerate(slots):
            rows[slot] = row
        return cls(len(counts), width, torch.tensor(rows, device=device), torch.tensor(slots, device=device))

    def spread(self, x: Tensor) -> Tensor:
        """[rows, kv_heads, ...] -> [groups, kv_heads, width, ...]."""
        x = x if self.rows is None else x[self.rows]
        return x.reshape(self.groups, self.width, *x.shape[1:]).transpose(1, 2)

    def gather(self, x: Tensor) -> Tensor:
        """The inverse of `spread`."""
        x = x.transpose(1, 2).flatten(0, 1)
        return x if self.slots is None else x[self.slots]


class SharedPrefixLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values.

    Attributes:
        prefix_keys, prefix_values: [groups, kv_heads, longest prefix, head_dim], padded at the right.
        keys, values: [groups, kv_heads, width, capacity, head_dim] in the slots of the grid; the first `length`
            columns are written, the others zero. Attended to as a whole, with a mask: a view of a part would be copied.
        length: number of steps written.
    """

    def __init__(self, prefix_keys: Tensor, prefix_values: Tensor) -> None:
        super().__init__()
        self.prefix_keys, self.prefix_values = prefix_keys.contiguous(), prefix_values.contiguous()
        groups, heads, _, head_dim = prefix_keys.shape
        self.keys, self.values = (prefix_keys.new_empty(groups, heads, 0, 0, head_dim) for _ in range(2))
        self.length = 0
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the layer is built from its prefixes."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one step ([groups, kv_heads, width, head_dim]) and return all columns."""
        self.keys[..., self.length, :] = key_states
        self.values[..., self.length, :] = value_states
        self.length += 1
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the rows' own tokens make, and their offset."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Steps written."""
        return self.length

    def get_max_length(self) -> int:
        """No maximum."""
        return -1

    def keep(self, groups: Tensor, longest: int) -> None:
        """Keep these groups, their prefixes cut to `longest` positions."""
        self.prefix_keys = self.prefix_keys[groups, :, :longest]
        self.prefix_values = self.prefix_values[groups, :, :longest]

    def join(self, other: SharedPrefixLayer) -> None:
        """Append the prefixes of another layer."""
        longest = max(self.prefix_keys.shape[2], other.prefix_keys.shape[2])
        self.prefix_keys = torch.cat([_padded(part.prefix_keys, longest) for part in (self, other)])
        self.prefix_values = torch.cat([_padded(part.prefix_values, longest) for part in (self, other)])

    def move(self, sources: tuple[Tensor, Tensor] | None, oldest: int, grid: Grid, capacity: int) -> None:
        """Rearrange the rows' own tokens.

        Args:
            sources: group and place that each slot of the new grid, [groups * width] each, had in the old one; None
                if there was no row.
            oldest: steps to drop at the front.
            grid: the new grid.
            capacity: columns of the new arrangement.
        """
        self.keys = _moved(self.keys, sources, slice(oldest, self.length), grid, capacity)
        self.values = _moved(self.values, sources, slice(oldest, self.length), grid, capacity)
        self.length -= oldest


class SharedPrefixCache(Cache):  # type: ignore[misc]
    """The keys and values of a decoding batch: prefixes by group, own tokens by row, rows ordered by group.

    Rows may enter at different steps: all write the same column at the same step, and a mask hides the columns from
    before a row entered.
    """

    def __init__(self, layers: Sequence[SharedPrefixLayer], lengths: Sequence[int], counts: Sequence[int]) -> None:
        """Start with one group for each prefix.

        Args:
            layers: the prefixes' keys and values.
            lengths: prefix length of each group, in tokens.
            counts: rows of each group, at least 1.
        """
        super().__init__(layers=list(layers))
        self.lengths, self.counts = list(lengths), list(counts)
        self._entered = [0] * sum(counts)
        self._arrange()

    @property
    def steps(self) -> int:
        """Steps written since the oldest row entered."""
        return int(self.layers[0].length)

    @property
    def is_full(self) -> bool:
        """True when the next step would not fit."""
        return self.steps == self._capacity

    def keep(self, rows: Sequence[int]) -> SharedPrefixCache:
        """Keep only these rows (ascending, at least one), drop empty groups, and make room for more steps."""
        places = self._places()
        kept = [places[row] for row in rows]
        groups = sorted({group for group, _ in kept})
        oldest = min(self._entered[row] for row in rows)
        self.lengths = [self.lengths[group] for group in groups]
        self.counts = [sum(group == other for other, _ in kept) for group in groups]
        self._entered = [self._entered[row] - oldest for row in rows]
        index = torch.tensor(groups, device=self.layers[0].keys.device)
        for layer in self.layers:
            layer.keep(index, max(1, *self.lengths))
        return self._arrange(kept, oldest)

    def join(self, other: SharedPrefixCache) -> SharedPrefixCache:
        """Append the groups of a cache that has taken no step yet."""
        places = [*self._places(), *[(0, 0)] * sum(other.counts)]  # a new row has no columns of its own: any will do
        self._entered += [self.steps] * sum(other.counts)
        self.lengths += other.lengths
        self.counts += other.counts
        for layer, new in zip(self.layers, other.layers, strict=True):
            layer.join(new)
        return self._arrange(places)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *arguments: Any, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one layer's step, [rows, kv_heads, 1, head_dim]; the first layer's makes the column visible."""
        if layer_idx == 0:
            self._own_mask[..., self.steps] = self._entry_mask[..., self.steps]
        step = (self.grid.spread(states[:, :, 0]) for states in (key_states, value_states))
        written: tuple[Tensor, Tensor] = super().update(*step, layer_idx, *arguments, **options)
        return written

    def attend(self, layer_index: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of one step.

        Args:
            layer_index: which layer.
            query: [rows, kv_heads, repeats, head_dim], scaled.
            key: [groups, kv_heads, width, capacity, head_dim], the rows' own tokens.
            value: as `key`.

        Returns:
            [rows, kv_heads, repeats, head_dim].
        """
        layer = self.layers[layer_index]
        by_row = self.grid.spread(query).contiguous()  # [groups, kv_heads, width, repeats, head_dim]
        slots, groups = by_row.flatten(0, 2), by_row.flatten(0, 1).flatten(1, 2)
        prefix_keys, prefix_values = layer.prefix_keys.flatten(0, 1), layer.prefix_values.flatten(0, 1)
        shared = groups @ prefix_keys.transpose(1, 2)
        if self._prefix_mask is not None:
            shared += self._prefix_mask
        own = (slots @ key.flatten(0, 2).transpose(1, 2)).add_(self._own_mask)
        own_shape, columns = own.shape, own.shape[-1]
        weights = torch.cat([shared, own.view(*groups.shape[:2], columns)], dim=-1).softmax(dim=-1)
        for_prefix, for_own = weights[..., :-columns], weights[..., -columns:]
        mixed = for_own.reshape(own_shape) @ value.flatten(0, 2)
        mixed = torch.baddbmm(mixed.view_as(groups), for_prefix, prefix_values)
        return self.grid.gather(mixed.view_as(by_row))

    def sequence(self, row: int, steps: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of a row's prefix and its first `steps` own tokens, [kv_heads, tokens, head_dim] a layer."""
        group, place = self._places()[row]
        length, start = self.lengths[group], self._entered[row]
        own = (group, slice(None), place, slice(start, start + steps))
        prefix = (group, slice(None), slice(length))
        return [
            (
                torch.cat([layer.prefix_keys[prefix], layer.keys[own]], dim=1),
                torch.cat([layer.prefix_values[prefix], layer.values[own]], dim=1),
            )
            for layer in self.layers
        ]

    def _places(self) -> list[tuple[int, int]]:
        """Group and place in the group of each row."""
        return [(group, place) for group, count in enumerate(self.counts) for place in range(count)]

    def _arrange(self, places: list[tuple[int, int]] | None = None, oldest: int = 0) -> SharedPrefixCache:
        """Room, grid and masks for the present groups and rows, which stood at `places` (None: nowhere)."""
        first = self.layers[0].prefix_keys
        device, dtype = first.device, first.dtype
        steps = self.steps - oldest
        self._capacity = (steps // _CAPACITY + 1) * _CAPACITY
        self.grid = Grid.of(self.counts, device)
        sources = None
        if places is not None:
            filling = range(len(places)) if self.grid.rows is None else self.grid.rows.tolist()
            group, place = torch.tensor([places[row] for row in filling], device=device).unbind(-1)
            sources = (group, place)
        for layer in self.layers:
            layer.move(sources, oldest, self.grid, self._capacity)
        heads = first.shape[1]
        ends = torch.tensor(self.lengths, device=device)[:, None, None].expand(-1, heads, -1).reshape(-1, 1, 1)
        hidden = torch.arange(first.shape[2], device=device) >= ends
        self._prefix_mask = _hiding(hidden, dtype) if min(self.lengths) < first.shape[2] else None
        entered = self.grid.spread(torch.tensor(self._entered, device=device)[:, None].expand(-1, heads))
        columns, begins = torch.arange(self._capacity, device=device), entered.reshape(-1, 1, 1)
        self._entry_mask = _hiding(columns < begins, dtype)
        self._own_mask = _hiding((columns < begins) | (columns >= steps), dtype)
        return self


def _padded(x: Tensor, length: int) -> Tensor:
    return nn.functional.pad(x, (0, 0, 0, length - x.shape[2]))


def _moved(x: Tensor, sources: tuple[Tensor, Tensor] | None, steps: slice, grid: Grid, capacity: int) -> Tensor:
    """One of a layer's `keys` and `values` in a new arrangement, see `SharedPrefixLayer.move`."""
    moved = x.new_zeros(grid.groups, x.shape[1], grid.width, capacity, x.shape[-1])
    if sources is not None:
        group, place = sources
        rows = x[group, :, place, steps]  # [slots, kv_heads, steps, head_dim]
        rows = rows.reshape(grid.groups, grid.width, *rows.shape[1:]).transpose(1, 2)
        moved[..., : rows.shape[3], :] = rows
    return moved


def _hiding(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that the hidden ones have no weight."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))


def _shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    shared_prefix: SharedPrefixCache | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The attention function, query [rows, heads, tokens, head_dim] -> [rows, tokens, heads, head_dim].

    Without `shared_prefix` it is plain causal attention: the prompts are being read.
    """
    if shared_prefix is None:
        causal: tuple[Tensor, None] = ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return causal
    if unknown := [name for name in _UNSUPPORTED_OPTIONS if options.get(name) is not None]:
        raise ValueError(f"Attention over shared prefixes does not know {', '.join(unknown)}.")
    rows, heads, _, head_dim = query.shape
    kv_heads = key.shape[1]
    grouped = (query * scaling).view(rows, kv_heads, heads // kv_heads, head_dim)
    mixed = shared_prefix.attend(int(module.layer_idx), grouped, key, value)  # type: ignore[arg-type]
    return mixed.reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(SHARED_PREFIX, _shared_prefix_attention)


def why_not_shareable(model: PreTrainedModel) -> str:
    """Why the attention of this model cannot run over shared prefixes; "" if it can."""
    config = model.config.get_text_config()
    layer_types = getattr(config, "layer_types", None)
    windowed = getattr(config, "sliding_window", None) if layer_types is None else None
    reasons = (
        (not getattr(model, "_supports_attention_backend", False), "it has an attention of its own"),
        (config is not model.config or config.is_encoder_decoder, "it is not a text decoder"),
        (bool(windowed or set(layer_types or ()) - {"full_attention"}), "some layers do not attend to all tokens"),
        (getattr(config, "attn_logit_softcapping", None) is not None, "its attention scores are capped"),
        (any(name.endswith("sinks") for name, _ in model.named_parameters()), "it has attention sinks"),
    )
    return next((reason for applies, reason in reasons if applies), "")
