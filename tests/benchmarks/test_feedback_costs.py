"""What the benchmark of diagnoses makes of the steps that it saw."""

from types import SimpleNamespace

import pytest
from benchmarks.cases import Case
from benchmarks.feedback import Cycle, shares

CASE = Case(300, 8, 64, 4)


def _fission(seconds: float, diagnosed: float, diagnosing: float, cycle: float) -> dict[str, object]:
    return {
        "kind": "fission",
        "seconds": seconds,
        "cycle": {"seconds": cycle, "diagnosing": diagnosing, "diagnosed": diagnosed},
    }


def test_feedback_is_compared_with_its_fission_step_and_with_the_cycle() -> None:
    found = shares(CASE, [_fission(10.0, 4, 2.0, 25.0), _fission(20.0, 2, 1.0, 50.0)])
    assert found["feedback, % of the fission step"] == {"median": 12.5, "min": 5.0, "max": 20.0, "n": 2}
    assert found["feedback, % of the cycle"]["median"] == pytest.approx(5.0)
    assert found["seconds a diagnosis"]["median"] == pytest.approx(0.5)


def test_explore_steps_and_cycles_without_a_diagnosis_tell_no_share() -> None:
    assert shares(CASE, [{"kind": "explore", "seconds": 1.0, "cycle": {}}]) == {}
    assert shares(CASE, [_fission(10.0, 0, 0.0, 25.0)]) == {}


def test_a_cycle_goes_from_fission_to_fission() -> None:
    diagnoser = SimpleNamespace(seconds=1.0, diagnosed=2)
    cycle = Cycle(diagnoser)  # type: ignore[arg-type]

    def step(kind: str, seconds: float, diagnosed: int) -> dict[str, float]:
        cycle.begin_step()
        diagnoser.seconds += seconds
        diagnoser.diagnosed += diagnosed
        told = cycle.end_step(kind)
        assert told["kind"] == kind
        return {name: told["cycle"][name] for name in ("diagnosing", "diagnosed")}

    assert step("explore", 2.0, 3) == {"diagnosing": 3.0, "diagnosed": 5}
    assert step("fission", 0.0, 0) == {"diagnosing": 3.0, "diagnosed": 5}
    assert cycle.seconds == 0
    assert step("explore", 0.5, 1) == {"diagnosing": 0.5, "diagnosed": 1}
    assert cycle.seconds > 0
