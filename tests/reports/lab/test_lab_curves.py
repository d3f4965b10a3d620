from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic_lab import write_lab, write_run

from fissile.reports.lab.curves import CurveFigure, Line, Point
from fissile.reports.lab.held_out import held_out_line
from fissile.reports.lab.multiples import multiples
from fissile.reports.lab.plots import lab_plots
from fissile.reports.lab.reading import read_lab
from fissile.reports.lab.results import lab_results
from fissile.reports.lab.training_steps import training_figures, training_line

EXPLORE = {"fission/is_fission": 0.0, "explore/zero_variance_groups": 0.75, "grad_norm": 1.0, "explore/correct": 0.5}
FISSION = {"fission/is_fission": 1.0, "fission/zero_variance_groups": 0.25, "grad_norm": 3.0, "fission/repeat": 0.5}


def spent(context: int, sampled: int) -> dict[str, float]:
    return {"spent/context_tokens": float(context), "spent/sampled_tokens": float(sampled)}


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_checkpoints_are_summed_over_the_seeds_where_all_have_them(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}})
    steps = [spent(100, 10), spent(200, 20)]
    write_run(tmp_path, "grpo", 0, (1, 4), checkpoints={1: (1, 4), 2: (2, 4), 3: (4, 4)}, steps=steps)
    write_run(tmp_path, "grpo", 1, (1, 4), checkpoints={1: (3, 12), 2: (9, 12)}, steps=[spent(300, 30), *steps[1:]])
    (arm,) = read_lab(tmp_path).arms
    line = held_out_line(arm, "recovery_rate", by_tokens=False)
    assert [(point.x, point.y) for point in line] == [(1.0, 4 / 16), (2.0, 11 / 16)]
    assert (line[1].low, line[1].high) == (0.5, 0.75)
    assert [point.x for point in held_out_line(arm, "recovery_rate", by_tokens=True)] == [220.0, 220.0]


def test_windows_are_averaged_by_seed_first(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}})
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[{"loss": 1.0}, {"loss": 3.0}, {"loss": 8.0}])
    write_run(tmp_path, "grpo", 1, (1, 4), steps=[{"loss": 6.0}, {}, {}])
    runs = read_lab(tmp_path).arms[0].finished
    first, second = training_line(runs, lambda run, step: step.figures.get("loss"), window=2)
    assert (first.x, first.y, first.low, first.high) == (1.5, 4.0, 2.0, 6.0)
    assert (second.x, second.y, second.low) == (3.5, 8.0, None)


def test_phases_are_told_apart_and_errors_counted_by_rollout(tmp_path: Path) -> None:
    write_lab(tmp_path, {"rules": {}}, seeds=1)
    explore = EXPLORE | {"errors/wrong_value": 4.0}
    write_run(
        tmp_path, "rules", 0, (1, 4), stage="fission", steps=[explore, EXPLORE, FISSION | {"fission/staleness": 2}]
    )
    figures = {figure.name: figure for figure in training_figures(read_lab(tmp_path).main, with_accuracy=True)}
    lines = {
        (name, line.name): [(point.x, point.y) for point in line.points]
        for name, figure in figures.items()
        for _, held in figure.panels
        for line in held
    }
    assert lines == {
        ("training_accuracy", "explore steps"): [(1, 0.5), (2, 0.5)],
        ("informative_groups", "explore steps"): [(1, 0.25), (2, 0.25)],
        ("informative_groups", "fission steps"): [(3, 0.75)],
        ("gradient_norm", "explore steps"): [(1, 1.0), (2, 1.0)],
        ("gradient_norm", "fission steps"): [(3, 3.0)],
        ("repeats", "fission steps"): [(3, 0.5)],
        ("error_kinds", "wrong value"): [(1, 0.5), (2, 0.0)],  # 4 errors of 2 prompts x 4 samples
        ("staleness", "fission steps"): [(3, 2.0)],
    }


