"""Seconds and peak memory of one training step: our explore and fission steps, and vanilla `trl.GRPOTrainer`.

python -m benchmarks.step

The trainers run as they are, on the same prompts, with the same model, LoRA, rollouts and completion length, and a
reward drawn at random. Sampling, rewards, update and optimizer are all in a step.
"""

from __future__ import annotations

import tempfile

from benchmarks.arms import Channel
from benchmarks.cases import Case
from benchmarks.report import Ratio
from benchmarks.table import Table


def serve_ours(case: Case, channel: Channel) -> None:
    """`FissionGRPOTrainer`; explore and fission steps alternate."""
    from benchmarks.trainers import Bench, StepTurns, phases

    bench = Bench(case)
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.fissile(folder)
        trainer.add_callback(StepTurns(channel, phases(trainer)))
        channel.ready(**bench.facts(rows_per_micro_batch=case.group_size))
        trainer.train()


def serve_trl(case: Case, channel: Channel) -> None:
    """`trl.GRPOTrainer`."""
    from benchmarks.trainers import Bench, StepTurns, padded_rows

    bench = Bench(case)
    rows = padded_rows(case, max(map(len, bench.prompts)))
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.trl(folder, rows)
        trainer.add_callback(StepTurns(channel))
        channel.ready(**bench.facts(rows_per_micro_batch=rows))
        trainer.train()


TABLE = Table(
    name="step",
    about="Seconds of a whole step: our explore and fission steps, and vanilla trl.GRPOTrainer.",
    arms={"ours": serve_ours, "trl": serve_trl},
    kinds={"ours": ("explore", "fission")},
    ratios=(
        Ratio("speed, explore / trl", "trl", "ours explore", "6 at prompt 300"),
        Ratio("speed, fission / trl", "trl", "ours fission"),
        Ratio("seconds, fission / explore", "ours fission", "ours explore", "at most 1.15"),
    ),
    memory_ratio=("ours", "trl"),
)

if __name__ == "__main__":
    TABLE.main()
