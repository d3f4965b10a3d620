from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fissile.reports.learning_curves import PhaseLine, error_curves, learning_curves
from fissile.reports.run_lines import LoggedStep


def steps(**columns: list[float | None]) -> list[LoggedStep]:
    """Steps from 1; every third one is a fission step."""
    length = len(next(iter(columns.values())))
    return [
        LoggedStep(
            index + 1,
            {"fission/is_fission": float(index % 3 == 2)}
            | {key: column[index] for key, column in columns.items() if column[index] is not None},
        )
        for index in range(length)
    ]


def classes(svg: str) -> list[str]:
    return [element.get("class", "") for element in ElementTree.fromstring(svg).iter()]


def test_both_phases_are_drawn_raw_and_smoothed() -> None:
    (curve,) = learning_curves(steps(reward=[float(value) for value in range(24)]))
    drawn = classes(curve.drawing)
    assert [drawn.count(name) for name in ("raw explore", "mean explore", "raw fission", "mean fission")] == [
        1,
        1,
        1,
        1,
    ]
    assert [phase for phase, *_ in curve.ends] == ["explore", "fission"]


def test_few_points_are_dots() -> None:
    (curve,) = learning_curves(steps(grad_norm=[0.2, 0.4, 0.3]))
    drawn = classes(curve.drawing)
    assert (drawn.count("dot explore"), drawn.count("dot fission")) == (2, 1)


def test_panels_without_points_are_left_out() -> None:
    assert learning_curves(steps(unknown=[1.0])) == []
    assert learning_curves([]) == []


def test_a_line_compares_its_first_and_last_quarter() -> None:
    line = PhaseLine("explore", tuple((float(step), float(step)) for step in range(1, 9)))
    assert line.ends == (1.5, 7.5)


def test_the_running_mean_keeps_steps_and_flattens_noise() -> None:
    line = PhaseLine("explore", tuple((float(step), float(step % 2)) for step in range(40)))
    values = [value for _, value in line.smoothed]
    assert [step for step, _ in line.smoothed] == [step for step, _ in line.points]
    assert max(values) - min(values) < 0.5


def test_error_kinds_are_ranked_and_an_absent_one_counts_zero() -> None:
    log: dict[str, list[float | None]] = {
        "errors/wrong_value": [4.0, 5.0, None, 3.0],
        "errors/truncated": [None, 1.0, None, None],
    }
    curves = error_curves(steps(**log))
    assert [curve.title for curve in curves] == ["wrong value", "truncated"]
    assert curves[0].ends == (("explore", "4.00", "3.00"), ("fission", "0", "0"))


@pytest.mark.parametrize("column", [[0.0] * 6, [1.0] * 6, [-2.0, -1.0, -3.0, -2.0, -1.0, -2.5]])
def test_constant_and_negative_lines_stay_inside_the_drawing(column: list[float | None]) -> None:
    (curve,) = learning_curves(steps(reward=column))
    root = ElementTree.fromstring(curve.drawing)
    numbers = [
        float(number)
        for path in root.iter("path")
        for pair in path.get("d", "").removeprefix("M").split("L")
        for number in pair.split()
    ]
    assert numbers
    assert all(0 <= number <= 340 for number in numbers)


def test_later_updates_on_the_same_rollouts_are_of_no_phase() -> None:
    sampled = {"fission/is_fission": 0.0, "errors/wrong_value": 4.0}
    (curve,) = error_curves(
        [LoggedStep(1, sampled), LoggedStep(2, {"grad_norm": 1.0}), LoggedStep(3, sampled), LoggedStep(4, {})]
    )
    assert curve.ends == (("explore", "4.00", "4.00"),)
