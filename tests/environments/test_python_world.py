from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.calls import ParseError, ToolCall, ToolResult
from fissile.environments.python import CallLimits, PythonTools, PythonWorld, stop_workers
from fissile.environments.python.truth import _warn_of_unjudged
from fissile.errors import DataError, ErrorKind, InfrastructureError
from fissile.tasks import ExpectedCall, Task, Turn, World

STORE = '''
import ctypes, os, sys, time
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from pydantic import BaseModel
from fissile.environments.python import DomainError

@dataclass
class Line:
    item: str
    quantity: int

class Order(BaseModel):
    lines: list[Line]

class Opaque:
    pass

class Store:
    """A small store, and all that can go wrong in one."""

    def __init__(self, items: dict[str, int] | None = None, lock: bool = False) -> None:
        self.items = dict(items or {})
        self.orders = []
        self._lock = None
        if lock:
            import threading
            self._lock = threading.Lock()

    def add(self, item: str, quantity: int = 1) -> dict[str, int]:
        """Put items into the store."""
        self.items[item] = self.items.get(item, 0) + quantity
        return {item: self.items[item]}

    def count(self, item: str) -> int:
        """How many there are."""
        return self.items.get(item, 0)

    def take(self, item: str) -> str:
        """Take one."""
        if not self.items.get(item):
            raise DomainError(f"There is no '{item}'.")
        self.items[item] -= 1
        return "taken"

    def find(self, item: str) -> dict[str, str | None]:
        """Find an item."""
        return {"place": item, "error": None} if item in self.items else {"error": f"'{item}' is unknown"}

    def order(self, order: Order, when: date, kind: Literal["small", "large"] = "small") -> Order:
        """Order many things."""
        self.orders.append(order)
        return order

    def break_after(self, item: str) -> None:
        """Change, then raise."""
        self.items[item] = 0
        raise ZeroDivisionError("one\\n  two")

    def collect(self, item: str, into: list[str] = []) -> list[str]:
        """Changes its argument, and its default."""
        into.append(item)
        return into

    def echo(self, value: Any) -> Any:
        """The same."""
        return value

    def give(self, what: Literal["none", "set", "bytes", "opaque", "line", "nan", "cycle", "half"]) -> Any:
        """Results of all sorts."""
        cycle = []
        cycle.append(cycle)
        return {"none": None, "set": {1}, "bytes": b"\\xff", "opaque": Opaque(), "line": Line("a", 1),
                "nan": float("nan"), "cycle": cycle, "half": "\\ud800"}[what]

    def nap(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def talk(self, length: int) -> str:
        """A long answer."""
        return "x" * length

    def shout(self) -> str:
        """Prints everywhere, and asks."""
        print("PRINTED")
        print("PRINTED", file=sys.stderr)
        os.write(1, b"PRINTED")
        os.write(2, b"PRINTED")
        os.system("echo PRINTED")
        return sys.stdin.read()

    def trouble(self, how: str) -> str:
        """Changes the state, then goes wrong."""
        self.items["trouble"] = 1
        match how:
            case "spin":
                while True:
                    pass
            case "power":
                return str(7 ** (10 ** 9))
            case "sleep":
                time.sleep(60)
            case "os._exit":
                os._exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "sys.exit":
                sys.exit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "recursion":
                return self.trouble(how)
            case "gigabyte":
                return str(len(b"x" * 2**30))
            case "lambda":
                self.items["trouble"] = lambda: 1
        return "fine"
'''
WORDS = '''
def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())

def join(parts: list[str], by: str = " ") -> str:
    """Join parts."""
    return by.join(parts)
'''
ROOMY = CallLimits(seconds=20.0, result_characters=100, memory_mb=None)
LIMITS = CallLimits(seconds=1.0, result_characters=100, memory_mb=256, calls=6)


def file_tools(folder: Path, name: str, text: str) -> PythonTools:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return PythonTools.from_file(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonTools]:
    text = STORE + "\nTOOLS = Store\n"
    yield file_tools(tmp_path_factory.mktemp("store"), "store.py", text)
    stop_workers()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> PythonTools:
    return file_tools(tmp_path_factory.mktemp("words"), "words.py", WORDS)


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments, "")


