from __future__ import annotations

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic_lab import write_lab, write_run

from fissile.errors import RunError
from fissile.reports.lab import draw_again, write_lab_report
from fissile.reports.lab.held_out import held_out_line
from fissile.reports.lab.lab_results import lab_results
from fissile.reports.lab.plots import lab_plots
from fissile.reports.lab.reading import read_lab
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
    assert [point[:2] for point in line] == [(1.0, 4 / 16), (2.0, 11 / 16)]
    assert line[1][2:] == (0.5, 0.75)
    assert [x for x, *_ in held_out_line(arm, "recovery_rate", by_tokens=True)] == [220.0, 220.0]


def test_windows_are_averaged_by_seed_first(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {}})
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[{"loss": 1.0}, {"loss": 3.0}, {"loss": 8.0}])
    write_run(tmp_path, "grpo", 1, (1, 4), steps=[{"loss": 6.0}, {}, {}])
    runs = read_lab(tmp_path).arms[0].finished
    first, second = training_line(runs, lambda run, step: step.figures.get("loss"), window=2)
    assert first == (1.5, 4.0, 2.0, 6.0)
    assert second == (3.5, 8.0, None, None)


def test_phases_are_told_apart_and_errors_counted_by_rollout(tmp_path: Path) -> None:
    write_lab(tmp_path, {"rules": {}}, seeds=1)
    explore = EXPLORE | {"errors/wrong_value": 4.0}
    write_run(
        tmp_path, "rules", 0, (1, 4), stage="fission", steps=[explore, EXPLORE, FISSION | {"fission/staleness": 2}]
    )
    lines = {
        (name, told): [point[:2] for point in line]
        for name, figure in training_figures(read_lab(tmp_path).main, with_accuracy=True)
        for held in figure.arms.values()
        for told, line in held.items()
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
    figures = {name: figure.arms.get("grpo", {}) for name, figure in training_figures([arm], False)}
    assert [point[:2] for point in figures["error_kinds"]["wrong value"]] == [(1, 0.5), (3, 0.0)]
    assert [point[:2] for point in figures["gradient_norm"]["explore steps"]] == [(1, 1.0), (3, 1.0)]
    assert [x for x, *_ in held_out_line(arm, "recovery_rate", by_tokens=True)] == [110.0, 220.0]


def test_accuracy_in_training_stands_in_for_missing_checkpoints(tmp_path: Path) -> None:
    write_lab(tmp_path, {"start": {}, "grpo": {}}, seeds=1)
    write_run(tmp_path, "start", 0, (1, 4), stage="base")
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[EXPLORE])
    without = lab_results(read_lab(tmp_path)).curves
    write_run(tmp_path, "grpo", 0, (1, 4), steps=[EXPLORE], checkpoints={1: (1, 2)})
    with_them = lab_results(read_lab(tmp_path)).curves
    assert "training_accuracy" in without
    assert "training_accuracy" not in with_them
    assert list(with_them["recovery_rate_by_steps"].arms) == ["grpo"]
    assert with_them["recovery_rate_by_steps"].behind == "grpo"


def drawn(arms: dict[str, object], **fields: object) -> str:
    """The plot of one figure of curves."""
    curves = {"title": "Recovery & more", "note": "note", "x": "steps", "is_share": True, "arms": arms, **fields}
    results = {"baseline": "", "arms": {}, "differences": [], "variations": [], "curves": {"x": curves}}
    return lab_plots(results)["x"]


def test_a_figure_has_a_panel_for_each_arm_with_bands() -> None:
    line = [(0, 0.2, 0.1, 0.3), (40, 0.5, 0.4, 1.0)]
    labels = [f"arm {number} $x$ <script>" for number in range(12)]
    arms = {name: {"this arm": line} for name in labels} | {"GRPO": {"this arm": [(0, 0.2, None, None)]}}
    svg = drawn(arms, behind="GRPO")
    told = texts(svg)
    assert [text for text in told if text.startswith("arm")] == labels
    assert "Recovery & more" in told
    assert "100%" in told
    assert svg.count("FillBetweenPolyCollection") == 12  # a band each; the line behind is a point without one
    assert {"this arm", "GRPO"} <= set(told)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.37])
def test_one_value_everywhere_can_be_drawn(value: float) -> None:
    ElementTree.fromstring(drawn({"arm": {"this arm": [(5, value, value, value), (9, value, value, value)]}}))


def test_without_matplotlib_one_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lab(tmp_path, {"grpo": {}})
    monkeypatch.delitem(sys.modules, "fissile.reports.lab.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RunError, match=r"pip install 'fissile\[plots\]'"):
        write_lab_report(tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_plots_are_drawn_again_from_their_figures_alone(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab", {"grpo": {}}, seeds=1)
    write_run(tmp_path / "lab", "grpo", 0, (1, 4), steps=[EXPLORE, EXPLORE])
    write_lab_report(tmp_path / "lab")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tmp_path / "lab" / "results.json", alone)
    draw_again(alone)
    assert {path.name: path.read_bytes() for path in (alone / "plots").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "lab" / "plots").iterdir()
    }
    (alone / "results.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be drawn"):
        draw_again(alone)


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
    plots = lab_plots(lab_results(read_lab(tmp_path)).to_dict())
    assert {"differences", "variations", "training_accuracy", "informative_groups", "costs"} <= set(plots)
    for svg in plots.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        links = [value for element in root.iter() for key, value in element.items() if key.endswith("href")]
        assert all(link.startswith("#") for link in links)
        assert "fill: #ffffff" in svg
        assert "date" not in svg
    assert "Fission, rules" in texts(plots["differences"])
    assert "2.0M" in "".join(texts(plots["costs"]))
