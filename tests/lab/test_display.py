"""The remaining time, and the line of a run."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from fissile.lab.display import Display, RunKey, expected_seconds, figures


@pytest.mark.parametrize(
    ("taken", "left", "workers", "expected"),
    [
        ({}, [("a", 0.0)], 1, None),
        ({"a": [10.0, 20.0]}, [("a", 0.0), ("a", 5.0)], 1, 25.0),
        ({"a": [10.0], "b": [40.0]}, [("c", 0.0), ("b", 0.0)], 1, 65.0),
        ({"a": [10.0]}, [("a", 0.0), ("a", 0.0), ("a", 60.0)], 2, 10.0),
        ({"a": [10.0]}, [("a", 0.0)], 4, 10.0),
        ({"a": [10.0]}, [], 2, 0.0),
    ],
)
def test_time_left_is_that_of_like_runs(taken, left, workers, expected) -> None:
    assert expected_seconds(taken, left, workers) == expected


def test_figures_are_those_of_the_last_stage() -> None:
    stages = {
        "base": {"first_attempt_accuracy": {"rate": 0.1}},
        "fission": {"first_attempt_accuracy": {"rate": 0.426}, "recovery_rate": {"rate": None}},
    }
    assert figures({"stages": stages}) == ["right at first 43%", "recovered none"]
    assert figures({}) == []


def test_the_line_of_a_run_says_where_most_diagnoses_were_of_another_source() -> None:
    report = {"source": "learned", "diagnosed": 10, "leaks": {}, "fallbacks": {"timeout": 6}}
    assert figures({"feedback": report}) == ["6 of 10 diagnoses not those of 'learned'"]
    assert figures({"feedback": {**report, "diagnosed": 100}}) == []


def test_earlier_runs_tell_the_time_of_later_ones() -> None:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    display = Display(console)
    first, second = RunKey("a", 0), RunKey("a", 1)
    display.open("[Square] title", [second], {first: {"seconds": {"base": 20.0, "grpo": 100.0}}})
    display.began(second)
    assert display.standing() == "1 of 2 · about 2 min 0 s left"
    display.finished(second, {"stopped": "no group had any variance"})
    assert display.standing() == "2 of 2"
    assert isinstance(console.file, io.StringIO)
    seen = console.file.getvalue()
    assert "[Square] title" in seen
    assert "stopped early: no group had any variance · 2 of 2" in seen


def test_the_live_line_says_how_far_the_making_of_the_start_is(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, highlight=False, force_terminal=True, color_system=None)
    display = Display(console)
    log = tmp_path / "start.log"
    display.open("title", [RunKey("a", 0)], {})
    with display.making("the small policy", log):
        display.tick()  # nothing is written yet
        log.write_text("x" * 5000 + "\n  start 50/8000 [loss] 5.480\n\n", encoding="utf-8")
        display.tick()
        assert display._line.text == "start 50/8000 [loss] 5.480 · 0 of 1"
    display.tick()
    assert "start 50" not in display._line.text
    display.close()


def test_a_file_hears_what_is_running_and_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("fissile.lab.display.time.monotonic", lambda: now)
    monkeypatch.setattr("fissile.lab.display.time.perf_counter", lambda: now)
    console = Console(file=io.StringIO(), width=200, highlight=False)
    display = Display(console)
    first, second = RunKey("a", 0), RunKey("a", 1)
    display.open("title", [second], {first: {"seconds": {"grpo": 600.0}}})
    display.began(second)
    for _ in range(300):
        now += 1.0
        display.tick()
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if str(second) in line]
    assert lines[0] == f"  {second} (0 s) · 1 of 2 · about 10 min 0 s left"
    assert lines[1] == f"  {second} (5 s) · 1 of 2 · about 9 min 55 s left"
    assert 10 < len(lines) < 60