def task(tools: PythonTools, *turns: list[ToolCall], items: dict[str, int] | None = None, **setup: Any) -> Task:
    """A task whose truth is a list of calls for each turn."""
    truths = [tuple(ExpectedCall.exactly(each.name or "", each.arguments or {}) for each in turn) for turn in turns]
    message = ({"role": "user", "content": "Please."},)
    arguments = {"arguments": {"items": items or {}, **setup}} if tools.state == "Store" else {}
    later = tuple(Turn(message, truth) for truth in truths[1:])
    return Task("t", message, tools.tools, truths[0] if truths else (), world=World("python", arguments), later=later)


def world_for(tools: PythonTools, *turns: list[ToolCall], **setup: Any) -> PythonWorld:
    world = PythonWorld(tools, LIMITS)
    world.reset(task(tools, *turns, **setup))
    return world


def one(world: PythonWorld, name: str, **arguments: Any) -> ToolResult:
    (result,) = world.execute([call(name, **arguments)])
    return result


def kind_of(result: ToolResult) -> ErrorKind | None:
    return result.error.kind if result.error else None


# --- one call ----------------------------------------------------------------------------------------------------


def test_calls_of_an_attempt_run_in_order_on_one_state(store: PythonTools) -> None:
    world = world_for(store, items={"apple": 1})
    results = world.execute(
        [call("add", item="apple", quantity=2), call("count", item="apple"), call("take", item="x")]
    )
    assert [result.content for result in results] == ['{"apple": 3}', "3", "Error: There is no 'x'."]
    assert [result.call_index for result in results] == [0, 1, 2]
    assert [kind_of(result) for result in results] == [None, None, ErrorKind.DOMAIN_ERROR]
    assert results[2].error is not None
    assert results[2].error.call_index == 2


@pytest.mark.parametrize(
    ("refused", "kind", "argument", "message"),
    [
        (call("add"), ErrorKind.MISSING_ARGUMENT, "item", "add() is missing the required argument 'item'."),
        (call("add", item="a", n=1), ErrorKind.UNEXPECTED_ARGUMENT, "n", "add() got an unexpected argument 'n'."),
        (call("add", item=3), ErrorKind.WRONG_TYPE, "item", "argument 'item' must be of type string, not integer."),
        (call("give", what="moon"), ErrorKind.WRONG_VALUE, "what", "argument 'what' must be one of"),
        (call("add", item="a", quantity=10**5000), ErrorKind.WRONG_VALUE, "quantity", "too large"),
        (call("echo", value=[float("nan")]), ErrorKind.WRONG_VALUE, "value", "no finite number"),
        (call("absent"), ErrorKind.UNKNOWN_TOOL, None, "no tool is named 'absent'."),
        (call("__init__"), ErrorKind.UNKNOWN_TOOL, None, "no tool is named '__init__'."),
        (ToolCall(None, None, "{", 0, ParseError("cut", 1)), ErrorKind.MALFORMED_CALL, None, "cannot be parsed: cut."),
        (
            call("order", order={"lines": [{"item": "a"}]}, when="2024-01-01"),
            ErrorKind.MISSING_ARGUMENT,
            "order.lines.0.quantity",
            "missing the required argument",
        ),
        (call("order", order={"lines": []}, when="soon"), ErrorKind.WRONG_VALUE, "when", "'when' is not accepted"),
    ],
)
def test_what_the_schema_refuses_is_typed_and_does_nothing(
    store: PythonTools, refused: ToolCall, kind: ErrorKind, argument: str | None, message: str
) -> None:
    world = world_for(store)
    before = world.fingerprint()
    (result,) = world.execute([refused])
    assert result.error is not None
    assert (result.error.kind, result.error.argument) == (kind, argument)
    assert message in result.error.message
    assert result.content.startswith("Error: ")
    assert world.fingerprint() == before


