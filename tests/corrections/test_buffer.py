import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Exchange
from fissile.corrections import Correction, CorrectionBuffer, Decision, failure_id
from fissile.errors import ConfigError, ErrorKind, RunError, ToolError


def correction(name: str, step: int = 0, leaked: str = "", task_id: str = "t") -> Correction:
    attempt = Attempt(name, (ToolCall(name, {}, name),), (ToolError(ErrorKind.WRONG_VALUE, "no"),))
    identifier = failure_id(task_id, (), attempt)
    return Correction(identifier, task_id, step, "rules", (1, 2, 3), (Exchange(attempt, ("error",)),), None, leaked)


def names(corrections) -> list[str]:
    return [one.history[-1].attempt.text for one in corrections]


def filled(order="lifo", capacity=8, count=5, **settings) -> CorrectionBuffer:
    buffer = CorrectionBuffer(capacity=capacity, order=order, **settings)
    for step in range(count):
        buffer.push(correction(str(step), step))
    return buffer


def test_the_newest_leaves_first():
    buffer = filled("lifo")
    assert names(buffer.pop(2, step=5)) == ["4", "3"]
    buffer.push(correction("new", 5))
    assert names(buffer.pop(10, step=5)) == ["new", "2", "1", "0"]
    assert len(buffer) == 0


def test_fifo_gives_the_oldest_first():
    assert names(filled("fifo").pop(3, step=5)) == ["0", "1", "2"]


def test_random_order_depends_on_the_seed_only():
    orders = [tuple(names(filled("random", seed=seed).pop(5, step=5))) for seed in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1
    assert sorted(orders[0]) == ["0", "1", "2", "3", "4"]


def test_a_failure_is_taken_once_in_a_run_even_after_it_was_used():
    buffer = CorrectionBuffer()
    assert buffer.push(correction("a", 1)) == Decision(True, "new")
    assert buffer.push(correction("a", 2)) == Decision(False, "seen")
    buffer.pop(1, step=2)
    assert buffer.push(correction("a", 3)) == Decision(False, "seen")
    assert buffer.push(correction("a", 3, task_id="another")).kept
    assert buffer.counts["deduplicated"] == 2


@pytest.mark.parametrize("order", ["lifo", "fifo", "random"])
def test_a_full_buffer_loses_its_oldest(order):
    buffer = filled(order, capacity=3)
    assert buffer.counts["evicted"] == 2
    assert sorted(names(buffer.pop(9, step=5))) == ["2", "3", "4"]


def test_stale_corrections_are_dropped_unused():
    buffer = filled(max_staleness=2)
    assert buffer.available(step=5) == 2
    assert len(buffer) == 5
    assert names(buffer.pop(9, step=5)) == ["4", "3"]
    assert buffer.counts["stale"] == 3
    assert filled(max_staleness=0).available(step=4) == 1
    assert filled(max_staleness=None).available(step=10_000) == 5


def test_leaks_are_counted():
    buffer = CorrectionBuffer()
    buffer.push(correction("a", leaked="value"))
    buffer.push(correction("b"))
    assert buffer.counts["leaked"] == 1


@pytest.mark.parametrize("settings", [{"capacity": 0}, {"order": "newest"}, {"max_staleness": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        CorrectionBuffer(**settings)


@pytest.mark.parametrize("broken", [{}, {"held": [{}]}, {"held": [], "seen": [], "counts": {}, "rng": [3, [], None]}])
def test_a_state_that_is_none_is_a_run_error(broken):
    with pytest.raises(RunError, match="cannot be read"):
        CorrectionBuffer().load_state_dict(broken)


def test_a_state_larger_than_the_capacity_is_a_run_error():
    with pytest.raises(RunError, match="Set the capacity to 5"):
        CorrectionBuffer(capacity=4).load_state_dict(filled().state_dict())


PUSHES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), max_size=20)


@given(
    order=st.sampled_from(["lifo", "fifo", "random"]),
    capacity=st.integers(1, 6),
    max_staleness=st.none() | st.integers(0, 5),
    before=PUSHES,
    popped=st.integers(0, 4),
    after=PUSHES,
)
def test_a_buffer_read_back_from_disk_has_the_same_future(
    *, tmp_path_factory, order, capacity, max_staleness, before, popped, after
):
    buffer = CorrectionBuffer(capacity, order, max_staleness, seed=3)
    for name, step in before:
        buffer.push(correction(name, step))
    buffer.pop(popped, step=9)
    path = tmp_path_factory.mktemp("state") / "buffer.json"
    path.write_text(json.dumps(buffer.state_dict()))
    resumed = CorrectionBuffer(capacity, order, max_staleness, seed=99)
    resumed.load_state_dict(json.loads(path.read_text()))
    for name, step in after:
        assert buffer.push(correction(name, step)) == resumed.push(correction(name, step))
    assert buffer.pop(3, step=9) == resumed.pop(3, step=9)
    assert buffer.state_dict() == resumed.state_dict()


class LifoAgainstAPlainList(RuleBasedStateMachine):
    """The buffer does what an obvious list does, and loses count of nothing."""

    @initialize(capacity=st.integers(1, 5), max_staleness=st.none() | st.integers(0, 3))
    def start(self, capacity, max_staleness):
        self.buffer = CorrectionBuffer(capacity, "lifo", max_staleness)
        self.model: list[Correction] = []
        self.met: set[str] = set()
        self.step = 0

    @rule(name=st.sampled_from("abcdefghijkl"))
    def push(self, name):
        new = name not in self.met
        self.met.add(name)
        assert self.buffer.push(correction(name, self.step)).kept is new
        if new:
            self.model = [*self.model, correction(name, self.step)][-self.buffer.capacity :]

    @rule()
    def advance(self):
        self.step += 1

    @rule(n=st.integers(0, 4))
    def pop(self, n):
        limit = self.buffer.max_staleness
        self.model = [one for one in self.model if limit is None or self.step - one.step <= limit]
        assert self.buffer.available(self.step) == len(self.model)
        wanted, self.model = self.model[::-1][:n], self.model[: max(len(self.model) - n, 0)]
        assert self.buffer.pop(n, self.step) == wanted

    @invariant()
    def nothing_is_lost(self):
        counts = self.buffer.counts
        gone = counts["deduplicated"] + counts["evicted"] + counts["stale"] + counts["used"]
        assert counts["intercepted"] == gone + len(self.buffer)
        assert len(self.buffer) <= self.buffer.capacity


TestLifoAgainstAPlainList = LifoAgainstAPlainList.TestCase
