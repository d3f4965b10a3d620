from pathlib import Path

from benchmarks.arms import Measured
from benchmarks.cases import Case
from benchmarks.report import Ratio, Record, Results, machine, markdown, record, spread
from hypothesis import given
from hypothesis import strategies as st

CASE = Case(300, 8, 64, 4)
SPEED = Ratio("speed, ours / trl", "trl", "ours", "6")


def measured(**seconds: list[float]) -> Measured:
    rounds = {label: [{"seconds": value} for value in values] for label, values in seconds.items()}
    return Measured(
        rounds, {}, {label: 1_000_000_000 * (index + 1) for index, label in enumerate(seconds)}, ["A note."]
    )


def recorded(case: Case = CASE, **seconds: list[float]) -> Record:
    return record(case, measured(**seconds), [SPEED], ("ours", "trl"), {}, {"date": "2026-01-01"})


def test_a_ratio_is_the_median_over_rounds_not_the_ratio_of_medians() -> None:
    ratios = recorded(ours=[1.0, 10.0, 2.0], trl=[6.0, 20.0, 8.0])["ratios"]
    assert ratios["speed, ours / trl"] == {"median": 4.0, "min": 2.0, "max": 6.0, "n": 3, "target": "6"}
    assert ratios["peak memory, ours / trl"]["median"] == 0.5


def test_a_peer_that_failed_later_is_compared_over_the_rounds_that_it_did() -> None:
    assert recorded(ours=[1.0, 1.0], trl=[6.0])["ratios"]["speed, ours / trl"]["n"] == 1


def test_a_missing_peer_leaves_its_ratios_out() -> None:
    assert recorded(ours=[1.0])["ratios"] == {}
    assert recorded(ours=[1.0], trl=[])["rows"].keys() == {"ours"}


def test_a_split_group_is_said() -> None:
    found = measured(ours=[1.0])
    found.facts = {"ours": {"rows_per_micro_batch": 8}, "trl": {"rows_per_micro_batch": 2}}
    first, second = record(CASE, found, [SPEED], None, {}, {})["notes"]
    assert first == "A note."
    assert second.startswith("trl computes 2 of the 8 rows")


@given(st.lists(st.floats(1e-3, 1e6), min_size=1))
def test_the_median_lies_in_the_range(values: list[float]) -> None:
    found = spread(values)
    assert found["min"] <= found["median"] <= found["max"]
    assert found["n"] == len(values)


def test_results_are_kept_and_replaced_in_place(tmp_path: Path) -> None:
    results = Results(tmp_path / "new" / "step.json")
    other = Case(1000, 8, 64, 4)
    assert not results.holds(CASE)
    results.add(recorded(ours=[1.0]))
    results.add(recorded(other, ours=[3.0]))
    results.add(recorded(ours=[2.0]))
    assert results.holds(CASE)
    assert [held["rows"]["ours"]["seconds"]["median"] for held in results.records()] == [2.0, 3.0]
    assert [path.name for path in results.path.parent.iterdir()] == ["step.json"]


def test_the_table_shows_every_row_ratio_and_note() -> None:
    text = markdown([recorded(ours=[1.0, 3.0], trl=[6.0, 6.0])])
    assert "| 300 | 8 | 64 | 4 | ours | 2 (1 to 3) | 2 | 1.00 |  |" in text
    assert "| 300 | 8 | 64 | 4 | speed, ours / trl | 4 (2 to 6) | 6 |" in text
    assert "A note." in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| 300")}
    assert widths == {10, 8}


def test_the_machine_is_named_and_no_path_of_it() -> None:
    where = machine(["--repeats", "3"], "benchmarks.step")
    assert where["command"] == "python -m benchmarks.step --repeats 3"
    assert "torch" in where["versions"]
    assert "core" in where["hardware"]
    assert str(Path.cwd()) not in str(where)