def test_arguments_arrive_as_the_types_of_the_hints(store: PythonTools) -> None:
    order = {"lines": [{"item": "a", "quantity": 2}]}
    result = one(world_for(store), "order", order=order, when="2024-01-01")
    assert json.loads(result.content) == order


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("none", "null"),
        ("set", "[1]"),
        ("bytes", '"/w=="'),
        ("line", '{"item": "a", "quantity": 1}'),
        ("nan", "NaN"),
        ("half", "?"),
    ],
)
def test_every_result_becomes_text(store: PythonTools, what: str, text: str) -> None:
    result = one(world_for(store), "give", what=what)
    assert (result.content, result.error) == (text, None)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("opaque", "the result is of type Opaque, which JSON cannot say. A tool returns what JSON can say"),
        ("cycle", "'0' of the result holds itself."),
    ],
)
def test_a_result_that_cannot_be_told_whole_is_an_error(store: PythonTools, what: str, message: str) -> None:
    result = one(world_for(store), "give", what=what)
    assert kind_of(result) is ErrorKind.EXCEPTION
    assert message in result.content


def test_a_returned_error_is_a_domain_error_and_an_empty_one_is_none(store: PythonTools) -> None:
    world = world_for(store, items={"a": 1})
    result = one(world, "find", item="b")
    assert (kind_of(result), result.content) == (ErrorKind.DOMAIN_ERROR, """{"error": "'b' is unknown"}""")
    assert result.error is not None
    assert result.error.message == "'b' is unknown"
    assert one(world, "find", item="a").error is None


def test_an_exception_keeps_its_type_and_one_line_and_what_it_changed(store: PythonTools) -> None:
    world = world_for(store, items={"a": 5})
    result = one(world, "break_after", item="a")
    assert kind_of(result) is ErrorKind.EXCEPTION
    assert result.content == "Error: ZeroDivisionError: one two"
    assert one(world, "count", item="a").content == "0"


def test_a_giant_result_is_cut(store: PythonTools) -> None:
    result = one(world_for(store), "talk", length=10_000_000)
    assert result.content == "x" * 100 + "... (9999900 more characters)"


def test_calls_beyond_the_limit_of_an_attempt_are_not_run(store: PythonTools) -> None:
    world = world_for(store)
    results = world.execute([call("add", item="a")] * 8)
    assert [kind_of(result) for result in results] == [None] * 6 + [ErrorKind.EXTRA_CALL] * 2
    assert one(world, "count", item="a").content == "6"


def test_what_a_tool_prints_goes_nowhere_and_there_is_nothing_to_read(
    store: PythonTools, capfd: pytest.CaptureFixture[str]
) -> None:
    assert one(world_for(store), "shout").content == ""
    assert capfd.readouterr() == ("", "")


def test_a_tool_that_changes_its_argument_or_its_default_changes_nothing_else(store: PythonTools) -> None:
    world = world_for(store)
    asked = call("collect", item="a", into=["b"])
    kept = copy.deepcopy(asked)
    assert world.execute([asked])[0].content == '["b", "a"]'
    assert asked == kept
    assert [one(world, "collect", item="c").content for _ in range(2)] == ['["c"]', '["c"]']


