"""What the ground truth of a task leaves behind: computed once a task, turn by turn, in a world of its own."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from fissile.calls import JSON, ToolCall, canonical_json
from fissile.environments.python.answers import cut
from fissile.environments.python.calling import CallOutcome, PickledState, run_call
from fissile.environments.python.frames import Frame
from fissile.environments.python.toolbox import PythonTools
from fissile.environments.python.worker_pool import LostCallError, WorkerPool
from fissile.environments.replay import AfterTurn
from fissile.errors import DataError, ErrorKind
from fissile.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Truth:
    """A task's truth, replayed.

    Attributes:
        first: the state before the first turn.
        turns: what each leaves: a digest of each result (none where it expects no call), and the state.
    """

    first: PickledState
    turns: tuple[AfterTurn[PickledState], ...]


def truth_of(task: Task, tools: PythonTools, pool: WorkerPool) -> Truth:
    """The truth of a task, from memory where it was computed before.

    Raises:
        DataError: the world cannot be built, or the tools refuse a call of the truth. (That they answer one with a
            domain error may be what is wanted.)
    """
    turns = [task.at_turn(turn).oracle_calls() for turn in range(len(task.turns))]
    calls = canonical_json([[[call.name, call.arguments] for call in turn] for turn in turns])
    try:
        return _replayed(pool, tools, canonical_json(_constructor_arguments(task, tools)), calls)
    except DataError as error:
        raise DataError(f"Task '{task.id}': {error}") from None


def _constructor_arguments(task: Task, tools: PythonTools) -> dict[str, JSON]:
    """What `World.setup` gives to the constructor of the state's class."""
    setup = task.world.setup if task.world is not None else {}
    unknown = [key for key in setup if key != "arguments"]
    if unknown:
        raise DataError(f"'world.setup' has the key '{unknown[0]}'; a Python world takes only 'arguments'.")
    arguments = setup.get("arguments", {})
    if not isinstance(arguments, dict):
        raise DataError("'world.setup.arguments' must be an object: the constructor's arguments by name.")
    if arguments and not tools.state:
        raise DataError("'world.setup.arguments' is for tools of a class, and these are functions. Leave it out.")
    return arguments


@lru_cache(maxsize=4096)
def _replayed(pool: WorkerPool, tools: PythonTools, arguments: str, turns: str) -> Truth:
    """The truth of the world that is made from `arguments`, replayed. Both texts are JSON, to be a key."""
    first = _constructed(pool, tools, arguments)
    asked = [[ToolCall(name, values, "") for name, values in turn] for turn in json.loads(turns)]
    once = _played(pool, tools, first, asked)
    _refuse_chance(pool, tools, asked, once, _played(pool, tools, first, asked))
    ends = [first]
    for outcomes in once:
        ends.append(outcomes[-1].state if outcomes else ends[-1])
    for turn, calls in enumerate(asked):
        if not calls and not tools.state:
            _warn_of_unjudged()
        for call, outcome in zip(calls, once[turn], strict=True):
            if outcome.error is not None:
                _warn_of_refusal(call.name or "")
            if outcome.printed and outcome.content == "null":
                _warn_of_print(call.name or "")
    digests = [Counter(outcome.digest for outcome in outcomes) for outcomes in once]
    return Truth(first, tuple(map(AfterTurn, digests, ends[1:])))


def _played(
    pool: WorkerPool, tools: PythonTools, state: PickledState, turns: Sequence[Sequence[ToolCall]]
) -> list[list[CallOutcome]]:
    """What comes of each call, turn by turn."""
    played: list[list[CallOutcome]] = []
    for turn, calls in enumerate(turns):
        played.append([])
        for call in calls:
            outcome = run_call(pool, tools.tool(call.name), call, state)
            if outcome.error is not None and outcome.error.kind is not ErrorKind.DOMAIN_ERROR:
                raise DataError(
                    f"the ground truth of turn {turn} cannot be replayed: {call.name}() was answered with "
                    f"'{outcome.error.message}'. Mend the truth, the tool, or 'world.setup'."
                )
            state = outcome.state
            played[-1].append(outcome)
    return played


def _refuse_chance(
    pool: WorkerPool,
    tools: PythonTools,
    turns: Sequence[Sequence[ToolCall]],
    once: Sequence[Sequence[CallOutcome]],
    again: Sequence[Sequence[CallOutcome]],
) -> None:
    """Raises DataError where a second replay went another way: no policy could be right then."""
    for turn, calls in enumerate(turns):
        for call, first, second in zip(calls, once[turn], again[turn], strict=True):
            same = first.digest == second.digest
            if same and (not tools.state or same_states(pool, second.state, first.state)):
                continue
            told = f"left another {tools.state} than before"
            if not same:
                told = f"said '{cut(first.content, 80)}' and then '{cut(second.content, 80)}'"
            raise DataError(
                f"the ground truth of turn {turn}, replayed twice, went two ways: {call.name}() {told}, so no right "
                "call could be told from a wrong one. A tool must do the same for the same call in the same state: "
                "keep chance in the instance (random.Random(seed)), and take the time, new ids and what a service "
                "answers from 'world.setup' or from a fixed table."
            )


def same_states(pool: WorkerPool, state: PickledState, expected: PickledState) -> bool:
    """True when a state is as expected. Equal fingerprints say so; else `==` has a word."""
    if state.fingerprint == expected.fingerprint:
        return True
    try:
        reply = pool.ask(Frame({"do": "compare"}, (state.pickled, expected.pickled)))
    except LostCallError:
        return False
    return reply.header.get("same") is True


@cache
def _warn_of_unjudged() -> None:
    """Said once: the judge of a turn without calls has only the state to go by."""
    logger.warning(
        "Some turns of the tasks expect no call, and functions keep no state: whatever is called there counts as "
        "right. Give a class whose instance is the state, if that matters.",
    )


@cache
def _warn_of_refusal(tool: str) -> None:
    """Said once a tool: it may be a mistake in the data."""
    logger.warning(
        "%s() answers a call of the ground truth with an error. Such a call counts as right, and is not learned in the "
        "cold start. `fissile data check` names the tasks; mend them where it is not wanted.",
        tool,
    )


@cache
def _warn_of_print(tool: str) -> None:
    """Said once a tool: whoever prints an answer means the model to read it."""
    logger.warning("%s() prints, which no model reads, and returns nothing. Return what the model should read.", tool)


@cache
def _warn_of_hidden(state: str, attribute: str) -> None:
    """Said once a class: its states all look alike to the judge."""
    logger.warning(
        "%s keeps its state in private attributes alone ('%s'), which the judge does not compare: it goes by the "
        "results only. Drop the underscore of what a task may change.",
        state,
        attribute,
    )


def _constructed(pool: WorkerPool, tools: PythonTools, arguments: str) -> PickledState:
    if not tools.state:
        return PickledState()
    try:
        reply = pool.ask(Frame({"do": "construct", "arguments": arguments}))
    except LostCallError as lost:
        raise DataError(f"constructing {tools.state} failed: it {lost}") from None
    if "unstorable" in reply.header:
        raise DataError(
            f"an instance of {tools.state} cannot be pickled ({reply.header['unstorable']}). Give the class "
            f"__getstate__ and __setstate__, which leave out of its state what cannot be stored."
        )
    if "error" in reply.header:
        _, message, _ = reply.header["error"]
        raise DataError(f"constructing {tools.state} failed: {message} Mend 'world.setup.arguments'.")
    if reply.header["hidden"]:
        _warn_of_hidden(tools.state, reply.header["hidden"][0])
    return PickledState(reply.parts[0], reply.header["fingerprint"])
