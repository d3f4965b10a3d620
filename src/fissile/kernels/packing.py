"""Several sequences in one row, a shared prefix only once.

The layout of a group is `[prefix[:-1], branch 1, branch 2, ...]` where every branch is `[prefix[-1], completion]`.
A branch attends to the prefix and to itself, and its positions go on where the prefix ends, so each log-probability
is the one that the branch has alone. Repeating the last token of the prefix lets the ordinary shift of labels score
the first token of each branch, and the model sees an ordinary forward: wrappers such as DDP work unchanged.

Supervised examples are groups without a prefix. Groups in one row do not see each other.

The mask is boolean ([rows, 1, length, length], True = attend), as sdpa attention takes it in any dtype. The same
structure stands in `packed_segments`, which only `fissile.kernels.packed_attention` reads: faster on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fissile.kernels.packed_attention import Segment, chain_segments

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Continuation:
    """One continuation.

    Attributes:
        ids: its tokens.
        labels: what is scored at each of `ids`: the token, or -100 for none.
        source: where it came from; goes through packing unchanged.
    """

    ids: Sequence[int]
    labels: Sequence[int]
    source: int = 0

    @classmethod
    def scored(cls, ids: Sequence[int], source: int = 0) -> Continuation:
        """A branch of which every token is scored."""
        return cls(ids, ids, source)


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """A prefix, possibly empty, and the branches that continue it."""

    prefix: Sequence[int]
    branches: Sequence[Continuation]

    @property
    def shared(self) -> Sequence[int]:
        """The tokens that stand in the row once."""
        return self.prefix[:-1]

    @property
    def head(self) -> Sequence[int]:
        """What each branch repeats: the last token of the prefix, if there is one."""
        return self.prefix[-1:]

    @property
    def tokens(self) -> int:
        """Length in the row."""
        return len(self.shared) + sum(len(self.head) + len(branch.ids) for branch in self.branches)

    def within(self, budget: int) -> Iterator[PrefixTree]:
        """This group, split into several of at most `budget` tokens where it can be; each has a branch at least.

        Each part repeats the prefix, so a part may hold thrice the prefix whatever the budget says: splitting costs at
        most as much again as not splitting.
        """
        limit = max(budget, 3 * len(self.prefix))
        taken: list[Continuation] = []
        for branch in self.branches:
            if taken and PrefixTree(self.prefix, [*taken, branch]).tokens > limit:
                yield PrefixTree(self.prefix, taken)
                taken = []
            taken.append(branch)
        if taken:
            yield PrefixTree(self.prefix, taken)


@dataclass(frozen=True, slots=True)
class PackedRows:
    """What a model takes, and where each branch's tokens stand.

    Attributes:
        input_ids: [rows, length].
        position_ids: [rows, length].
        attention_mask: [rows, 1, length, length], True where the query (third) attends to the key (fourth).
        labels: [rows, length], -100 where nothing is scored.
        segments: [segments, 6], see `fissile.kernels.packed_attention.Segment`.
        spans: for each branch: its row, the index there of the log-probability of its first token, and the branch.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    segments: Tensor
    spans: tuple[tuple[int, int, Continuation], ...]

    def model_inputs(self) -> dict[str, Tensor]:
        """The arguments of the model's forward."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "attention_mask": self.attention_mask,
            "labels": self.labels,
            "packed_segments": self.segments,
        }


def pack_rows(rows: Sequence[Sequence[PrefixTree]], pad_id: int = 0, device: torch.device | None = None) -> PackedRows:
    """Lay out groups in rows of equal length. Padding is a group of its own and never scored.

    Args:
        rows: the groups of each row.
        pad_id: fills shorter rows.
        device: of the tensors.
    """
    laid = [_OpenRow.of(groups) for groups in rows]
    length = max(len(row.ids) for row in laid)

    def tensor(name: str, fill: int) -> Tensor:
        filled = [[*getattr(row, name), *[fill] * (length - len(row.ids))] for row in laid]
        return torch.tensor(filled, device=device)

    groups, branches = tensor("groups", -1), tensor("branches", -1)
    index = torch.arange(length, device=device)
    earlier = index[:, None] >= index
    same_group = groups[:, :, None] == groups[:, None, :]
    visible = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    mask = earlier & same_group & visible
    return PackedRows(
        input_ids=tensor("ids", pad_id),
        position_ids=tensor("positions", 0),
        attention_mask=mask[:, None],
        labels=tensor("labels", IGNORED),
        segments=torch.tensor([s for number, row in enumerate(laid) for s in row.segments(number, length)]),
        spans=tuple((number, start, branch) for number, row in enumerate(laid) for start, branch in row.spans),
    )


def fill_rows(groups: Sequence[PrefixTree], budget: int) -> list[list[PrefixTree]]:
    """Groups into rows of at most `budget` tokens, longest first, each into the fullest row that still takes it.

    A group that exceeds the budget is split at its branches (see `PrefixTree.within`); a part that still exceeds it
    gets a row of its own.
    """
    parts = sorted((part for group in groups for part in group.within(budget)), key=lambda part: -part.tokens)
    rows: list[list[PrefixTree]] = []
    room: list[int] = []
    for part in parts:
        fitting = [index for index, left in enumerate(room) if left >= part.tokens]
        if fitting:
            best = min(fitting, key=room.__getitem__)
            rows[best].append(part)
            room[best] -= part.tokens
        else:
            rows.append([part])
            room.append(budget - part.tokens)
    return rows


def packed_log_probs(
    forward: Callable[..., Any],
    input_ids: Tensor,
    attention_mask: Tensor,
    logits_to_keep: int,
    token_budget: int,
    compute_entropy: bool = False,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of completions, each distinct prompt computed once; differentiable.

    Args:
        forward: called with `input_ids`, `position_ids`, `attention_mask` and `labels` of one packed row; returns an
            object with `log_probs` and `entropy`, each [1, length - 1], as TRL's fused head does.
        input_ids: [batch, prompt + completion], prompts padded at the left, completions at the right.
        attention_mask: as `input_ids`, 0 for padding.
        logits_to_keep: width of the completion part, in tokens.
        token_budget: tokens of one packed row at most, unless a single branch needs more.
        compute_entropy: also return entropies.
        rows: [batch], False for rows that need no result; they cost nothing and get zeros.

    Returns:
        Log-probabilities and entropies (None unless asked for), [batch, logits_to_keep], zero at padding.
    """
    groups = _by_prompt(input_ids, attention_mask, logits_to_keep, rows)
    scores: list[Any] = []
    for row in fill_rows(groups, token_budget):
        packed = pack_rows([row], device=input_ids.device)
        scores.append((packed, forward(**packed.model_inputs())))
    columns = attention_mask[:, -logits_to_keep:].bool()

    def scatter(values: Sequence[Tensor]) -> Tensor:
        """The packed results at their places in the batch."""
        batch = values[0].new_zeros(columns.shape) if values else input_ids.new_zeros(columns.shape, dtype=torch.float)
        places: list[tuple[Tensor, Tensor]] = []
        found: list[Tensor] = []
        for (packed, _), value in zip(scores, values, strict=True):
            for _, start, branch in packed.spans:
                found.append(value[0, start : start + len(branch.ids)])
                (kept,) = columns[branch.source].nonzero(as_tuple=True)
                places.append((torch.full_like(kept, branch.source), kept))
        if not found:
            return batch
        batch_rows, batch_columns = (torch.cat(parts) for parts in zip(*places, strict=True))
        return batch.index_put((batch_rows, batch_columns), torch.cat(found))

    log_probs = scatter([output.log_probs for _, output in scores])
    return log_probs, scatter([output.entropy for _, output in scores]) if compute_entropy else None


