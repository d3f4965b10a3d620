"""The pool of offline corrections: every one once a round, whatever is asked for at a time."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Exchange
from fissile.corrections import Correction, CorrectionPool
from fissile.errors import ErrorKind, RunError, ToolError


def correction(number: int) -> Correction:
    call = ToolCall("area", {"side": number}, f'{{"side":{number}}}')
    attempt = Attempt(call.text, (call,), (ToolError(ErrorKind.WRONG_VALUE, "no"),))
    return Correction(f"id-{number}", f"t{number}", 0, "rules", (number,), (Exchange(attempt, ("no",)),))


def pool(size: int, seed: int = 0) -> CorrectionPool:
    made = CorrectionPool(seed)
    for number in range(size):
        assert made.push(correction(number)).kept
    return made


@given(size=st.integers(1, 12), draws=st.lists(st.integers(0, 15), max_size=20), seed=st.integers(0, 5))
def test_no_draw_repeats_and_no_correction_is_drawn_twice_more_than_another(
    size: int, draws: list[int], seed: int
) -> None:
    made = pool(size, seed)
    used: Counter[str] = Counter({correction(number).id: 0 for number in range(size)})
    for n in draws:
        drawn = [entry.id for entry in made.pop(n, step=99)]
        assert len(drawn) == len(set(drawn)) == min(n, size)
        used.update(drawn)
    assert max(used.values()) - min(used.values()) <= 1
    assert made.counts["used"] == used.total()


@given(before=st.integers(0, 9), seed=st.integers(0, 5))
def test_a_restored_pool_goes_on_as_the_first_one(before: int, seed: int) -> None:
    first = pool(5, seed)
    first.pop(before % 5, 0)
    second = CorrectionPool(seed)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [first.pop(3, 0) for _ in range(4)] == [second.pop(3, 0) for _ in range(4)]
    assert first.counts == second.counts


def test_a_failure_is_kept_once_and_counted_each_time() -> None:
    made = pool(2)
    assert made.push(correction(1)).reason == "seen"
    assert (len(made), made.available(10_000)) == (2, 2)
    assert (made.counts["intercepted"], made.counts["deduplicated"]) == (3, 1)


@pytest.mark.parametrize("state", [{}, {"held": [], "waiting": ["x"], "rounds": 0, "counts": {}}])
def test_another_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(RunError, match="corrections cannot be read"):
        CorrectionPool().load_state_dict(state)


def test_a_state_that_misses_corrections_is_refused() -> None:
    made = pool(3)
    made.pop(1, 0)
    state = made.state_dict()
    with pytest.raises(RunError, match="misses"):
        CorrectionPool().load_state_dict({**state, "held": []})
