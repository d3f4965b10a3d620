"""One forward for sequences that share a prefix: every distinct prompt is computed once.

A group of G completions of one prompt becomes one row

    [p_1 ... p_(n-1), (p_n, c1_1 ...), (p_n, c2_1 ...), ...]

with a block mask (a branch sees the prefix and itself) and positions that start anew in each branch. The last prompt
token stands at the head of every branch, so that the ordinary shift of labels by one gives the log-probability of
each branch's first token, and the model's ordinary forward, wrapped or not, does all the work. Exact: the sums are
the same as in the padded batch, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""Label of a position whose token is not scored."""

Forward = Callable[..., Any]
"""The model's forward with TRL's fused head: keyword tensors in, `.log_probs` and `.entropy`, [1, L - 1] or so, out."""


@dataclass(frozen=True)
class Tree:
    """A prefix and the branches that continue it.

    Attributes:
        prefix: token ids, possibly none.
        branches: token ids of each continuation.
        scored: for each branch, which tokens get a label; all of them by default.
    """

    prefix: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    scored: tuple[tuple[bool, ...], ...] = ()

    def __len__(self) -> int:
        """Tokens that the tree takes in a packed row."""
        repeated = int(bool(self.prefix))
        return max(0, len(self.prefix) - 1) + sum(repeated + len(branch) for branch in self.branches)


@dataclass(frozen=True)
class PackedRow:
    """Several trees in one row of L tokens.

    Attributes:
        inputs: `input_ids`, `position_ids` and `labels`, [1, L], and `attention_mask`, bool [1, 1, L, L].
        places: for each tree and branch, where the branch's own tokens stand in the row.
    """

    inputs: dict[str, Tensor]
    places: tuple[tuple[slice, ...], ...]


def pack(trees: Sequence[Tree]) -> PackedRow:
    """One row of trees that cannot see each other."""
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    trunk: list[int] = []  # of which trunk a position is part or child
    branch: list[int] = []  # of which branch it is part; -1 for a trunk
    places: list[tuple[slice, ...]] = []
    branches = 0
    for number, tree in enumerate(trees):
        shared, head = tree.prefix[:-1], tree.prefix[-1:]
        ids += shared
        positions += range(len(shared))
        labels += [IGNORED] * len(shared)
        branch += [-1] * len(shared)
        slots: list[slice] = []
        for index, tokens in enumerate(tree.branches):
            scored = tree.scored[index] if tree.scored else (True,) * len(tokens)
            ids += (*head, *tokens)
            positions += range(len(shared), len(shared) + len(head) + len(tokens))
            labels += [IGNORED] * len(head)
            labels += [token if counts else IGNORED for token, counts in zip(tokens, scored, strict=True)]
            branch += [branches] * (len(head) + len(tokens))
            branches += 1
            slots.append(slice(len(ids) - len(tokens), len(ids)))
        places.append(tuple(slots))
        trunk += [number] * (len(ids) - len(trunk))
    inputs = {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "labels": torch.tensor([labels]),
        "attention_mask": _block_mask(torch.tensor(trunk), torch.tensor(branch)),
    }
    return PackedRow(inputs, tuple(places))


def _block_mask(trunk: Tensor, branch: Tensor) -> Tensor:
    """[1, 1, L, L], true where the row's position may see the column's: earlier, same tree, and trunk or own branch."""
    causal = torch.ones(len(trunk), len(trunk), dtype=torch.bool).tril()
    same_tree = trunk[:, None] == trunk[None, :]
    visible = (branch[None, :] < 0) | (branch[:, None] == branch[None, :])
    return (causal & same_tree & visible)[None, None]


def batched(trees: Sequence[Tree], token_budget: int) -> Iterator[list[int]]:
    """Indices of the trees of each row: in order, up to `token_budget` tokens, at least one tree a row."""
    row: list[int] = []
    used = 0
    for index, tree in enumerate(trees):
        if row and used + len(tree) > token_budget:
            yield row
            row, used = [], 0
        row.append(index)
        used += len(tree)
    if row:
        yield row


def packed_log_probs(
    forward: Forward,
    input_ids: Tensor,
    attention_mask: Tensor,
    completion_length: int,
    *,
    token_budget: int,
    compute_entropy: bool = False,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of the completions of a padded batch, computed packed.

    Args:
        forward: called with the inputs of a packed row.
        input_ids: [B, P + C], prompts padded on the left, completions on the right.
        attention_mask: [B, P + C].
        completion_length: C.
        token_budget: tokens of one forward at most, unless a single group has more.
        compute_entropy: also return the entropies.
        rows: [B] bool, which rows are wanted; the others get zeros and cost nothing. All by default.

    Returns:
        Log-probabilities [B, C] and entropies [B, C] (or None), zero where there is no token.
    """
    wanted = range(len(input_ids)) if rows is None else rows.nonzero().flatten().tolist()
    groups: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    split = input_ids.shape[1] - completion_length
    for row in wanted:
        kept = attention_mask[row].bool()
        prompt = tuple(input_ids[row, :split][kept[:split]].tolist())
        groups.setdefault(prompt, []).append((row, tuple(input_ids[row, split:][kept[split:]].tolist())))
    trees = [Tree(prompt, tuple(completion for _, completion in group)) for prompt, group in groups.items()]
    members = [[row for row, _ in group] for group in groups.values()]
    log_probs: dict[int, Tensor] = {}
    entropies: dict[int, Tensor] = {}
    for chosen in batched(trees, token_budget):
        packed = pack([trees[index] for index in chosen])
        outputs = forward(**{name: tensor.to(input_ids.device) for name, tensor in packed.inputs.items()})
        for index, places in zip(chosen, packed.places, strict=True):
            for row, place in zip(members[index], places, strict=True):
                scored = slice(place.start - 1, place.stop - 1)  # outputs stand one before the token they score
                log_probs[row] = outputs.log_probs[0, scored]
                if compute_entropy:
                    entropies[row] = outputs.entropy[0, scored].detach()
    shape = (len(input_ids), completion_length)
    return _padded(log_probs, shape, input_ids.device), (
        _padded(entropies, shape, input_ids.device) if compute_entropy else None
    )


def _padded(by_row: dict[int, Tensor], shape: tuple[int, int], device: torch.device) -> Tensor:
    rows = [by_row.get(row, torch.zeros(0, device=device)) for row in range(shape[0])]
    return torch.stack([torch.nn.functional.pad(row.float(), (0, shape[1] - len(row))) for row in rows])


@dataclass(frozen=True)
class PackedCollator:
    """Supervised examples in packed rows of about `token_budget` tokens; for `transformers.Trainer`.

    Examples are {"input_ids", "labels"}; the batch is one row, whatever its length, so that the loss is the mean
    over all labelled tokens of the batch.
    """

    token_budget: int

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """One row that holds every example."""
        trees = [
            Tree((), (tuple(example["input_ids"]),), (tuple(label != IGNORED for label in example["labels"]),))
            for example in examples
        ]
        return pack(trees).inputs
