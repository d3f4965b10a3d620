"""95 % intervals of counts clustered by task; the percentile bootstrap; an exact test of paired differences; quantiles.

Over seeds, the unit that is resampled is the seed, never the episode: episodes of one run share a policy.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

RESAMPLES = 10_000
"""Resamples of the seeds behind an interval in a table."""

BAND_RESAMPLES = 2_000
"""Resamples behind each point of a band in a plot."""

SEED = 0
"""Of the resamples, which are the same for every figure of so many seeds."""

TAILS = (0.025, 0.975)

MAX_FLIPPED = 16
"""Seeds up to which every combination of signs is tried."""

Observation = tuple[str, int, int]
"""(cluster, share of the numerator, share of the denominator)."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of counts with its 95 % interval, clustered by task.

    Attributes:
        num: numerator.
        den: denominator.
        rate: num / den; None where den is 0.
        low: lower end of the interval; None where den is 0.
        high: upper end of the interval; None where den is 0.
    """

    num: int
    den: int
    rate: float | None
    low: float | None
    high: float | None


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


def proportion(observations: Iterable[Observation]) -> Ratio:
    """A share with Wilson's interval at the effective sample size.

    The variance of the ratio is linearised over the clusters. Its quotient with the variance of a simple random sample
    is the design effect, and the number of observations divided by it is the effective sample size, never more than
    the observations. Where the variance says nothing (0 of n, n of n, one cluster, no residual) the number of clusters
    takes its place.
    """
    clusters = _clusters(observations)
    num, den = _totals(clusters)
    if den == 0:
        return Ratio(num, den, None, None, None)
    rate = num / den
    variance = _linearised_variance(clusters)
    simple = rate * (1 - rate) / (den - 1) if den > 1 else 0.0
    effective = min(den, den * simple / variance) if variance > 0 else len(clusters)
    return Ratio(num, den, rate, *_wilson(rate, effective))


def mean(observations: Iterable[Observation]) -> Ratio:
    """A mean of counts, which may exceed 1, with the normal interval of the linearised variance."""
    clusters = _clusters(observations)
    num, den = _totals(clusters)
    if den == 0:
        return Ratio(num, den, None, None, None)
    margin = Z95 * math.sqrt(_linearised_variance(clusters))
    return Ratio(num, den, num / den, max(0.0, num / den - margin), num / den + margin)


def mean_over_seeds(values: Sequence[float], resamples: int = RESAMPLES) -> Estimate | None:
    """The mean of one value a seed; None where there is no seed."""
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, None, 1)
    means = (sum(map(values.__getitem__, drawn)) / count for drawn in resampled(count, resamples))
    return Estimate(mean, *bootstrap_interval(means), count)


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
        for drawn in resampled(len(counts), resamples)
    )
    return Ratio(num, den, num / den, *bootstrap_interval(one / whole for one, whole in totals if whole))


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


def quantile(
    values: Iterable[float], share: float, method: Literal["linear", "nearest", "inverted_cdf"] = "linear"
) -> float:
    """The quantile of at least one value, by one of the methods that numpy names.

    Args:
        values: in any order.
        share: of the values below it, 0 to 1.
        method: "linear" between neighbours; "nearest" is the value at the nearest place, the even one of two;
            "inverted_cdf" is the smallest value that at least this share of the values does not exceed.
    """
    ordered = sorted(values)
    if method == "inverted_cdf":
        return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
    position = share * (len(ordered) - 1)
    if method == "nearest":
        return ordered[round(position)]
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def bootstrap_interval(
    statistics: Iterable[float], method: Literal["linear", "nearest"] = "linear"
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of at least one resample."""
    ordered = sorted(statistics)
    low, high = (quantile(ordered, share, method) for share in TAILS)
    return low, high


@cache
def resampled(count: int, resamples: int = RESAMPLES, seed: int = SEED) -> tuple[tuple[int, ...], ...]:
    """For each resample the indices of the `count` units in it; the first ones are the same for any `resamples`."""
    draw = random.Random(seed)
    return tuple(tuple(draw.choices(range(count), k=count)) for _ in range(resamples))


def _clusters(observations: Iterable[Observation]) -> list[tuple[int, int]]:
    """(numerator, denominator) of each task."""
    sums: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for task_id, num, den in observations:
        total = sums[task_id]
        sums[task_id] = (total[0] + int(num), total[1] + den)
    return list(sums.values())


def _totals(clusters: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(num for num, _ in clusters), sum(den for _, den in clusters)


def _linearised_variance(clusters: Sequence[tuple[int, int]]) -> float:
    """Variance of a ratio by Taylor linearisation, k clusters: k/(k-1) * sum (num_i - rate * den_i)^2 / den^2."""
    count = len(clusters)
    if count < 2:
        return 0.0
    num, den = _totals(clusters)
    squares = sum((num_i * den - num * den_i) ** 2 for num_i, den_i in clusters)  # integers: exactly 0 if degenerate
    return count / (count - 1) * squares / den**4


def _wilson(rate: float, count: float) -> tuple[float, float]:
    """Wilson's score interval at 95 % for a share `rate` of `count` observations."""
    square = Z95 * Z95 / count
    centre = (rate + square / 2) / (1 + square)
    margin = Z95 / (1 + square) * math.sqrt(rate * (1 - rate) / count + square / (4 * count))
    low = 0.0 if rate == 0 else max(0.0, centre - margin)
    high = 1.0 if rate == 1 else min(1.0, centre + margin)
    return low, high
