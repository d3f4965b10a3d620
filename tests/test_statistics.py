"""Quantiles; the intervals are tested with the metrics that have them."""

import pytest

from fissile.statistics import quantile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.51, 3), (1.0, 4)])
def test_quantiles_are_observed_values(share: float, expected: int) -> None:
    assert quantile([3, 1, 4, 2], share) == expected
