import itertools
from xml.etree import ElementTree

from benchmarks.arms import Measured
from benchmarks.cases import sweep
from benchmarks.plot import apart, figure, log_marks, panels
from benchmarks.report import Record, record
from hypothesis import given
from hypothesis import strategies as st


def records() -> list[Record]:
    made = []
    for case in sweep([300, 1000, 2300], [8, 4, 16], [64], groups=4, same_rows=True):
        rounds = {"ours": [{"seconds": case.prompt_tokens / 100}], "trl": [{"seconds": 40.0}]}
        made.append(record(case, Measured(rounds), [], None, {}, {}))
    return made


def test_a_panel_for_each_dimension_that_was_moved() -> None:
    prompt, group = panels(records())
    assert prompt.dimension == "prompt_tokens"
    assert prompt.lines["ours"] == ((300, 3.0), (1000, 10.0), (2300, 23.0))
    assert group.dimension == "group_size"
    assert [size for size, _ in group.lines["trl"]] == [4, 8, 16]


def test_no_panel_for_a_single_case() -> None:
    assert panels(records()[:1]) == []
    assert panels([]) == []


def test_the_figure_is_well_formed_and_labels_every_line() -> None:
    root = ElementTree.fromstring(str(figure("step", panels(records()))))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts.count("ours") == texts.count("trl") == 2
    assert len([element for element in root.iter() if element.tag.endswith("path")]) == 4


@given(st.floats(1e-3, 1e5), st.floats(1, 1e3))
def test_marks_enclose_their_range(low: float, factor: float) -> None:
    marks = log_marks(low, low * factor)
    assert marks[0] <= low
    assert marks[-1] >= low * factor
    assert marks == sorted(set(marks))
    assert len(marks) >= 2


@given(st.dictionaries(st.text(), st.floats(0, 200)))
def test_labels_keep_their_distance_and_their_order(heights: dict[str, float]) -> None:
    placed = apart(heights, 13)
    assert placed.keys() == heights.keys()
    assert all(placed[label] >= height for label, height in heights.items())
    ordered = sorted(placed.values())
    assert all(after - before >= 13 - 1e-6 for before, after in itertools.pairwise(ordered))
