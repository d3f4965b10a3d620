import pytest
from benchmarks.cases import Case
from benchmarks.outside import shares
from benchmarks.stopwatch import Stopwatch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_part_is_not_charged_for_the_parts_within_it() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now = 5.0
    with watch.part("observe"):
        clock.now = 6.0
        with watch.part("feedback"):
            clock.now = 9.0
        clock.now = 9.5
    clock.now = 20.0
    assert watch.take() == {"observe": 1.5, "feedback": 3.0}
    assert watch.take() == {}


def test_a_part_ends_when_its_function_raises() -> None:
    clock = Clock()
    watch = Stopwatch(clock)

    def fail() -> None:
        clock.now += 1.0
        raise KeyError

    with pytest.raises(KeyError):
        watch.timed("part", fail)()
    clock.now += 7.0
    assert watch.take() == {"part": 1.0}


def test_what_is_neither_model_nor_optimizer_is_outside() -> None:
    reply = {"seconds": 10.0, "parts": {"generate": 6.0, "backward": 3.0, "reward": 0.5}}
    found = shares(Case(300, 8, 64, 4), [reply, reply])
    assert found["% outside"]["median"] == pytest.approx(10.0)
    assert found["% reward"]["median"] == pytest.approx(5.0)
    assert found["% TRL"]["median"] == pytest.approx(5.0)


def test_a_part_that_a_step_lacks_counts_as_nothing() -> None:
    replies = [{"seconds": 10.0, "parts": {"feedback": 1.0}}, {"seconds": 10.0, "parts": {}}]
    assert shares(Case(300, 8, 64, 4), replies)["% feedback"] == {"median": 5.0, "min": 0.0, "max": 10.0, "n": 2}