@pytest.mark.parametrize(
    ("how", "kind", "message", "kept"),
    [
        ("spin", ErrorKind.TIMEOUT, "trouble() was stopped: it took longer than 1 s.", False),
        ("power", ErrorKind.TIMEOUT, "trouble() was stopped: it took longer than 1 s.", False),
        ("sleep", ErrorKind.TIMEOUT, "trouble() was stopped: it took longer than 1 s.", False),
        ("os._exit", ErrorKind.EXCEPTION, "trouble() ended the process that ran it (exit code 3).", False),
        ("segfault", ErrorKind.EXCEPTION, "trouble() ended the process that ran it (signal SIGSEGV).", False),
        ("sys.exit", ErrorKind.EXCEPTION, "SystemExit: 3", True),
        ("interrupt", ErrorKind.EXCEPTION, "KeyboardInterrupt", True),
        ("recursion", ErrorKind.EXCEPTION, "RecursionError: maximum recursion depth exceeded", True),
        ("gigabyte", ErrorKind.EXCEPTION, "MemoryError", True),
        ("lambda", ErrorKind.EXCEPTION, "the tool left a state that cannot be stored", False),
    ],
)
def test_the_episode_outlives_every_tool(
    store: PythonTools, how: str, kind: ErrorKind, message: str, kept: bool
) -> None:
    world = world_for(store, items={"a": 1})
    results = world.execute([call("add", item="a"), call("trouble", how=how), call("add", item="a")])
    assert kind_of(results[1]) is kind
    assert results[1].error is not None
    assert results[1].error.message.startswith(message)
    assert results[2].content == '{"a": 3}'
    assert one(world, "count", item="trouble").content == ("1" if kept else "0")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(value=json_values, arguments=st.dictionaries(st.sampled_from(["item", "quantity", "order"]), json_values))
def test_any_json_arguments_are_answered(store: PythonTools, value: Any, arguments: dict[str, Any]) -> None:
    wide = PythonWorld(store, CallLimits(memory_mb=256))
    wide.reset(task(store))
    calls = [call("echo", value=value), *(call(name, **arguments) for name in ("add", "order", "find"))]
    echoed, *others = wide.execute(calls)
    if echoed.error is None:
        assert echoed.content == (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    else:
        assert (echoed.error.kind, value["error"]) == (ErrorKind.DOMAIN_ERROR, value["error"])
    assert [result.call_index for result in others] == [1, 2, 3]


def test_nesting_of_any_depth_is_answered(store: PythonTools) -> None:
    world = world_for(store)
    kinds = set()
    for depth in (*range(800, 1010), 100_000):
        nested: list[Any] = []
        for _ in range(depth):
            nested = [nested]
        kinds.add(kind_of(one(world, "echo", value=nested)))
    assert kinds == {None, ErrorKind.WRONG_VALUE}


# --- episodes ----------------------------------------------------------------------------------------------------


def workers() -> list[psutil.Process]:
    """The worker processes of this one."""
    return [
        child
        for child in psutil.Process().children()
        if any("environments.python.worker" in a for a in child.cmdline())
    ]


def test_32_episodes_side_by_side_share_two_workers_and_nothing_else(store: PythonTools) -> None:
    stop_workers()
    worlds = [world_for(store, items={"a": number}) for number in range(32)]

    def play(number: int) -> list[str]:
        answers = [one(worlds[number], "add", item="a", quantity=step).content for step in range(4)]
        return [*answers, one(worlds[number], "count", item=f"{number - 1}").content]

    with ThreadPoolExecutor(8) as threads:
        played = list(threads.map(play, range(32)))
    for number, answers in enumerate(played):
        totals = [number, number + 1, number + 3, number + 6]
        assert answers == [*(json.dumps({"a": total}) for total in totals), "0"]
    assert 1 <= len(workers()) <= 2


def test_an_episode_that_hangs_does_not_hold_up_the_others(store: PythonTools) -> None:
    slow, fast = world_for(store), world_for(store)
    with ThreadPoolExecutor(2) as threads:  # start both workers
        list(threads.map(lambda world: one(world, "nap", seconds=0.3), (slow, fast)))
    thread = threading.Thread(target=one, args=(slow, "trouble"), kwargs={"how": "sleep"})
    thread.start()
    assert [one(fast, "add", item="a").content for _ in range(5)] == [json.dumps({"a": n}) for n in range(1, 6)]
    still_hanging = thread.is_alive()
    thread.join()
    assert still_hanging


def test_a_worker_that_was_killed_from_outside_is_replaced(store: PythonTools) -> None:
    world = world_for(store)
    one(world, "add", item="a")
    for worker in workers():
        worker.kill()
        worker.wait()
    assert one(world, "add", item="a").content == '{"a": 2}'


def test_stopped_workers_are_gone_and_worlds_go_on(store: PythonTools) -> None:
    world = world_for(store)
    one(world, "add", item="a")
    stop_workers()
    assert workers() == []
    assert one(world, "add", item="a").content == '{"a": 2}'


def test_branches_start_from_a_snapshot_and_do_not_meet(store: PythonTools) -> None:
    posed = task(store, [call("add", item="a", quantity=5)], items={"a": 1})
    parent = PythonWorld(store, LIMITS)
    parent.reset(posed)
    parent.execute([call("add", item="b")])
    stored = json.dumps(parent.snapshot())
    parent.execute([call("add", item="a", quantity=100)])
    branches = [PythonWorld(store, LIMITS) for _ in range(4)]
    for branch in branches:
        branch.reset(posed)
        branch.restore(json.loads(stored))
    assert len({branch.fingerprint() for branch in branches}) == 1
    results = [one(branch, "add", item="a", quantity=number).content for number, branch in enumerate(branches)]
    assert results == [json.dumps({"a": 1 + number}) for number in range(4)]
    assert len({branch.fingerprint() for branch in branches}) == 4
    parent.restore(json.loads(stored))
    assert one(parent, "count", item="a").content == "1"
    assert one(parent, "count", item="b").content == "1"


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"state": "?", "fingerprint": "", "digests": [], "turn_ends": []},
        {"state": "", "fingerprint": "", "results": [], "turn_ends": []},  # before results were compared as a whole
        [1],
    ],
)
def test_what_is_no_snapshot_is_refused(store: PythonTools, state: Any) -> None:
    with pytest.raises(DataError, match="no snapshot of a Python world"):
        world_for(store).restore(state)


