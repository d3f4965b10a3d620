"""Every hostile output as the first response of a whole live rollout, in BFCL's world and in one of Python tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from fissile.calls import JSON, ToolCall
from fissile.dialects import get_dialect
from fissile.environments.base import ErrorPolicy, ErrorProtocol
from fissile.environments.bfcl import BFCLWorld
from fissile.environments.python import CallLimits, PythonTools, PythonWorld
from fissile.errors import ErrorKind
from fissile.evaluation.episodes import EpisodeRecord
from fissile.rollouts import End
from fissile.serial import from_json, to_json
from fissile.tasks import ExpectedCall, Task, Turn, World, load_bfcl_multi_turn
from security.execution_canary import nothing_runs
from security.hostile_cases import ECHO, FORMATS, Case, Probe, huge_cases, small_cases
from security.hostile_rollouts import KEEP, LIMITS, PYTHON_TOOLS, Arena, Played, shortened, with_all_classes

PWD = ToolCall("pwd", {}, "")
SECONDS = 1.0
"""CPU time of a whole rollout of a small case."""
FIRST_USE = Case("first use", "", lambda dialect: dialect.render_calls([ToolCall("touch", {"file_name": 7}, "")]))
"""A call that fails: what is read or started at the first use and at the first error is, after this."""


@pytest.fixture(scope="module")
def real_task(bfcl: Path) -> Task:
    return shortened(load_bfcl_multi_turn(["multi_turn_base"]).tasks[0])


@pytest.fixture(scope="module")
def wide_task(real_task: Task) -> Task:
    return with_all_classes(real_task)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> PythonTools:
    file = tmp_path_factory.mktemp("tools") / "shelf_tools.py"
    file.write_text(PYTHON_TOOLS)
    return PythonTools.from_file(file)


@pytest.fixture(scope="module")
def shelf_task(shelf: PythonTools) -> Task:
    says = ({"role": "user", "content": "Keep 1, then 2."},)
    first, second = (ExpectedCall.exactly("keep", {"value": value}) for value in (1, 2))
    return Task("shelf", says, shelf.tools, (first,), world=World("python"), later=(Turn(says, (second,)),))


def long_cases(probe: Probe) -> list[Case]:
    """The huge ones but for a million characters of one kind, which are the parsers' matter."""
    return [case for case in huge_cases(probe) if "million" not in case.name]


# --- what must hold of a rollout -------------------------------------------------------------------------------------


def problems(arena: Arena, case: Case) -> list[str]:
    """What is wrong with a rollout of the case."""
    try:
        played = arena.play(case)
    except Exception as error:  # the contract: never, whatever a model wrote
        return [f"raised {error!r:.300}"]
    found = [f"took {played.seconds:.2f} s"] if played.seconds > max(case.seconds, SECONDS) else []
    return found + beyond_limits(played, arena.longest) + untyped(played, arena.protocol) + unwritable(played)


def beyond_limits(played: Played, longest: int) -> list[str]:
    """Limits of the rollout that were passed."""
    rollout = played.rollout
    found = [] if rollout.end in (End.DONE, End.STEP_LIMIT) else [f"ended with {rollout.end}"]
    found += ["too many steps"] * (len(rollout.steps) > len(rollout.context.task.turns) * LIMITS.steps_per_turn)
    for step in rollout.steps:
        succeeded = [result for result in step.results if result.error is None]
        found += ["too many calls"] * (len(succeeded) > ErrorPolicy().calls_per_response)
        found += ["a long result"] * any(len(result.content) > longest for result in step.results)
        found += [f"a message of {len(e.message)} characters" for e in step.attempt.errors if len(e.message) > 1000]
    return found


def untyped(played: Played, protocol: ErrorProtocol) -> list[str]:
    """Calls without an answer of their own, and errors of the wrong kind or place."""
    found = []
    for step in played.rollout.steps:
        calls = step.attempt.calls
        kinds = {error.call_index: error.kind for error in step.attempt.errors}
        malformed = [index for index, call in enumerate(calls) if not call.is_well_formed]
        answered = [result.call_index for result in step.results] == list(range(len(calls)))
        unanswered = not step.results and protocol is ErrorProtocol.OFFICIAL and bool(malformed)
        found += [f"{len(step.results)} results for {len(calls)} calls"] * (not answered and not unanswered)
        found += [f"an error of call {index}" for index in kinds if index not in range(len(calls))]
        found += ["a malformed call of another kind" for index in malformed
                  if kinds.get(index) is not ErrorKind.MALFORMED_CALL]  # fmt: skip
    return found


