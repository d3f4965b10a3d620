"""Held-out figures at the checkpoints of the training, against steps and against tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fissile.reports.definitions import METRICS
from fissile.reports.lab.curve_figure import Banded, CurveFigure
from fissile.reports.lab.lab_record import Arm, Lab, LabRun, last_spent
from fissile.statistics import BAND_RESAMPLES, ratio_over_seeds

FOLLOWED = ("recovery_rate", "final_accuracy", "repeat_rate")
"""Metrics with a curve."""


def held_out_figures(lab: Lab, arms: Sequence[Arm]) -> Iterator[tuple[str, CurveFigure]]:
    """Each metric against steps, then against tokens, by the name of its file; the baseline stands behind all."""
    titles = {metric.key: metric.title for metric in METRICS}
    baseline = lab.find(lab.baseline)
    for by_tokens in (False, True):
        for key in FOLLOWED:
            lines = {arm.label: line for arm in arms if (line := held_out_line(arm, key, by_tokens))}
            yield (
                f"{key}_by_{'tokens' if by_tokens else 'steps'}",
                CurveFigure(
                    f"{titles[key]} on held-out tasks during training",
                    "counts summed over seeds; 95 % band over seeds",
                    "tokens spent, contexts and samples" if by_tokens else "optimizer steps",
                    {label: {"this arm": line} for label, line in lines.items()},
                    is_share=True,
                    behind=baseline.label if baseline is not None and baseline.label in lines else "",
                ),
            )


def held_out_line(arm: Arm, metric: str, by_tokens: bool) -> tuple[Banded, ...]:
    """Counts summed over seeds at every checkpoint that all of them reached, against steps or the mean tokens spent."""
    runs = [run for run in arm.finished if run.checkpoints]
    if not runs:
        return ()
    points = []
    for step in sorted(set.intersection(*(set(run.checkpoints or ()) for run in runs))):
        ratios = [run.checkpoints[step].ratios.get(metric) for run in runs if run.checkpoints]
        ratio = ratio_over_seeds([(held.num, held.den) for held in ratios if held is not None], BAND_RESAMPLES)
        x = _tokens(runs, step) if by_tokens else float(step)
        if ratio.rate is not None and x is not None:
            points.append((x, ratio.rate, ratio.low, ratio.high))
    return tuple(points)


def _tokens(runs: Sequence[LabRun], step: int) -> float | None:
    """Tokens that a run had spent by a step, the mean of the runs; None where one of them did not count."""
    spent = [last_spent(held for held in run.steps if held.step <= step) for run in runs]
    if not all({"context_tokens", "sampled_tokens"} <= held.keys() for held in spent):
        return None
    return math.fsum(held["context_tokens"] + held["sampled_tokens"] for held in spent) / len(spent)