def test_the_fingerprint_tells_whether_a_call_changed_the_world(store: PythonTools) -> None:
    world = world_for(store, items={"a": 1})
    start = world.fingerprint()
    one(world, "count", item="a")
    assert world.fingerprint() == start
    one(world, "add", item="a")
    assert world.fingerprint() != start
    one(world, "take", item="a")
    assert world.fingerprint() == start


# --- the judge ---------------------------------------------------------------------------------------------------

TRUTH = (
    [call("add", item="a", quantity=2), call("count", item="a")],
    [],
    [call("take", item="a")],
)


def judged(world: PythonWorld, turn: int, *calls: ToolCall) -> str:
    """The verdict's reason after a turn of these calls."""
    world.execute(list(calls))
    verdict = world.judge(turn)
    assert verdict.valid == (verdict.reason == "")
    return verdict.reason


def test_the_truth_is_right_turn_by_turn(store: PythonTools) -> None:
    world = world_for(store, *TRUTH)
    assert [judged(world, turn, *calls) for turn, calls in enumerate(TRUTH)] == ["", "", ""]


def test_extra_calls_that_change_nothing_are_free(store: PythonTools) -> None:
    world = world_for(store, *TRUTH)
    assert judged(world, 0, call("count", item="b"), call("nonsense"), *TRUTH[0]) == ""


@pytest.mark.parametrize(
    ("calls", "reason", "kind"),
    [
        ([], "empty_turn_model_response", ErrorKind.MISSING_CALL),
        ([call("add", item="a")], "instance_state_mismatch", ErrorKind.WRONG_STATE),
        ([*TRUTH[0], call("add", item="b")], "instance_state_mismatch", ErrorKind.WRONG_STATE),
        (TRUTH[0][:1], "execution_response_mismatch", ErrorKind.MISSING_CALL),
    ],
)
def test_a_wrong_turn_says_how_and_shows_no_truth(
    store: PythonTools, calls: list[ToolCall], reason: str, kind: ErrorKind
) -> None:
    world = world_for(store, *TRUTH)
    world.execute(calls)
    verdict = world.judge(0)
    assert verdict.reason == reason
    assert [error.kind for error in verdict.errors] == [kind]
    assert world.judge(0) == verdict


