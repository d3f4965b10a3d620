"""A failed step of a live rollout becomes a context from which recoveries branch off, in BFCL's world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange
from fissile.corrections import Correction
from fissile.corrections.branch import corrective_context, failure_of
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.sampler import Sampler
from fissile.engines.token_policy import TokenWriter
from fissile.environments.bfcl import BFCLWorld
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Diagnoser, Feedback, get_source
from fissile.feedback.environment import UNDONE, UNSATISFIED
from fissile.rollouts import CLOSING, Completion, OpenRollout, Response, Rollout, Step
from fissile.serial import from_json, to_json
from fissile.tasks import Task, instances, load_bfcl_multi_turn
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
SAMPLER = Sampler(CHAT, lambda task: BFCLWorld())


@pytest.fixture(scope="module")
def task(bfcl: Path) -> Task:
    """A file system scenario at its second turn, whose truth makes several calls."""
    loaded = load_bfcl_multi_turn(["multi_turn_base"], docs="brief").tasks[0]
    return next(turn for turn in instances(loaded) if turn.start == 1)


def said(text: str) -> Response:
    return Response(text, HERMES.parse(text), Completion(CHAT.completion_ids(text)))


def begun(task: Task) -> OpenRollout:
    rollout = OpenRollout(BFCLWorld(), TokenWriter(CHAT))
    rollout.begin(task, SAMPLER.demonstrate)
    return rollout


def run(rollout: OpenRollout, *texts: str) -> Rollout:
    for text in texts:
        rollout.answer(said(text))
    return rollout.record()


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments, "")


def text(*made: ToolCall) -> str:
    return HERMES.render_calls(made)


def branch(step: Step, attempt: Attempt, source: str) -> Context:
    (feedback,) = Diagnoser(get_source(source)).diagnose([failure_of(step, attempt)])
    return corrective_context(step, attempt, feedback.text, TokenWriter(CHAT))


def world_before(step: Step) -> str:
    world = BFCLWorld()
    world.reset(step.context.task)
    world.restore(step.context.state)
    return world.fingerprint()


MISTAKES: dict[str, Callable[[Task], list[str]]] = {
    "explicit, first": lambda task: [text(call("cat", file_name="nowhere"))],
    "explicit, after a right step": lambda task: [
        text(*task.at_turn(1).oracle_calls()[:1]),
        text(call("mkdir", dir_name="half"), call("cat", file_name="nowhere")),  # a part of it works
    ],
    "malformed": lambda task: ['<tool_call>{"name": </tool_call>'],
    "silent": lambda task: [text(call("mkdir", dir_name="unasked")), CLOSING],
    "silent, nothing called": lambda task: [CLOSING],
}


@pytest.mark.parametrize("source", ["environment", "rules", "fixed"])
@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_recovery_restarts_in_the_world_before_the_failed_attempt(task: Task, mistake: str, source: str) -> None:
    record = run(begun(task), *MISTAKES[mistake](task))
    ((step, attempt),) = record.failures
    context = branch(step, attempt, source)
    recovery = OpenRollout(BFCLWorld(), TokenWriter(CHAT))
    recovery.resume(context)
    assert recovery.environment.fingerprint() == world_before(step)
    assert recovery.environment.snapshot() == step.context.state
    parent = (*step.context.prompt_ids, *step.completion.ids)
    assert context.prompt_ids[: len(parent)] == parent
    assert (context.turn, context.depth) == (1, 1)
    shown = CHAT.tokenizer.decode(context.prompt_ids[len(parent) :])
    assert context.history[-1].feedback.split("\n")[0][:40] in shown
    rest = context.goal.oracle_calls()
    finished = run(recovery, text(*rest), CLOSING)
    assert finished.correct
    assert finished.context == context


def test_the_child_of_a_child(task: Task) -> None:
    ((step, attempt),) = run(begun(task), text(call("cat", file_name="nowhere"))).failures
    first = OpenRollout(BFCLWorld(), TokenWriter(CHAT))
    first.resume(branch(step, attempt, "environment"))
    ((again, second),) = run(first, text(call("mkdir", dir_name="x"), call("cat", file_name="gone"))).failures
    context = branch(again, second, "environment")
    assert context.depth == 2
    child = OpenRollout(BFCLWorld(), TokenWriter(CHAT))
    child.resume(context)
    assert child.environment.fingerprint() == world_before(step)
    assert run(child, text(*task.at_turn(1).oracle_calls()), CLOSING).correct


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_correction_survives_json_and_its_recovery_is_the_same(task: Task, mistake: str) -> None:
    record = run(begun(task), *MISTAKES[mistake](task))
    ((step, attempt),) = record.failures
    made = Correction.of("1", branch(step, attempt, "environment"), 3, Feedback("", "environment"))
    read = from_json(Correction, json.loads(json.dumps(to_json(made))))
    assert read == made
    recoveries = []
    for correction in (made, read):
        rollout = OpenRollout(BFCLWorld(), TokenWriter(CHAT))
        rollout.resume(correction.context(task))
        recoveries.append(run(rollout, text(call("ls", a=True)), text(*task.at_turn(1).oracle_calls()), CLOSING))
    assert recoveries[0] == recoveries[1]


def test_the_environment_says_what_the_world_said(task: Task) -> None:
    ((step, attempt),) = run(begun(task), text(call("cat", file_name="nowhere"))).failures
    (feedback,) = get_source("environment").diagnose([failure_of(step, attempt)])
    assert feedback == step.results[0].content
    ((step, attempt),) = run(begun(task), text(call("mkdir", dir_name="x"), call("cat", file_name="no"))).failures
    (feedback,) = get_source("environment").diagnose([failure_of(step, attempt)])
    assert feedback == f"mkdir: {UNDONE}\n{step.results[1].content}"


def test_a_silent_failure_is_told_without_its_results(task: Task) -> None:
    ((step, attempt),) = run(begun(task), text(call("mkdir", dir_name="unasked"), call("ls")), CLOSING).failures
    failure = failure_of(step, attempt)
    assert failure.silent
    assert attempt.error_kinds == (ErrorKind.WRONG_STATE,)
    assert ErrorKind.WRONG_STATE not in failure.attempt.error_kinds  # compared with the truth of the turn
    assert get_source("environment").diagnose([failure]) == [f"Error: {UNSATISFIED}"]


def test_what_a_failure_shows_is_what_was_said(task: Task) -> None:
    record = run(begun(task), text(call("ls")), text(call("cat", file_name="nowhere")))
    ((step, attempt),) = record.failures
    failure = failure_of(step, attempt)
    assert record.steps[0].results[0].content in failure.visible_text
    assert failure.task.messages[-1]["content"] in failure.visible_text
    assert failure.task.later == ()


def dialogue(*exchanges: Exchange) -> Context:
    return Context(LIVE, (), exchanges, 0)


WRONG = (ToolError(ErrorKind.DOMAIN_ERROR, "no"),)


def made(*calls: ToolCall, results: tuple[str, ...] = (), failed: bool = False) -> Exchange:
    return Exchange(Attempt("", calls, WRONG if failed else ()), results)


def add(n: int) -> ToolCall:
    return call("add", n=n)


def left(context: Context) -> list[int]:
    return [wanted.arguments["n"] for wanted in context.goal.oracle_calls() if wanted.arguments]


def test_what_is_left_of_a_turn() -> None:
    assert left(dialogue()) == [1, 2, 1]
    assert left(dialogue(made(add(1), add(9), results=("1", "10")))) == [2, 1]
    assert left(dialogue(made(add(1), results=("no",), failed=True))) == [1, 2, 1]
    both = made(add(1), add(2), results=("1", "no"), failed=True)  # the world keeps what worked
    assert left(dialogue(both)) == [1]
    restored = made(add(1), add(2), results=("a diagnosis",), failed=True)
    assert left(dialogue(restored)) == [1, 2, 1]
    ended = Exchange(Attempt(""), (), LIVE.later[0].messages)
    done = dialogue(made(add(5), results=("5",)), ended, made()).goal
    assert [wanted.name for wanted in done.oracle_calls()] == ["double", "add"]


def test_a_recovery_in_a_middle_turn_goes_on_to_the_end() -> None:
    rollout = OpenRollout(Tally(), TokenWriter(CHAT))
    rollout.begin(LIVE)
    rollout.answer(said(text(call("add", n="x"))))
    ((step, attempt),) = rollout.record().failures
    recovery = OpenRollout(Tally(), TokenWriter(CHAT))
    recovery.resume(branch(step, attempt, "rules"))
    record = run(recovery, text(add(4)), CLOSING, CLOSING, text(call("double")), text(add(5)), CLOSING)
    assert (record.correct, len(record.verdicts)) == (True, 3)
