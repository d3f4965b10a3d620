"""Intervals over seeds: the percentile bootstrap, and an exact test of paired differences.

The unit that is resampled is the seed, never the episode: episodes of one run share a policy.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fissile.statistics import Ratio

RESAMPLES = 10_000
"""Resamples of the seeds behind an interval in a table."""

BAND_RESAMPLES = 2_000
"""Resamples behind each point of a band in a plot."""

SEED = 0
"""Of the resamples, which are the same for every figure of so many seeds."""

TAILS = (0.025, 0.975)

MAX_FLIPPED = 16
"""Seeds up to which every combination of signs is tried."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its 95 % interval.

    Attributes:
        value: the mean.
        low: lower end of the interval; None with fewer than two seeds.
        high: upper end of the interval; None with fewer than two seeds.
        n: seeds.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean_over_seeds(values: Sequence[float], resamples: int = RESAMPLES) -> Estimate | None:
    """The mean of one value a seed; None where there is no seed."""
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, None, 1)
    means = (sum(map(values.__getitem__, drawn)) / count for drawn in _resamples(count)[:resamples])
    return Estimate(mean, *_interval(means), count)


def ratio_over_seeds(counts: Sequence[tuple[int, int]], resamples: int = RESAMPLES) -> Ratio:
    """A ratio of counts added up over seeds; a resample without any denominator says nothing and is left out.

    Args:
        counts: (numerator, denominator) of each seed.
        resamples: behind the interval.
    """
    nums, dens = [num for num, _ in counts], [den for _, den in counts]
    num, den = sum(nums), sum(dens)
    if den == 0:
        return Ratio(num, den, None, None, None)
    if len(counts) == 1:
        return Ratio(num, den, num / den, None, None)
    totals = (
        (sum(map(nums.__getitem__, drawn)), sum(map(dens.__getitem__, drawn)))
        for drawn in _resamples(len(counts))[:resamples]
    )
    return Ratio(num, den, num / den, *_interval(one / whole for one, whole in totals if whole))


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the exact sign-flip test of a mean of 0: every combination of signs is equally likely.

    With n seeds it is at least 2 / 2^n. None without differences, and above `MAX_FLIPPED` of them.
    """
    if not 0 < len(differences) <= MAX_FLIPPED:
        return None
    observed = abs(math.fsum(differences)) - 1e-12
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(math.fsum(sign * value for sign, value in zip(flip, differences, strict=True))) for flip in signs]
    return sum(value >= observed for value in sums) / len(sums)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The percentile of ascending values, linear between neighbours."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _interval(statistics: Iterator[float]) -> tuple[float, float]:
    ordered = sorted(statistics)
    low, high = (percentile(ordered, share) for share in TAILS)
    return low, high


@cache
def _resamples(count: int) -> tuple[tuple[int, ...], ...]:
    """For each resample the indices of the `count` seeds in it."""
    draw = random.Random(SEED)
    return tuple(tuple(draw.choices(range(count), k=count)) for _ in range(RESAMPLES))