def test_later_updates_on_the_same_rollouts_sample_nothing(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}}, seeds=1)
    later = {"grad_norm": 9.0}
    steps = [EXPLORE | {"errors/wrong_value": 4.0} | spent(100, 10), later, EXPLORE | spent(200, 20), later]
    write_run(tmp_path, "grpo", 0, (1, 4), checkpoints={2: (1, 4), 4: (2, 4)}, steps=steps)
    (arm,) = read_lab(tmp_path).arms
    figures = {figure.name: figure.panels[0][1][0] for figure in training_figures([arm], False) if figure.panels}
    assert [(point.x, point.y) for point in figures["error_kinds"].points] == [(1, 0.5), (3, 0.0)]
    assert [(point.x, point.y) for point in figures["gradient_norm"].points] == [(1, 1.0), (3, 1.0)]
    assert [point.x for point in held_out_line(arm, "recovery_rate", by_tokens=True)] == [110.0, 220.0]


def test_accuracy_in_training_stands_in_for_missing_checkpoints(tmp_path: Path) -> None:
    write_lab(tmp_path, {"start": {}, "grpo": {}}, seeds=1)
    write_run(tmp_path, "start", 0, (1, 4), stage="base")
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[EXPLORE])
    without = {figure.name for figure in lab_results(read_lab(tmp_path)).curves}
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[EXPLORE], checkpoints={1: (1, 2)})
    with_them = lab_results(read_lab(tmp_path)).curves
    assert "training_accuracy" in without
    assert "training_accuracy" not in {figure.name for figure in with_them}
    (recovery,) = (figure for figure in with_them if figure.name == "recovery_rate_by_steps")
    assert [label for label, _ in recovery.panels] == ["grpo"]


def test_a_figure_has_a_panel_for_each_arm_with_bands() -> None:
    line = Line("this arm", (Point(0, 0.2, 0.1, 0.3), Point(40, 0.5, 0.4, 1.0)))
    shared = Line("GRPO", (Point(0, 0.2, None, None),))
    labels = [f"arm {number} <script>" for number in range(12)]
    figure = CurveFigure(
        "x", "Recovery & more", "note", "steps", True, tuple((name, (line,)) for name in labels), shared
    )
    svg = str(multiples(figure))
    told = texts(svg)
    assert [text for text in told if text.startswith("arm")] == labels
    assert "Recovery & more" in told
    assert told.count("100%") == 12
    assert svg.count("Z") == 12  # a band each; the shared line is a point without one
    assert svg.count("<circle") == 12


@pytest.mark.parametrize("value", [0.0, 1.0, 0.37])
def test_one_value_everywhere_can_be_drawn(value: float) -> None:
    line = Line("this arm", (Point(5, value, value, value), Point(9, value, value, value)))
    ElementTree.fromstring(str(multiples(CurveFigure("x", "t", "n", "steps", True, (("arm", (line,)),)))))


def test_plots_are_files_of_their_own(tmp_path: Path) -> None:
    write_lab(
        tmp_path,
        {
            "grpo": {},
            "rules": {"label": "Fission, rules"},
            "knob_x": {"group": "Knobs", "reference": "rules"},
            "late": {},
        },
    )
    cost = {"context_tokens": 1_500_000, "sampled_tokens": 500_000}
    for seed in range(2):
        write_run(tmp_path, "grpo", seed, (1 + seed, 4), steps=[EXPLORE, EXPLORE], spent=cost)
        write_run(tmp_path, "rules", seed, (2 + 2 * seed, 4), stage="fission", steps=[EXPLORE, FISSION], spent=cost)
        write_run(tmp_path, "knob_x", seed, (1, 4), stage="fission", steps=[EXPLORE, FISSION])
    plots = lab_plots(lab_results(read_lab(tmp_path)))
    assert {"differences", "variations", "training_accuracy", "informative_groups", "costs"} <= set(plots)
    for svg in plots.values():
        root = ElementTree.fromstring(str(svg))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "href" not in str(svg)
        assert 'fill="#ffffff"' in str(svg)
    assert "Fission, rules" in texts(str(plots["differences"]))
    assert "+37.5 points, 2 seeds" in str(plots["differences"])  # seeds: 2/4 - 1/4 and 4/4 - 2/4
    assert "2M" in texts(str(plots["costs"]))