def test_results_of_earlier_turns_count_and_calls_of_earlier_turns_do_not(store: PythonTools) -> None:
    truth = ([call("add", item="a")], [call("count", item="a")])
    early = world_for(store, *truth)
    assert judged(early, 0, call("add", item="a"), call("count", item="a")) == ""
    assert judged(early, 1, call("count", item="zz")) == ""
    silent = world_for(store, *truth)
    assert judged(silent, 0, call("add", item="a"), call("count", item="a")) == ""
    assert judged(silent, 1) == "empty_turn_model_response"


def test_a_result_must_come_as_often_as_in_the_truth(store: PythonTools) -> None:
    world = world_for(store, [call("count", item="a"), call("count", item="b")])
    assert judged(world, 0, call("count", item="a")) == "execution_response_mismatch"
    assert judged(world, 0, call("count", item="a")) == ""


def test_the_judge_goes_on_from_a_snapshot(store: PythonTools) -> None:
    first = world_for(store, *TRUTH)
    assert judged(first, 0, *TRUTH[0]) == ""
    assert judged(first, 1) == ""
    stored = first.snapshot()
    second = world_for(store, *TRUTH)
    second.restore(stored)
    assert judged(second, 2) == "empty_turn_model_response"
    second.restore(stored)
    assert judged(second, 2, *TRUTH[2]) == ""


def test_objects_without_equality_are_judged_by_what_they_hold(store: PythonTools) -> None:
    order = call("order", order={"lines": [{"item": "a", "quantity": 2}]}, when="2024-01-01")
    world = world_for(store, [order])
    assert judged(world, 0, order) == ""


LONG = """
import numpy as np
from typing import Any

class Lab:
    def __init__(self) -> None:
        self.total, self.grid = 0.0, np.zeros((2, 2))

    def tell(self, n: int) -> str:
        return "x" * 1000 + str(n)

    def fill(self, at: int) -> Any:
        values = np.zeros(3000)
        values[at] = 1
        return values

    def add(self, amount: float) -> None:
        self.total += amount

    def mark(self, at: int) -> None:
        self.grid[at, at] = 1

    def fail(self, n: int) -> None:
        from fissile import DomainError
        raise DomainError("x" * 1000 + str(n))

    def wait(self, n: int) -> Any:
        async def later() -> int:
            return n
        return later()
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> PythonTools:
    return file_tools(tmp_path_factory.mktemp("lab"), "lab.py", LONG)


@pytest.mark.parametrize("name", ["tell", "fill", "fail"])
def test_the_judge_compares_what_the_display_cuts(lab: PythonTools, name: str) -> None:
    argument = "at" if name == "fill" else "n"
    truth = [call(name, **{argument: 1500})]
    wrong = PythonWorld(lab, ROOMY)
    wrong.reset(task(lab, truth))
    right = PythonWorld(lab, ROOMY)
    right.reset(task(lab, truth))
    assert judged(wrong, 0, call(name, **{argument: 1501})) == "execution_response_mismatch"
    assert judged(right, 0, *truth) == ""


@pytest.mark.parametrize(
    ("truth", "right", "wrong"),
    [
        ([("mark", {"at": 0})], [("mark", {"at": 0})], [("mark", {"at": 1})]),
        (
            [("add", {"amount": amount}) for amount in (0.1, 0.2, 0.3)],
            [("add", {"amount": amount}) for amount in (0.3, 0.2, 0.1)],
            [("add", {"amount": amount}) for amount in (0.1, 0.2, 0.31)],
        ),
    ],
)
def test_arrays_and_sums_are_compared_by_their_values(lab: PythonTools, truth: Any, right: Any, wrong: Any) -> None:
    verdicts = []
    for calls in (right, wrong):
        world = PythonWorld(lab, ROOMY)
        world.reset(task(lab, [call(name, **arguments) for name, arguments in truth]))
        verdicts.append(judged(world, 0, *[call(name, **arguments) for name, arguments in calls]))
    assert verdicts == ["", "instance_state_mismatch"]


def test_a_coroutine_that_nobody_awaits_is_no_success_and_no_truth(lab: PythonTools) -> None:
    world = PythonWorld(lab, ROOMY)
    world.reset(task(lab))
    result = one(world, "wait", n=1)
    assert kind_of(result) is ErrorKind.EXCEPTION
    assert "of type coroutine, and nobody awaits it" in result.content
    with pytest.raises(DataError, match="truth of turn 0 cannot be replayed: wait"):
        world.reset(task(lab, [call("wait", n=1)]))


QUIET = """
class Quiet:
    def __init__(self) -> None:
        self._items = []

    def say(self, word: str) -> None:
        print(word)