def _by_prompt(input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, rows: Tensor | None) -> list[PrefixTree]:
    """The rows that need a result, as groups of equal prompts. A branch's source is its row."""
    ids, kept = input_ids.tolist(), attention_mask.bool().tolist()
    needed = [True] * len(ids) if rows is None else rows.tolist()
    groups: dict[tuple[int, ...], list[Continuation]] = {}
    for row, (tokens, mask) in enumerate(zip(ids, kept, strict=True)):
        if not needed[row]:
            continue
        start = len(tokens) - logits_to_keep
        prompt = tuple(token for token, keep in zip(tokens[:start], mask[:start], strict=True) if keep)
        completion = [token for token, keep in zip(tokens[start:], mask[start:], strict=True) if keep]
        groups.setdefault(prompt, []).append(Continuation.scored(completion, row))
    return [PrefixTree(prompt, branches) for prompt, branches in groups.items()]


@dataclass(frozen=True, slots=True)
class PackedCollator:
    """Collates supervised examples ({"input_ids", "labels"}: lists of equal length) into packed rows.

    The mean loss over the labels of the batch is that of the examples computed one by one.

    Attributes:
        token_budget: tokens of a row at most, unless a single example is longer.
        pad_id: fills shorter rows.
    """

    token_budget: int
    pad_id: int = 0

    def __call__(self, examples: Sequence[dict[str, Sequence[int]]]) -> dict[str, Tensor]:
        """`input_ids`, `position_ids`, `attention_mask` (4-D) and `labels` of the packed batch."""
        groups = [
            PrefixTree((), [Continuation(list(example["input_ids"]), list(example["labels"]), source)])
            for source, example in enumerate(examples)
        ]
        return pack_rows(fill_rows(groups, self.token_budget), self.pad_id).model_inputs()


@dataclass(slots=True)
class _OpenRow:
    """A row in the making.

    Attributes:
        ids, labels, positions: one entry for each token.
        groups: the group of each token.
        branches: the branch of each token within its group, from 1; 0 for the shared tokens.
        chains: (what it continues, start, end) for each run of tokens.
        spans: as in `PackedRows`.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    chains: list[tuple[tuple[int, int], int, int]] = field(default_factory=list)
    spans: list[tuple[int, Continuation]] = field(default_factory=list)

    @classmethod
    def of(cls, groups: Sequence[PrefixTree]) -> _OpenRow:
        """The layout of these groups, one after the other."""
        row = cls()
        for number, group in enumerate(groups):
            start, shared = len(row.ids), len(group.shared)
            row._append(group.shared, [IGNORED] * shared, 0, number, 0, (start, start))
            for index, branch in enumerate(group.branches, start=1):
                labels = [*[IGNORED] * len(group.head), *branch.labels]
                labels[:1] = [IGNORED] * len(labels[:1])  # nothing before the first token of a branch predicts it
                row.spans.append((len(row.ids) + len(group.head) - 1, branch))
                row._append([*group.head, *branch.ids], labels, shared, number, index, (start, start + shared))
        return row

    def segments(self, number: int, length: int) -> Iterator[Segment]:
        """The segments of this row, the padding up to `length` included."""
        end = len(self.ids)
        for prefix, chain_start, chain_end in [*self.chains, ((end, end), end, length)]:
            yield from chain_segments(number, prefix, chain_start, chain_end)

    def _append(
        self,
        ids: Sequence[int],
        labels: Sequence[int],
        position: int,
        group: int,
        branch: int,
        prefix: tuple[int, int],
    ) -> None:
        self.chains.append((prefix, len(self.ids), len(self.ids) + len(ids)))
        self.ids += ids
        self.labels += labels
        self.positions += range(position, position + len(ids))
        self.groups += [group] * len(ids)
        self.branches += [branch] * len(ids)
