"""The line that a person reads while a run goes on."""

from __future__ import annotations

import io
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
