"""What we write for the official scorer, through the official decoder and the official checker."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile import assets
from fissile.calls import JSON, ToolCall
from fissile.corrections.context import Context
from fissile.dialects import HermesDialect, PythonDialect
from fissile.engines.base import Sampling
from fissile.engines.dialogue import current_exchanges
from fissile.engines.policy import Policy
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, RandomPolicy, StubbornPolicy
from fissile.environments.bfcl import function_names
from fissile.environments.bfcl_ast import private_package
from fissile.environments.bfcl_official import checker
from fissile.environments.worlds import make_environment
from fissile.evaluation import LiveEpisode, evaluate_live
from fissile.evaluation.bfcl_layout import INVALID_CALL, call_text, official_turns, value_text, write_official_results
from fissile.rollouts import End, ErrorProtocol, Limits
from fissile.serial import to_json
from fissile.tasks import Task, load_bfcl_multi_turn

Decode = Callable[[str], list[str]]

HERMES = HermesDialect()
AWKWARD: list[JSON] = [
    {},
    {"a": {"b": 1}},
    {"it's": [1]},
    [{}],
    "ls(a=True) and ls (x)",
    "Sort (by date)",
    "\n (x)",
    float("nan"),
    -float("inf"),
    "\ud800'\"\\",
]
"""Values that the official decoder or executor would change."""


class AwkwardPolicy(RandomPolicy):
    """The truth of a turn, and beside it its calls with an awkward argument."""

    def write(self, context: Context, sampling: Sampling) -> str:
        truth = context.task.at_turn(context.turn).oracle_calls()
        draw = random.Random(f"{context.task.id}/{context.turn}")
        odd = [self._spoilt(call, draw) for call in truth if call.arguments]
        return self._say([] if current_exchanges(context) else [*odd, *truth])

    def _spoilt(self, call: ToolCall, draw: random.Random) -> ToolCall:
        arguments = call.arguments or {}
        return ToolCall(call.name, {**arguments, draw.choice(list(arguments)): draw.choice(AWKWARD)}, "")


POLICIES: dict[str, Policy] = {
    "oracle": OraclePolicy(HERMES),
    "corrupted oracle": CorruptedOraclePolicy(PythonDialect()),
    "stubborn": StubbornPolicy(HERMES, give_up_after=3),
    "random": RandomPolicy(HERMES, ends=0.3),
    "awkward": AwkwardPolicy(HERMES),
}


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> list[Task]:
    return list(load_bfcl_multi_turn().tasks)


@pytest.fixture(scope="module")
def decode(bfcl: Path) -> Decode:
    """The official decoder, imported under stubs of what it does not need here."""
    package = "bfcl_eval.model_handler"
    parsers = [
        ("java", "parse_java_function_call"),
        ("js", "parse_javascript_function_call"),
        ("json", "parse_json_function_call"),
        ("xml", "parse_concise_xml_function_call"),
    ]
    stubs = {f"{package}.parser.{name}_parser": _stub(function) for name, function in parsers}
    stubs[f"{package}.parser.xml_parser"] = _stub("parse_concise_xml_function_call", "parse_verbose_xml_function_call")
    stubs["bfcl_eval.utils"] = _stub()
    names = ("retry", "retry_if_exception_message", "retry_if_exception_type", "wait_random_exponential")
    tenacity = _stub(*names)
    with pytest.MonkeyPatch.context() as patch, private_package(assets.bfcl_path() / "bfcl_eval"):
        patch.setitem(sys.modules, "tenacity", tenacity)
        sys.modules.update(stubs)
        module = importlib.import_module(f"{package}.utils")
    decoder: Decode = module.default_decode_execute_prompting
    return decoder


def _stub(*names: str) -> ModuleType:
    module = ModuleType("stub")
    for name in names:
        setattr(module, name, None)
    return module


def official_score(decode: Decode, task: Task, turns: list[list[str]]) -> str:
    """As `_evaluate_single_multi_turn_entry` of the official `eval_runner`: "" for valid, else the error type."""
    truth = task.reference["ground_truth"]
    if len(turns) != len(truth):
        return "force_terminated"
    decoded = []
    for turn in turns:
        steps = []
        for text in turn:
            try:
                calls = decode(text)
            except Exception:
                continue
            if calls and not (len(calls) == 1 and not calls[0]):
                steps.append(calls)
        decoded.append(steps)
    verdict = checker()(decoded, truth, task.reference["entry"])
    return "" if verdict["valid"] else str(verdict["error_type"]).removeprefix("multi_turn:")


def evaluated(policy: Policy, tasks: list[Task], protocol: ErrorProtocol, **limits: int) -> list[LiveEpisode]:
    done: dict[str, LiveEpisode] = {}
    evaluate_live(
        policy,
        tasks,
        make_environment,
        Sampling(),
        lambda episode: done.update({episode.task_id: episode}),
        protocol,
        Limits(**limits),
        window=16,
    )
    return [done[task.id] for task in tasks]


@pytest.mark.parametrize("protocol", list(ErrorProtocol))
@pytest.mark.parametrize("name", list(POLICIES))
def test_the_official_scorer_says_what_we_say(
    tasks: list[Task], decode: Decode, name: str, protocol: ErrorProtocol
) -> None:
    chosen = random.Random(name).sample(tasks, 100)
    episodes = evaluated(POLICIES[name], chosen, protocol, steps_per_turn=6)
    ours = {episode.task_id: episode.reason for episode in episodes}
    turns = {t.id: official_turns(t, episode, protocol) for t, episode in zip(chosen, episodes, strict=True)}
    theirs = {task.id: official_score(decode, task, turns[task.id]) for task in chosen}
    assert theirs == ours
    if name in ("random", "awkward"):
        assert len(set(ours.values())) > 2


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**4200), 10**4200)
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.sampled_from(["ls(", "it's (5 pm)", "\n (x)", "'\"\\", "ls () cd(folder='x')"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_a_value_comes_out_of_the_official_decoder_as_it_went_in(decode: Decode, value: JSON) -> None:
    call = ToolCall("ls", {"a": value}, "")
    (source,) = decode(f"[{call_text(call, frozenset({'ls'}))}]")
    instances = {"ls": "instance.ls", "cd": "instance.cd"}
    rewritten = _as_the_executor_rewrites(source, instances)
    seen = eval(rewritten, {"json": json, "instance": _Instance()})
    assert json.dumps(seen) == json.dumps(value)


class _Instance:
    def ls(self, a: JSON) -> JSON:
        return a


def _as_the_executor_rewrites(source: str, instances: dict[str, str]) -> str:
    """The official `multi_turn_utils._process_method_calls`."""
    rewrite: Any = checker().__closure__ or ()
    judge = next(cell.cell_contents for cell in rewrite if getattr(cell.cell_contents, "__name__", "") == CHECKER)
    executor = judge.__globals__["execute_multi_turn_func_call"].__globals__
    rewritten: str = executor["_process_method_calls"](source, dict.fromkeys(instances, "instance"))
    return rewritten


CHECKER = "multi_turn_checker"


def test_plain_values_are_plain_literals() -> None:
    plain = ["it's", 1, -2.5, True, None, ["a", {"b": {}}], {"priority": 3, "note": {"a": [1], "b": 1}}]
    assert [value_text(value) for value in plain] == [repr(value) for value in plain]
    assert value_text(float("nan")) == "json.loads(s='NaN')"
    assert value_text({}) == "json.loads(s='{}')"


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("__import__('os').system", {"command": "touch x"}, ""),
        ToolCall("mean", {}, ""),  # of a class that is not in the task's world
        ToolCall("ls", {"a=open('x', 'w'), b": 1}, ""),
        ToolCall("ls", {"class": 1}, ""),
        ToolCall("cat", {"ﬁle_name": "x"}, ""),  # Python would read it as file_name
    ],
    ids=["code", "another class", "code in a key", "a keyword", "a ligature"],
)
def test_no_name_of_the_model_is_written(tasks: list[Task], call: ToolCall) -> None:
    assert call_text(call, function_names(tasks[0]) - {"mean"}) == INVALID_CALL


def step(turn: int, *calls: ToolCall, errors: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    attempt = {"text": "", "calls": [to_json(call) for call in calls], "errors": list(errors), "truncated": False}
    return {"turn": turn, "attempt": attempt, "results": ["x"] * len(calls), "silent": False}


def episode_of(task: Task, *steps: dict[str, Any], end: End = End.DONE) -> LiveEpisode:
    return LiveEpisode(task.id, task.category, False, "", end.value, (), steps)


def test_refused_calls_are_left_out_by_protocol(tasks: list[Task]) -> None:
    task = tasks[0]
    ls, tail = ToolCall("ls", {}, ""), ToolCall("tail", {"file_name": "x"}, "")
    unknown = {"kind": "unknown_tool", "message": "", "call_index": 1}
    slow = {"kind": "timeout", "message": "", "call_index": 0}
    episode = episode_of(task, step(0, ls, tail, errors=(unknown,)), step(0), step(1, ls, errors=(slow,)))
    assert official_turns(task, episode, ErrorProtocol.RECOVERY) == [["[ls()]", ""], ["[invalid_call()]"]]
    assert official_turns(task, episode, ErrorProtocol.OFFICIAL)[0][0] == "[ls(), tail(file_name='x')]"


def test_the_files_of_the_official_layout(tasks: list[Task], tmp_path: Path) -> None:
    chosen = [tasks[0], tasks[1], tasks[200]]
    ends = [End.DONE, End.INFRASTRUCTURE, End.DONE]
    episodes = [episode_of(task, step(0), end=end) for task, end in zip(chosen, ends, strict=True)]
    files = write_official_results(tmp_path, "../Qwen/Qwen3: 8B", chosen, episodes, ErrorProtocol.RECOVERY)
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        f"result/Qwen_Qwen3_8B/multi_turn/BFCL_v4_{category}_result.json"
        for category in ("multi_turn_base", "multi_turn_miss_func")
    ]
    (line,) = files[0].read_text(encoding="utf-8").splitlines()  # the engine failed on the other
    assert json.loads(line) == {"id": chosen[0].id, "result": [[""]]}
