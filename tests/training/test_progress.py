"""The line that a person reads while a run goes on."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from fissile.training.progress import Progress


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says next, in order."""
    told: list[float] = []
    queue: Iterator[float] = iter(told)
    monkeypatch.setattr("fissile.training.progress.time.perf_counter", lambda: next(queue))
    return told


@pytest.mark.parametrize("every", [1, 50])
def test_the_rate_is_of_steps_however_many_a_line_stands_for(seconds: list[float], every: int) -> None:
    seconds += [100.0, 100.0 + 240 * every, 100.0 + 240.05 * every]
    written = io.StringIO()
    advance = Progress(Console(file=written, width=200)).step("start")

    for line in (1, 2, 3):
        advance(line * every, 100 * every, {"loss": 0.5})

    first, second, third = written.getvalue().splitlines()
    assert first.strip() == f"start {every}/{100 * every} · loss 0.500", "how fast it is can not be known yet"
    assert "· 240.0 s a step, about" in second
    assert "· 120.0 s a step, about" in third


def test_fast_steps_have_two_digits(seconds: list[float]) -> None:
    seconds += [100.0, 100.0625]
    written = io.StringIO()
    advance = Progress(Console(file=written, width=200)).step("start")
    advance(1, 100, {})
    advance(2, 100, {})
    assert "start 2/100 · 0.062 s a step, about 6 s left" in written.getvalue()


def test_a_count_tells_rate_and_rest_now_and_then_in_a_file(seconds: list[float]) -> None:
    """Ten a second: a first line, one after five seconds, later one after a twentieth of the time, and the end."""
    seconds += [100.0 + 0.1 * done for done in range(4001)]
    written = io.StringIO()
    tell = Progress(Console(file=written, width=200)).count("bfcl", "an episode", "episodes")

    for done in range(4001):
        tell(done, 4000)

    first, second, *others, last = written.getvalue().splitlines()
    assert first == "  bfcl: 0 of 4000 episodes"
    assert second == "  bfcl: 50 of 4000 episodes · 0.1 s an episode, about 6 min 35 s left"
    assert last == "  bfcl: 4000 of 4000 episodes · 0.1 s an episode"
    assert 20 < len(others) < 60


def test_what_was_done_before_does_not_count_for_the_rate(seconds: list[float]) -> None:
    seconds += [100.0, 110.0]
    written = io.StringIO()
    tell = Progress(Console(file=written, width=200)).count("bfcl", "an episode", "episodes")
    tell(700, 800)  # resumed
    tell(701, 800)
    assert (
        written.getvalue().splitlines()[-1] == "  bfcl: 701 of 800 episodes · 10.0 s an episode, about 16 min 30 s left"
    )


def test_a_phase_in_which_nothing_is_told_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fissile.training.progress.SILENCE", 0.0)
    monkeypatch.setattr("fissile.training.progress.SHORTEST_PAUSE", 0.0)
    written = io.StringIO()
    with Progress(Console(file=written, width=200)).phase("load_[model]"):
        deadline = time.monotonic() + 30
        while "so far" not in written.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    first, second, *_, last = written.getvalue().splitlines()
    assert (first, second[:15]) == ("load [model]", "  load [model]:")
    assert last.startswith("  load [model] took")
