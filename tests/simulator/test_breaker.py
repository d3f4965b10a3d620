"""A server that keeps failing is asked ever more seldom."""

from __future__ import annotations

import time

import pytest

from fissile.simulator.breaker import Breaker


def test_a_breaker_doubles_its_cool_down_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    breaker = Breaker(max_failures=1, cool_down_seconds=1.0)
    breaker.fail()
    waits = []
    for _ in range(7):
        began = now
        while not breaker.may_probe:
            now += 0.5
        waits.append(now - began)
        breaker.fail_probe()
    assert waits == [1, 2, 4, 8, 16, 16, 16]
    breaker.succeed()
    assert not breaker.reason
    breaker.fail()
    assert breaker.reason == "gone"
