from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.statistics import RESAMPLES, SEED, mean_over_seeds, quantile, ratio_over_seeds, sign_flip_p


def slow_resamples(count: int) -> list[list[int]]:
    draw = random.Random(SEED)
    return [draw.choices(range(count), k=count) for _ in range(RESAMPLES)]


def slow_percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    rest = position - below
    return ordered[below] if not rest else ordered[below] * (1 - rest) + ordered[below + 1] * rest


def test_a_mean_has_the_interval_of_the_obvious_bootstrap() -> None:
    values = [0.10, -0.02, 0.07, 0.31, 0.05]
    estimate = mean_over_seeds(values)
    means = [sum(values[index] for index in drawn) / 5 for drawn in slow_resamples(5)]
    assert estimate is not None
    assert estimate.value == pytest.approx(0.102)
    assert estimate.low == pytest.approx(slow_percentile(means, 0.025))
    assert estimate.high == pytest.approx(slow_percentile(means, 0.975))


def test_a_ratio_is_of_sums_and_resamples_whole_seeds() -> None:
    counts = [(1, 10), (30, 40), (0, 0), (5, 6)]
    ratio = ratio_over_seeds(counts)
    rates = []
    for drawn in slow_resamples(4):
        den = sum(counts[index][1] for index in drawn)
        if den:
            rates.append(sum(counts[index][0] for index in drawn) / den)
    assert (ratio.num, ratio.den, ratio.rate) == (36, 56, 36 / 56)
    assert ratio.low == pytest.approx(slow_percentile(rates, 0.025))
    assert ratio.high == pytest.approx(slow_percentile(rates, 0.975))


def test_two_seeds_have_the_interval_between_them() -> None:
    # Half of the resamples mix both; a quarter each is one seed twice, far more than 2.5 %.
    estimate = mean_over_seeds([0.25, 0.75])
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.25, 0.75)


def test_nothing_and_one_seed_have_no_interval() -> None:
    assert mean_over_seeds([]) is None
    alone = mean_over_seeds([0.5])
    assert alone is not None
    assert (alone.value, alone.low, alone.n, alone.excludes_zero) == (0.5, None, 1, False)
    assert ratio_over_seeds([]).rate is None
    assert ratio_over_seeds([(0, 0), (0, 0)]).rate is None
    assert (ratio_over_seeds([(1, 4)]).rate, ratio_over_seeds([(1, 4)]).low) == (0.25, None)


@pytest.mark.parametrize(("values", "excludes"), [([0.1, 0.2], True), ([-0.1, -0.2], True), ([-0.1, 0.2], False)])
def test_an_interval_excludes_zero_on_either_side(values: list[float], excludes: bool) -> None:
    estimate = mean_over_seeds(values)
    assert estimate is not None
    assert estimate.excludes_zero is excludes


def test_quantiles_are_linear_between_neighbours() -> None:
    assert quantile([20.0, 0.0, 10.0], 0.025) == pytest.approx(0.5)
    assert quantile([0.0, 10.0, 20.0], 0.975) == pytest.approx(19.5)
    assert quantile([7.0], 0.975) == 7.0


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.51, 3), (1.0, 4)])
def test_quantiles_by_the_inverted_cdf_are_observed_values(share: float, expected: int) -> None:
    assert quantile([3, 1, 4, 2], share, "inverted_cdf") == expected


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 3), (0.3, 2), (1.0, 4)])
def test_of_two_equally_near_places_the_even_one_counts(share: float, expected: int) -> None:
    assert quantile([3, 1, 4, 2], share, "nearest") == expected


def test_sign_flips_by_hand() -> None:
    # |1 + 2 + 3| = 6 is reached by +++ and --- of the 8 sign combinations.
    assert sign_flip_p([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    # |1 + 2 - 3| = 0 is reached by all of them.
    assert sign_flip_p([1.0, 2.0, -3.0]) == 1.0
    assert sign_flip_p([0.1] * 8) == pytest.approx(2 / 256)
    assert sign_flip_p([]) is None
    assert sign_flip_p([0.1] * 17) is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_an_interval_holds_its_mean_and_stays_within_the_values(values: list[float]) -> None:
    estimate = mean_over_seeds(values, resamples=500)
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert min(values) - 1e-12 <= estimate.low <= estimate.high <= max(values) + 1e-12
    if max(values) - min(values) > 1e-6:
        again = mean_over_seeds(values, resamples=500)
        assert again == estimate
