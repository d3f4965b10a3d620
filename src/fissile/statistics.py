"""Shares and means of counts, with 95 % intervals clustered by task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


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


def quantile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