def unwritable(played: Played) -> list[str]:
    """Records and states that change when they are written as JSON and read again."""
    record = to_json(EpisodeRecord.of(played.rollout))
    again = to_json(from_json(EpisodeRecord, json.loads(json.dumps(record))))
    found = ["the record changes when it is written"] * (json.dumps(again) != json.dumps(record))
    before = played.world.fingerprint()
    played.world.restore(json.loads(json.dumps(played.world.snapshot())))
    return found + ["the state changes when it is written"] * (played.world.fingerprint() != before)


def unusable(arena: Arena, right: ToolCall) -> list[str]:
    """What is wrong with a right call in the world as it was left, and with the state of the next episode."""
    (result,) = arena.last.execute([right])
    found = [] if result.error is None else [f"a right call fails: {result.content[:100]}"]
    return found + ["the next episode begins in another state"] * (arena.begun().fingerprint() != arena.first_state)


# --- the worlds ------------------------------------------------------------------------------------------------------


def harmed(arena: Arena, cases: Sequence[Case], harmless: ToolCall) -> dict[str, list[str]]:
    """Case to what went wrong in it; an episode that began before all of them must end right."""
    task, neighbour = arena.task, arena.begun()
    assert problems(arena, FIRST_USE) == []
    found = {}
    with nothing_runs():
        for case in cases:
            if wrong := problems(arena, case) + unusable(arena, harmless):
                found[case.name] = wrong
    for turn in range(len(task.turns)):
        neighbour.execute(task.at_turn(turn).oracle_calls())
        assert neighbour.judge(turn).valid
    return found


@pytest.mark.parametrize(
    ("name", "protocol"), [*product(FORMATS, ["recovery"]), *product(["hermes", "python"], ["official"])]
)
def test_no_case_harms_bfcls_world(real_task: Task, name: str, protocol: str) -> None:
    arena = Arena(real_task, BFCLWorld, FORMATS[name], ErrorProtocol(protocol))
    assert harmed(arena, small_cases(ECHO), PWD) == {}


@pytest.mark.parametrize(("name", "protocol"), [("hermes", "recovery"), ("python", "official")])
def test_no_size_harms_bfcls_world(real_task: Task, name: str, protocol: str) -> None:
    arena = Arena(real_task, BFCLWorld, FORMATS[name], ErrorProtocol(protocol))
    assert harmed(arena, long_cases(ECHO), PWD) == {}


def test_no_call_harms_a_world_of_all_classes(wide_task: Task) -> None:
    arena = Arena(wide_task, BFCLWorld, get_dialect("hermes"))
    calls = [case for case in small_cases(ECHO) if case.name.startswith(("bomb", "tool"))]
    assert harmed(arena, calls, PWD) == {}


@pytest.mark.parametrize(("name", "protocol"), [("hermes", "recovery"), ("python", "official")])
def test_no_case_harms_a_world_of_python_tools(
    shelf: PythonTools, shelf_task: Task, name: str, protocol: ErrorProtocol, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    arena = Arena(shelf_task, lambda: PythonWorld(shelf, workers=1), FORMATS[name], ErrorProtocol(protocol), 8_100)
    cases = [*small_cases(KEEP), *(long_cases(KEEP) if name == "hermes" else ())]
    assert harmed(arena, cases, ToolCall("count", {}, "")) == {}
    assert list(tmp_path.iterdir()) == []


BOMBS: list[tuple[str, dict[str, JSON], set[ErrorKind]]] = [
    ("match", {"pattern": "(a+)+$", "text": "a" * 40 + "!"}, {ErrorKind.TIMEOUT}),
    ("match", {"pattern": "(" * 5000, "text": ""}, {ErrorKind.EXCEPTION}),
    ("repeat", {"text": "x" * 1000, "times": 10**10}, {ErrorKind.EXCEPTION, ErrorKind.TIMEOUT}),
    ("repeat", {"text": "x", "times": 10**299}, {ErrorKind.EXCEPTION}),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "kinds"), BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_costs_a_python_tool_its_call(
    shelf: PythonTools, shelf_task: Task, tool: str, arguments: dict[str, JSON], kinds: set[ErrorKind]
) -> None:
    limits = CallLimits(seconds=0.5, memory_mb=256)
    arena = Arena(shelf_task, lambda: PythonWorld(shelf, limits, workers=1), get_dialect("hermes"))
    bomb = Case("bomb", "", lambda dialect: dialect.render_calls([ToolCall(tool, arguments, "")]))
    played = arena.play(bomb)
    (error,) = played.rollout.steps[0].attempt.errors
    assert error.kind in kinds
    assert played.rollout.correct
    assert unusable(arena, ToolCall("count", {}, "")) == []
