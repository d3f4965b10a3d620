from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_lab import write_lab, write_run

from fissile.reports.lab.lab_results import LabResults, lab_results
from fissile.reports.lab.reading import read_lab


@pytest.fixture
def results(tmp_path: Path) -> LabResults:
    """GRPO with three seeds, rules with two of them and a worse one, offline between the two."""
    write_lab(
        tmp_path,
        {"grpo": {}, "offline": {}, "rules": {}, "knob_lifo": {"group": "Knobs", "reference": "rules"}},
        seeds=3,
        order=["grpo", "offline", "rules"],
    )
    spent = {"rollouts": 64, "context_tokens": 1000, "sampled_tokens": 500}
    for seed, right in enumerate((10, 20, 30)):
        write_run(tmp_path, "grpo", seed, (right, 100), spent=spent, seconds={"grpo": 8.0 + seed, "evaluate_grpo": 3.0})
    for seed, right in ((0, 12), (2, 36)):
        write_run(tmp_path, "offline", seed, (right, 100), stage="offline")
    for seed, right in ((0, 20), (1, 19)):
        write_run(tmp_path, "rules", seed, (right, 50), stage="fission")
    write_run(tmp_path, "knob_lifo", 1, (25, 50), stage="fission")
    return lab_results(read_lab(tmp_path))


def test_counts_are_summed_over_seeds(results: LabResults) -> None:
    ratio = results.arms["rules"].ratios["recovery_rate"]
    assert (ratio.num, ratio.den, ratio.rate) == (39, 100, 0.39)
    assert (ratio.low, ratio.high) == (0.38, 0.40)  # one seed twice, in a quarter of the resamples each


def test_the_counts_of_each_seed_can_be_summed_elsewhere(results: LabResults) -> None:
    kept = results.arms["rules"].to_dict()["by_seed"]
    assert {seed: counts["recovery_rate"] for seed, counts in kept.items()} == {"0": (20, 50), "1": (19, 50)}
    assert {*kept["0"]} <= {*results.arms["rules"].ratios}


def test_differences_are_paired_by_seed(results: LabResults) -> None:
    held = results.difference("rules", "recovery_rate")
    assert held is not None
    assert held.by_seed == pytest.approx({0: 0.30, 1: 0.18})
    assert held.mean is not None
    assert held.mean.value == pytest.approx(0.24)
    assert (held.mean.low, held.mean.high) == pytest.approx((0.18, 0.30))
    assert held.mean.excludes_zero
    assert (held.positive, held.p) == (2, 0.5)


def test_seeds_that_one_side_lacks_are_left_out(results: LabResults) -> None:
    held = results.difference("offline", "recovery_rate")
    assert held is not None
    assert held.by_seed == pytest.approx({0: 0.02, 2: 0.06})


def test_a_variation_is_compared_with_its_reference_only(results: LabResults) -> None:
    assert "knob_lifo" not in {held.arm for held in results.differences}
    held = results.difference("knob_lifo", "recovery_rate")
    assert held is not None
    assert held.reference == "rules"
    assert held.by_seed == pytest.approx({1: 0.50 - 0.38})


def test_the_order_is_told_by_metric(results: LabResults) -> None:
    by_metric = {order.metric.key: order for order in results.order}
    recovery = by_metric["recovery_rate"]
    assert [(step.arm, step.reference) for step in recovery.steps] == [("offline", "grpo"), ("rules", "offline")]
    # offline - grpo: (2 + 6) / 2 points; rules - offline: seed 0 alone, 40 - 12 points.
    assert [recovery.gain(step) for step in recovery.steps] == pytest.approx([0.04, 0.28])
    assert recovery.holds is True
    # The same counts as repeats: more of them is the wrong way.
    assert by_metric["repeat_rate"].holds is False


def test_an_order_without_a_common_seed_is_not_told(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}, "rules": {}}, order=["grpo", "rules"])
    write_run(tmp_path, "grpo", 0, (1, 4))
    write_run(tmp_path, "rules", 1, (1, 4), stage="fission")
    held = lab_results(read_lab(tmp_path))
    assert {order.holds for order in held.order} == {None}


def test_costs_are_means_of_a_run_and_evaluations_are_apart(results: LabResults) -> None:
    costs = results.arms["grpo"].costs
    assert costs["training_seconds"].value == pytest.approx(9.0)
    assert costs["evaluation_seconds"].value == pytest.approx(3.0)
    assert (costs["rollouts"].value, costs["context_tokens"].value, costs["sampled_tokens"].value) == (64, 1000, 500)
    assert "rollouts" not in results.arms["rules"].costs


def test_a_rate_of_nothing_makes_no_difference(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}, "rules": {}}, seeds=1)
    write_run(tmp_path, "grpo", 0, (0, 0))
    write_run(tmp_path, "rules", 0, (1, 4), stage="fission")
    held = lab_results(read_lab(tmp_path)).difference("rules", "recovery_rate")
    assert held is not None
    assert (held.by_seed, held.mean, held.p) == ({}, None, None)
