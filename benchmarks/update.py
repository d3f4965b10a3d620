"""Seconds of an update: forward and backward of one group, packed as ours and padded as TRL's.

python -m benchmarks.update

Both arms call the `compute_loss` of a real trainer on the same rows, every advantage other than zero; TRL's groups are
split into micro-batches where their padded tokens would not fit into memory, and the report says so.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.arms import Channel
from benchmarks.cases import Case
from benchmarks.report import Ratio
from benchmarks.table import Table

if TYPE_CHECKING:
    import torch

    from benchmarks.trainers import Bench


def serve_ours(case: Case, channel: Channel) -> None:
    """Packed rows, the attention over segments, and the head over the completions only."""
    _serve(case, channel, lambda bench, folder, rows: bench.fissile(folder), lambda case, longest: case.rows)


def serve_trl(case: Case, channel: Channel) -> None:
    """One padded row a completion."""
    from benchmarks.trainers import padded_rows

    _serve(case, channel, lambda bench, folder, rows: bench.trl(folder, rows), padded_rows)


def _serve(
    case: Case,
    channel: Channel,
    build: Callable[[Bench, str, int], Any],
    rows_of: Callable[[Case, int], int],
) -> None:
    from benchmarks.trainers import Bench

    bench = Bench(case)
    rows = rows_of(case, max(map(len, bench.prompts)))
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(bench, folder, rows)
        model = trainer.accelerator.prepare_model(trainer.model).train()
        batch = _batch(bench)
        parts = [
            {key: value[start : start + rows] for key, value in batch.items()} for start in range(0, case.rows, rows)
        ]
        trainer.current_gradient_accumulation_steps = len(parts)

        def repetition() -> None:
            for part in parts:
                trainer.accelerator.backward(trainer.compute_loss(model, part))
            model.zero_grad()

        channel.repeat(repetition, **bench.facts(rows_per_micro_batch=rows))


def _batch(bench: Bench) -> dict[str, torch.Tensor]:
    """The rows of a step as TRL lays them out: prompts padded at the left; the completions are drawn at random."""
    import torch

    case, draw = bench.case, random.Random(0)
    prompts = [prompt for prompt in bench.prompts for _ in range(case.group_size)]
    longest = max(map(len, prompts))
    vocabulary = len(bench.chat.tokenizer)  # type: ignore[arg-type]
    completions = [[draw.randrange(vocabulary) for _ in range(case.completion)] for _ in prompts]
    return {
        "prompt_ids": torch.tensor([[*[0] * (longest - len(ids)), *ids] for ids in prompts]),
        "prompt_mask": torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]),
        "completion_ids": torch.tensor(completions),
        "completion_mask": torch.ones(case.rows, case.completion, dtype=torch.long),
        "advantages": torch.tensor([1.0 if row % 2 else -1.0 for row in range(case.rows)]),
    }


TABLE = Table(
    name="update",
    about="Seconds of forward and backward of one group: ours (packed), TRL's (padded).",
    arms={"ours": serve_ours, "trl": serve_trl},
    ratios=(Ratio("speed, ours / trl", "trl", "ours", "3 at prompt 300, 6 at prompt 1000"),),
    memory_ratio=("ours", "trl"),
    groups=1,
)

if __name__ == "__main__":
    TABLE.main()