"""


def test_what_a_tool_hides_from_the_judge_and_the_model_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tools = file_tools(tmp_path, "quiet.py", QUIET)
    for _ in range(2):
        PythonWorld(tools, LIMITS).reset(task(tools, [call("say", word="a")], [call("say", word="b")]))
    printed, hidden = sorted(record.getMessage() for record in caplog.records)[::-1]
    assert printed.startswith("say() prints, which no model reads, and returns nothing.")
    assert hidden.startswith("Quiet keeps its state in private attributes alone ('_items')")


def test_plain_functions_have_no_state_and_are_judged_by_their_results(words: PythonTools) -> None:
    truth = [call("count_words", text="a b c")]
    world = world_for(words, truth)
    fingerprint = world.fingerprint()
    assert one(world, "join", parts=["a", "b"], by="-").content == "a-b"
    assert world.judge(0).reason == "execution_response_mismatch"
    snapshot = json.loads(json.dumps(world.snapshot()))
    world.restore(snapshot)
    assert one(world, "count_words", text="x y z").content == "3"
    assert world.judge(0).valid
    assert world.fingerprint() == fingerprint


# --- tasks that cannot be begun ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"world": None}, r"Task 't' is for another world \(none\)"),
        ({"world": World("bfcl")}, r"Task 't' is for another world \('bfcl'\)"),
        ({"world": World("python", {"seed": 1})}, "'world.setup' has the key 'seed'"),
        ({"world": World("python", {"arguments": [1]})}, "'world.setup.arguments' must be an object"),
        (
            {"world": World("python", {"arguments": {"shelf": 1}})},
            "constructing Store failed: argument 'shelf' is not accepted: Unexpected .*Mend 'world.setup.arguments'",
        ),
        (
            {"world": World("python", {"arguments": {"items": 3}})},
            "constructing Store failed: argument 'items' is not accepted",
        ),
        (
            {"world": World("python", {"arguments": {"lock": True}})},
            "Store cannot be pickled .*lock.* __getstate__ and __setstate__",
        ),
        (
            {"ground_truth": (ExpectedCall.exactly("break_after", {"item": "a"}),)},
            "truth of turn 0 cannot be replayed: break_after.* 'ZeroDivisionError: one two'",
        ),
    ],
)
def test_a_task_that_cannot_be_begun_says_what_to_change(
    store: PythonTools, change: dict[str, Any], message: str
) -> None:
    posed = task(store)
    fields = {"messages": posed.messages, "tools": posed.tools, "ground_truth": (), "world": posed.world, **change}
    with pytest.raises(DataError, match=message):
        PythonWorld(store, LIMITS).reset(Task("t", **fields))


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (
            "raise RuntimeError('not here')",
            DataError,
            r"A worker cannot import .*picky\.py:3: .*RuntimeError: not here",
        ),
        ("os._exit(1)", InfrastructureError, "could not be started"),
    ],
)
def test_tools_that_cannot_be_imported_in_a_worker(
    tmp_path: Path, line: str, error: type[Exception], message: str
) -> None:
    text = f"import os\nif os.getpid() != {os.getpid()}:\n {line}\ndef f() -> int:\n return 1\n"
    tools = file_tools(tmp_path, "picky.py", text)
    with pytest.raises(error, match=message):
        PythonWorld(tools, LIMITS).reset(task(tools, [call("f")]))


def test_tools_of_another_world_are_refused(store: PythonTools, words: PythonTools) -> None:
    with pytest.raises(DataError, match=r"offers 'add', which is not among the Python tools \(count_words, join\)"):
        PythonWorld(words, LIMITS).reset(task(store))
    posed = Task("t", task(words).messages, words.tools, (), world=World("python", {"arguments": {"items": {}}}))
    with pytest.raises(DataError, match="for tools of a class, and these are functions"):
        PythonWorld(words, LIMITS).reset(posed)


def test_a_domain_error_may_be_what_the_truth_wants(store: PythonTools) -> None:
    truth = [call("take", item="a")]
    world = world_for(store, truth)
    assert judged(world, 0, *truth) == ""


# --- what is said of a task when it is begun ---------------------------------------------------------------------


def test_a_turn_that_expects_no_call_must_leave_the_state_as_it_was(store: PythonTools) -> None:
    world = world_for(store, *TRUTH)
    assert judged(world, 0, call("add", item="a")) == "instance_state_mismatch"
    before = world.snapshot()
    assert judged(world, 1, call("count", item="b"), call("nonsense")) == ""  # reading is free, also in a wrong state
    world.restore(before)
    assert judged(world, 1, call("add", item="b")) == "instance_state_mismatch"
    world.restore(before)
    assert judged(world, 1, call("add", item="a")) == ""  # mended: that is what the truth left
    first = world_for(store, [], [])
    assert judged(first, 0, call("add", item="a")) == "instance_state_mismatch"
    assert judged(first, 1) == ""


UNSTEADY = """
import random, time, uuid

