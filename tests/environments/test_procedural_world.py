"""The live side of the procedural world: what it refuses, what it does, and what it judges right."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.calls import JSON, ParseError, ToolCall, canonical_json
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.sampler import Sampler
from fissile.engines.scripted import ScriptedEngine
from fissile.engines.scripted_policies import CorruptedOraclePolicy, OraclePolicy, RandomPolicy, StubbornPolicy
from fissile.environments import judge
from fissile.environments.procedural import ProceduralWorld
from fissile.environments.procedural.complaints import described, shape
from fissile.environments.worlds import make_environment
from fissile.errors import DataError, ErrorKind
from fissile.faults import Fault, corrupt
from fissile.methods import Batch, FissionGRPO, Host, Phase, Scored
from fissile.rewards import RewardConfig, rollout_reward
from fissile.rollouts import OpenRollout, Rollout
from fissile.tasks import ExpectedCall, Task, World
from fissile.tasks.procedural.conventions import KINDS
from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.tasks.procedural.requests import procedural_split
from fissile.tools import Tool
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)


@cache
def tasks_of(seed: int, calls: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1), transient: float = 0.0) -> tuple[Task, ...]:
    split = procedural_split(
        ProceduralSettings(
            seed=seed,
            train_tasks=20,
            test_tasks=10,
            train_tools=40,
            test_tools=20,
            offered=1 + seed % 8,
            calls=calls,
            parameters=1 + seed % 6,
            live=True,
            transient=transient,
        )
    )
    return (*split.train, *split.test)


some_tasks = st.builds(lambda seed, at: tasks_of(seed)[at], st.integers(0, 15), st.integers(0, 29))


def begun(task: Task) -> ProceduralWorld:
    world = ProceduralWorld()
    world.reset(task)
    return world


def call(name: str | None, arguments: dict[str, JSON] | None = None, **more: Any) -> ToolCall:
    return ToolCall(name, arguments, canonical_json([name, arguments]), **more)


# --- a small task, by hand ---------------------------------------------------------------------------------------


def schema(required: list[str], **properties: dict[str, JSON]) -> dict[str, JSON]:
    return {"type": "object", "properties": properties, "required": required}


REF = {"type": "string", "pattern": "^[a-z][0-9]$"}
COLOUR = {"type": "string", "enum": ["RED", "BLUE"]}
DAY = {"type": "string", "pattern": "^[0-9]{2}[.][0-9]{2}$"}
GUESTS = {"type": "integer", "minimum": 1}

TOOLS = (
    Tool("book_boat", "", schema(["ref", "guests"], ref=REF, guests=GUESTS)),
    Tool("change_boat", "", schema(["ref", "colour"], ref=REF, colour=COLOUR, day=DAY)),
    Tool("cancel_boat", "", schema(["ref"], ref=REF, gift={"type": "boolean"})),
    Tool("show_boat", "", schema(["ref"], ref=REF, city={"type": "string"})),
    Tool("add_lamp", "", schema(["guests"], guests=GUESTS)),
)
MEANINGS: dict[str, JSON] = {
    "book_boat": {"action": "create", "noun": "boat", "key": "ref"},
    "change_boat": {"action": "update", "noun": "boat", "key": "ref"},
    "cancel_boat": {"action": "delete", "noun": "boat", "key": "ref"},
    "show_boat": {"action": "find", "noun": "boat", "key": "ref"},
    "add_lamp": {"action": "create", "noun": "lamp", "key": None},
}


def task_of(*truth: ToolCall, transient: float = 0.0, name: str = "boats") -> Task:
    return Task(
        name,
        ({"role": "user", "content": "Please see to the boats."},),
        TOOLS,
        tuple(ExpectedCall.exactly(made.name or "", made.arguments or {}) for made in truth),
        world=World("procedural", {"records": {"boat": ["A1", "C3"]}, "tools": MEANINGS, "transient": transient}),
    )


BOOK = call("book_boat", {"ref": "e5", "guests": 3})
PAINT = call("change_boat", {"ref": "a1", "colour": "RED"})
CANCEL = call("cancel_boat", {"ref": "c3", "gift": True})
SHOW = call("show_boat", {"ref": "a1"})
LAMP = call("add_lamp", {"guests": 2})
BOATS = task_of(BOOK, PAINT, CANCEL, SHOW, LAMP)


def test_calls_are_carried_out_and_answered() -> None:
    world = begun(BOATS)
    first, painted, gone, lamp, shown = world.execute([BOOK, PAINT, CANCEL, LAMP, SHOW])
    assert first.content == "boat E5 created."
    assert painted.content == "boat A1 updated."
    assert gone.content == "boat C3 deleted."
    assert lamp.content == "lamp created."
    assert shown.content == 'boat A1: {"colour": "RED"}'
    assert shown.call_index == 4
    assert world.judge(0).valid


REFUSALS: list[tuple[ToolCall, ErrorKind, str | None, str]] = [
    (call("paint_boat", {}), ErrorKind.UNKNOWN_TOOL, None, "nothing here is called paint_boat."),
    (
        call(None, None, parse_error=ParseError("no brace", 3)),
        ErrorKind.MALFORMED_CALL,
        None,
        "this is no readable call.",
    ),
    (
        call("change_boat", {"ref": "a1"}),
        ErrorKind.MISSING_ARGUMENT,
        "colour",
        "change_boat does not work without colour: RED or BLUE.",
    ),
    (
        call("show_boat", {"ref": "a1", "size": 1}),
        ErrorKind.UNEXPECTED_ARGUMENT,
        "size",
        "show_boat knows no size.",
    ),
    (
        call("book_boat", {"ref": "e5", "guests": "3"}),
        ErrorKind.WRONG_TYPE,
        "guests",
        "guests of book_boat has to be a whole number from 1 up, without quotes.",
    ),
    (
        call("book_boat", {"ref": "e5", "guests": True}),
        ErrorKind.WRONG_TYPE,
        "guests",
        "guests of book_boat has to be a whole number from 1 up, without quotes.",
    ),
    (
        call("change_boat", {"ref": "a1", "colour": "red"}),
        ErrorKind.WRONG_VALUE,
        "colour",
        "colour of change_boat has to be RED or BLUE.",
    ),
    (
        call("change_boat", {"ref": "a1", "colour": "RED", "day": "2026-03-01"}),
        ErrorKind.WRONG_VALUE,
        "day",
        'day of change_boat has to be text like "00.00".',
    ),
    (call("show_boat", {"ref": "A1"}), ErrorKind.WRONG_VALUE, "ref", 'ref of show_boat has to be text like "a0".'),
    (call("show_boat", {"ref": "z9"}), ErrorKind.DOMAIN_ERROR, None, "there is no boat Z9."),
    (call("book_boat", {"ref": "a1", "guests": 1}), ErrorKind.DOMAIN_ERROR, None, "boat A1 exists already."),
    (
        call("show_boat", {"ref": "a1", "city": "x" * 500}),
        ErrorKind.WRONG_VALUE,
        "city",
        "city of show_boat is far too large.",
    ),
    (
        call("add_lamp", {"guests": 10**300}),
        ErrorKind.WRONG_VALUE,
        "guests",
        "guests of add_lamp is far too large.",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "argument", "message"), REFUSALS)
def test_a_refusal_is_typed_and_changes_nothing(
    wrong: ToolCall, kind: ErrorKind, argument: str | None, message: str
) -> None:
    world = begun(BOATS)
    before = world.fingerprint()
    _, result = world.execute([SHOW, wrong])
    assert result.error is not None
    assert (result.error.kind, result.error.argument, result.error.call_index) == (kind, argument, 1)
    assert result.error.message == message
    assert result.content == f"Error: {message}"
    assert world.fingerprint() == before


def test_several_faults_are_told_at_once() -> None:
    (result,) = begun(BOATS).execute([call("book_boat", {"guests": 0, "colour": "RED"})])
    assert result.content == (
        'Error: book_boat does not work without ref: text like "a0". '
        "guests of book_boat has to be a whole number from 1 up, without quotes. book_boat knows no colour."
    )


def test_what_was_deleted_is_gone_until_it_is_made_anew() -> None:
    world = begun(BOATS)
    world.execute([CANCEL])
    for gone in (CANCEL, call("show_boat", {"ref": "c3"}), call("change_boat", {"ref": "c3", "colour": "RED"})):
        (result,) = world.execute([gone])
        assert (result.error and result.error.kind) == ErrorKind.DOMAIN_ERROR
        assert result.content == "Error: boat C3 was deleted before."
    (again,) = world.execute([call("book_boat", {"ref": "c3", "guests": 1})])
    assert again.error is None


@pytest.mark.parametrize(
    ("truth", "made", "reason"),
    [
        ((), (), ""),
        ((), (BOOK,), ""),
        ((SHOW,), (), "empty_turn_model_response"),
        ((SHOW,), (SHOW, SHOW), ""),
        ((SHOW,), (call("show_boat", {"ref": "c3"}),), "execution_response_mismatch"),
        ((SHOW,), (call("show_boat", {"ref": "a1", "city": "Bo"}),), "execution_response_mismatch"),
        ((SHOW, SHOW), (SHOW,), "execution_response_mismatch"),
        ((SHOW,), (SHOW, PAINT), "instance_state_mismatch"),
        ((PAINT,), (call("change_boat", {"ref": "c3", "colour": "RED"}),), "instance_state_mismatch"),
        ((PAINT,), (call("change_boat", {"ref": "a1", "colour": "BLUE"}), PAINT), ""),
        ((CANCEL,), (call("cancel_boat", {"ref": "c3", "gift": False}),), "instance_state_mismatch"),
        ((CANCEL,), (call("cancel_boat", {"ref": "c3"}),), "instance_state_mismatch"),
        ((LAMP,), (LAMP, LAMP), "instance_state_mismatch"),
        ((LAMP, LAMP), (LAMP,), "instance_state_mismatch"),
        ((LAMP,), (call("add_lamp", {"guests": 2.0}),), ""),
        ((BOOK,), (call("book_boat", {"ref": "e5", "guests": 4}), call("cancel_boat", {"ref": "e5"}), BOOK), ""),
        ((BOOK,), (BOOK, BOOK), ""),  # the second one was refused
        ((BOOK,), (call("nothing", {}),), "instance_state_mismatch"),
    ],
)
def test_the_judge_compares_records_and_reads(
    truth: tuple[ToolCall, ...], made: tuple[ToolCall, ...], reason: str
) -> None:
    world = begun(task_of(*truth))
    world.execute(made)
    verdict = world.judge(0)
    assert (verdict.valid, verdict.reason) == (not reason, reason)
    kinds = {"instance_state_mismatch": ErrorKind.WRONG_STATE}
    assert all(error.kind is kinds.get(reason, ErrorKind.MISSING_CALL) for error in verdict.errors)


def test_a_world_that_does_not_fit_its_task_is_refused() -> None:
    assert isinstance(make_environment(BOATS), ProceduralWorld)
    setup = BOATS.world.setup if BOATS.world else {}
    for world, message in (
        (None, "live = true"),
        (World("bfcl"), "live = true"),
        (World("procedural"), "does not fit"),
        (World("procedural", {**setup, "records": {}}), "does not fit"),
        (World("procedural", {**setup, "tools": {}}), "does not fit"),
        (World("procedural", {**setup, "tools": {"a": {"action": "eat", "noun": "b", "key": "c"}}}), "must be one of"),
        (World("procedural", {**setup, "transient": "often"}), "does not fit"),
    ):
        with pytest.raises(DataError, match=message):
            begun(replace(BOATS, world=world))
    with pytest.raises(DataError, match="no snapshot"):
        begun(BOATS).restore({"present": []})


# --- every task that can be drawn --------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(some_tasks, st.randoms(use_true_random=False))
def test_the_truth_is_right_in_any_order(task: Task, rng: random.Random) -> None:
    calls = list(task.oracle_calls())
    fingerprints = set()
    for _ in range(3):
        world = begun(task)
        results = world.execute(calls)
        assert [result.error for result in results] == [None] * len(calls)
        assert world.judge(0).valid
        fingerprints.add(world.fingerprint())
        rng.shuffle(calls)
    assert len(fingerprints) == 1


@settings(max_examples=80, deadline=None)
@given(some_tasks)
def test_no_call_of_the_truth_can_be_left_out(task: Task) -> None:
    calls = task.oracle_calls()
    for left_out in range(len(calls)):
        world = begun(task)
        world.execute([*calls[:left_out], *calls[left_out + 1 :]])
        assert not world.judge(0).valid


@settings(max_examples=200, deadline=None)
@given(some_tasks, st.sampled_from(Fault), st.integers(0, 10**6))
def test_every_corruption_is_refused_or_judged_wrong(task: Task, fault: Fault, seed: int) -> None:
    faulty = corrupt(task, HERMES, random.Random(seed), fault)
    if faulty is None:
        return
    parsed = HERMES.parse(faulty.text)
    assert judge(task, parsed)
    world = begun(task)
    results = world.execute(parsed.calls)
    assert any(result.error for result in results) or not world.judge(0).valid


@settings(max_examples=80, deadline=None)
@given(some_tasks, st.sampled_from(Fault), st.integers(0, 10**6), st.integers(0, 4))
def test_a_snapshot_brings_the_world_back(task: Task, fault: Fault, seed: int, at: int) -> None:
    task = replace(task, world=World("procedural", {**(task.world or World("")).setup, "transient": 0.5}))
    faulty = corrupt(task, HERMES, random.Random(seed), fault)
    calls = [*(HERMES.parse(faulty.text).calls if faulty else ()), *task.oracle_calls(), *task.oracle_calls()]
    world = begun(task)
    world.execute(calls[:at])
    state = json.loads(json.dumps(world.snapshot()))
    fingerprint, verdict = world.fingerprint(), world.judge(0)
    went_on = world.execute(calls[at:])
    other = begun(task)
    for episode in (other, world):
        episode.restore(state)
        assert episode.snapshot() == state
        assert (episode.fingerprint(), episode.judge(0)) == (fingerprint, verdict)
        assert episode.execute(calls[at:]) == went_on
    assert other.snapshot() == world.snapshot()
    assert len(json.dumps(state)) < 2500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([tool.name for tool in TOOLS]) | st.text(max_size=12) | st.none()
arguments = st.none() | st.dictionaries(
    st.sampled_from(["ref", "guests", "colour", "day", "gift", "city"]) | st.text(max_size=8),
    json_values | st.sampled_from(["a1", "RED", 3, 1e300, 10**6000, float("nan"), "a1\n", "\ud800", "x" * 10**5]),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.builds(ToolCall, names, arguments, st.just("")), max_size=4), st.sampled_from([0.0, 0.9]))
def test_nothing_that_a_model_writes_raises(calls: list[ToolCall], transient: float) -> None:
    world = begun(task_of(SHOW, PAINT, transient=transient))
    results = world.execute(calls)
    assert [result.call_index for result in results] == list(range(len(calls)))
    assert all(len(result.content) < 1000 for result in results)
    world.judge(0)
    state = json.loads(json.dumps(world.snapshot()))
    other = begun(task_of(SHOW, PAINT, transient=transient))
    other.restore(state)
    assert other.fingerprint() == world.fingerprint()


# --- failures that pass ------------------------------------------------------------------------------------------


def test_a_transient_failure_passes_and_changes_nothing() -> None:
    failed = 0
    for number in range(300):
        task = task_of(PAINT, transient=0.3, name=f"boats-{number}")
        world = begun(task)
        before = world.fingerprint()
        (first,) = world.execute([PAINT])
        if first.error is not None:
            failed += 1
            assert first.error.kind in (ErrorKind.TIMEOUT, ErrorKind.EXCEPTION)
            assert world.fingerprint() == before
            (second,) = world.execute([PAINT])
            assert second.error is None
        assert world.judge(0).valid
    assert 60 <= failed <= 120


def test_what_fails_is_decided_by_the_task_and_the_call() -> None:
    def kinds() -> list[ErrorKind | None]:
        worlds = [begun(task_of(PAINT, transient=0.5, name=f"boats-{number}")) for number in range(100)]
        return [result.error and result.error.kind for world in worlds for result in world.execute([PAINT])]

    assert kinds() == kinds()
    assert set(kinds()) == {None, ErrorKind.TIMEOUT, ErrorKind.EXCEPTION}


# --- the words ---------------------------------------------------------------------------------------------------


def test_every_convention_is_described_apart_from_the_others_of_its_kind() -> None:
    for kind in KINDS.values():
        words = [described(convention.schema) for convention in kind.conventions]
        assert len(set(words)) == len(words)
        assert "something else" not in words
        assert not any("[" in said or "^" in said or "{" in said for said in words)


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("^[0-9]+$", "00"),
        ("^[0-9]{2}-[0-9]{2}$", "00-00"),
        ("^[0-9]{2}[.][0-9]{2}$", "00.00"),
        ("^[0-9]{2}/[0-9]{2}$", "00/00"),
        ("^[A-Z][0-9]$", "A0"),
    ],
)
def test_the_shape_of_a_pattern(pattern: str, example: str) -> None:
    assert shape(pattern) == example


# --- the loop ----------------------------------------------------------------------------------------------------


def environment(task: Task) -> ProceduralWorld:
    return begun(task)


SAMPLER = Sampler(CHAT, environment)


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("policy", [OraclePolicy, CorruptedOraclePolicy])
def test_scripted_policies_end_as_they_should(policy: Any, one_by_one: bool) -> None:
    tasks = tasks_of(7)
    chosen = policy(HERMES, one_call_a_response=one_by_one) if policy is OraclePolicy else policy(HERMES)
    ended = []
    roll_out(chosen, [started(task, chosen) for task in tasks], Sampling(), ended.append)
    assert all(rollout.correct for rollout in ended)
    errors = [any(step.attempt.failed for step in rollout.steps) for rollout in ended]
    assert set(errors) == {policy is CorruptedOraclePolicy}


def started(task: Task, policy: Any) -> OpenRollout:
    rollout = OpenRollout(environment(task), policy)
    rollout.begin(task)
    return rollout


def errors_of(policy: Any, tasks: Sequence[Task], **options: Any) -> set[ErrorKind]:
    ended: list[Rollout] = []
    roll_out(policy, [started(task, policy) for task in tasks], Sampling(), ended.append, **options)
    raised = {error.kind for rollout in ended for step in rollout.steps for error in step.attempt.errors}
    return raised | {error.kind for rollout in ended for verdict in rollout.verdicts for error in verdict.errors}


def test_the_errors_that_can_be_met() -> None:
    met = errors_of(StubbornPolicy(HERMES, give_up_after=1), tasks_of(0))
    for seed in range(4):
        policy = OraclePolicy(HERMES)
        injector = Injector(InjectionSettings(rate=1.0, seed=seed), HERMES, policy, environment)
        met |= errors_of(policy, tasks_of(seed), inject=injector.begin_turn)
        met |= errors_of(RandomPolicy(HERMES, seed=seed), tasks_of(seed, transient=0.3))
    single_step_alone = {ErrorKind.WRONG_TOOL, ErrorKind.EXTRA_CALL, ErrorKind.TRUNCATED}
    assert met == set(ErrorKind) - single_step_alone


def test_failures_can_be_forced() -> None:
    policy = OraclePolicy(HERMES)
    injector = Injector(InjectionSettings(rate=1.0), HERMES, policy, environment)
    ended = []
    tasks = tasks_of(7)
    roll_out(policy, [started(task, policy) for task in tasks], Sampling(), ended.append, inject=injector.begin_turn)
    assert all(rollout.steps[0].injected and rollout.correct for rollout in ended)


def fails_then_recovers(task: Task) -> ScriptedEngine:
    """Calls an unknown tool on odd samples; says what is right where an error was answered, or on even samples."""
    wrong = CHAT.completion_ids(HERMES.render_calls([call("no_such_tool", {})]))
    right = CHAT.completion_ids(HERMES.render_calls(task.oracle_calls()))
    done = CHAT.completion_ids("Done.")

    def script(prompt: tuple[int, ...], sample: int) -> tuple[int, ...]:
        text = CHAT.tokenizer.decode(list(prompt))
        said = text[text.rfind(task.messages[0]["content"]) :]
        if "no_such_tool" not in said and "<tool_response>" not in said:
            return wrong
        return right if said.rstrip().count("<tool_response>") == 1 and "no_such_tool" in said else done

    return ScriptedEngine(script)


def test_fission_branches_from_a_failure_and_recovers() -> None:
    task = next(task for task in tasks_of(7) if len(task.ground_truth) > 1)
    lines: list[dict[str, Any]] = []
    method = FissionGRPO(feedback="environment", per_group=2)
    method.attach(Host({task.id: task}, SAMPLER.writer, journal=lines.append))
    engine, sampling = fails_then_recovers(task), Sampling(max_new_tokens=2000)
    config = RewardConfig()
    plan = method.plan((SAMPLER.context(task),), 2, 0)
    for step, phase in enumerate((Phase.EXPLORE, Phase.FISSION)):
        assert plan.phase is phase
        rollouts = SAMPLER.sample(engine, plan.contexts, sampling, samples=2)
        assert all(rollout.correct for rollout in rollouts)
        scored = [
            Scored(rollout, rollout_reward(rollout, progress=0.0, reference_length=9, config=config))
            for rollout in rollouts
        ]
        method.observe(Batch(plan, tuple(scored), step), step)
        plan = method.plan((SAMPLER.context(task),), 2, step + 1)
    assert {line["event"] for line in lines} == {"intercepted", "fission"}