class Unsteady:
    def __init__(self) -> None:
        self.marks = []
        self.rng = random.Random(3)

    def now(self) -> float:
        return time.perf_counter()

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def mark(self) -> str:
        self.marks.append(time.perf_counter())
        return "marked"

    def roll(self) -> int:
        return self.rng.randrange(10**9)

    def fetch(self, many: int = 2**33) -> int:
        return len(bytearray(many))

    def refuse(self) -> dict:
        return {"error": "no"}
"""


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("now", r"turn 1, replayed twice, went two ways: now\(\) said '.*world.setup"),
        ("new_id", r"turn 1, replayed twice, went two ways: new_id\(\) said '"),
        ("mark", r"turn 1, replayed twice, went two ways: mark\(\) left another Unsteady than before"),
    ],
)
def test_a_truth_that_goes_two_ways_is_refused_by_its_tool(tmp_path: Path, tool: str, message: str) -> None:
    tools = file_tools(tmp_path, f"unsteady_{tool}.py", UNSTEADY)
    with pytest.raises(DataError, match=message):
        PythonWorld(tools, LIMITS).reset(task(tools, [call("roll")], [call(tool)]))


def test_chance_in_the_instance_is_no_chance(tmp_path: Path) -> None:
    tools = file_tools(tmp_path, "unsteady_roll.py", UNSTEADY)
    world = PythonWorld(tools, LIMITS)
    world.reset(task(tools, [call("roll"), call("roll")]))
    assert judged(world, 0, call("roll"), call("roll")) == ""


def test_errors_in_the_truth_memory_and_turns_that_nobody_judges_are_said_once(
    tmp_path: Path, words: PythonTools, caplog: pytest.LogCaptureFixture
) -> None:
    tools = file_tools(tmp_path, "unsteady_memory.py", UNSTEADY)
    _warn_of_unjudged.cache_clear()
    for _ in range(2):
        world = PythonWorld(tools, CallLimits(seconds=20, memory_mb=256))
        world.reset(task(tools, [call("refuse")], [call("refuse"), call("roll")]))
        assert kind_of(one(world, "fetch")) is ErrorKind.EXCEPTION
        PythonWorld(words, LIMITS).reset(task(words, [], [call("count_words", text="a")], []))
    said = [record.getMessage() for record in caplog.records]
    assert [text.split("(")[0].split(" of ")[0] for text in said] == ["refuse", "fetch", "Some turns"], said
    assert "(world.call_memory_mb = 256)" in said[1]
