"""The world: errors, leaks, snapshots, verdicts, hostile arguments."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.world import Wanderer, judged, truth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fissile.calls import JSON, ParseError, ToolCall, ToolResult
from fissile.environments.base import Environment
from fissile.environments.bfcl import BFCLWorld, function_names
from fissile.environments.bfcl.instances import methods, official_classes, public_state
from fissile.environments.bfcl.refusals import CUT, MAX_RESULT
from fissile.errors import DataError, ErrorKind
from fissile.tasks import Task, World, load_bfcl_multi_turn
from fissile.tasks.bfcl_multi_turn import DOC_FILES


@pytest.fixture(scope="module")
def tasks(bfcl: Path) -> dict[str, Task]:
    return {task.id: task for task in load_bfcl_multi_turn().tasks}


@pytest.fixture(scope="module")
def everything(tasks: dict[str, Task]) -> Task:
    """A task whose world has all eight classes in their default states, and whose truth makes a directory."""
    (first,) = [call for call in tasks["multi_turn_base_0"].ground_truth if call.name == "mkdir"]
    setup = {"classes": list(DOC_FILES), "initial_config": {}, "long_context": False, "seed": None}
    return replace(
        tasks["multi_turn_base_0"], id="everything", ground_truth=(first,), later=(), world=World("bfcl", setup)
    )


def world_of(task: Task) -> BFCLWorld:
    world = BFCLWorld()
    world.reset(task)
    return world


def call(name: str, arguments: dict[str, JSON]) -> ToolCall:
    return ToolCall(name, arguments, "")


def do(world: BFCLWorld, function: str, /, **arguments: JSON) -> ToolResult:
    (result,) = world.execute([call(function, arguments)])
    return result


def kind(result: ToolResult) -> ErrorKind | None:
    return result.error.kind if result.error else None


# --- the ground truth ------------------------------------------------------------------------------------------------


def test_the_truth_of_every_entry_is_valid_and_meets_no_error(tasks: dict[str, Task]) -> None:
    world, results, lengths = BFCLWorld(), Counter[str](), []
    for task in tasks.values():
        world.reset(task)
        for index, turn in enumerate(truth(task)):
            for step in turn:
                for result in world.execute(step):
                    results[str(kind(result))] += 1
                    lengths.append(len(result.content))
            assert world.judge(index).valid, (task.id, index)
    assert results == {"None": 4625}
    assert max(lengths) < 40_000  # far from the limit where results are cut


def test_the_world_is_an_environment() -> None:
    environment: Environment = BFCLWorld()
    assert environment is not None


def test_tasks_of_other_worlds_are_refused(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    for world in (None, World("python"), World("bfcl", {"classes": ["GorillaFileSystem"]})):
        with pytest.raises(DataError, match="world"):
            BFCLWorld().reset(replace(task, world=world))
    for setup in ({"classes": ["os"]}, {"initial_config": {"GorillaFileSystem": {"root": {"a": 1}}}}):
        assert task.world is not None
        with pytest.raises(DataError):
            BFCLWorld().reset(replace(task, world=World("bfcl", {**task.world.setup, **setup})))


# --- typed errors ----------------------------------------------------------------------------------------------------


def test_a_call_that_does_not_fit_the_signature_names_its_argument(everything: Task) -> None:
    world = world_of(everything)
    missing = do(world, "mv", source="a")
    assert missing.content == (
        "Error during execution: GorillaFileSystem.mv() missing 1 required positional argument: 'destination'"
    )
    assert missing.error is not None
    assert (missing.error.kind, missing.error.argument) == (ErrorKind.MISSING_ARGUMENT, "destination")
    unexpected = do(world, "pwd", path="/")
    assert unexpected.content.endswith("got an unexpected keyword argument 'path'")
    assert unexpected.error is not None
    assert (unexpected.error.kind, unexpected.error.argument) == (ErrorKind.UNEXPECTED_ARGUMENT, "path")
    assert kind(do(world, "pwd", self=1)) is ErrorKind.UNEXPECTED_ARGUMENT


def test_only_the_public_functions_of_the_involved_classes_exist(tasks: dict[str, Task], everything: Task) -> None:
    world = world_of(tasks["multi_turn_base_0"])
    for name in ("mean", "_load_scenario", "__init__", "root", "print", "os.system", "cat ", "", "no (such)"):
        result = do(world, name)
        assert kind(result) is ErrorKind.UNKNOWN_TOOL
        assert result.content == f"Error during execution: name '{name}' is not defined"
    assert do(world, "exit").content == "Error during execution: Function call exit is not allowed."
    assert len(methods()) == 128
    assert function_names(everything) == methods().keys()


def test_an_exception_is_a_wrong_type_where_the_schema_knows_it(everything: Task) -> None:
    world = world_of(everything)
    wrong = do(world, "ls", a=[]), do(world, "touch", file_name=7)
    assert kind(wrong[0]) is None  # it did not raise
    assert wrong[1].error is not None
    assert (wrong[1].error.kind, wrong[1].error.argument) == (ErrorKind.WRONG_TYPE, "file_name")
    closed = do(world, "get_flight_cost", travel_from="A", travel_to="B", travel_date="", travel_class="economy")
    assert kind(closed) is ErrorKind.EXCEPTION
    assert closed.content == "Error during execution: No available route for the given airports."


ERRORS: list[tuple[str, dict[str, JSON], str]] = [
    ("cd", {"folder": "nowhere"}, "No such file"),
    ("get_outside_temperature_from_weather_com", {}, "404"),
    ("displayCarStatus", {"option": "wings"}, "Invalid option"),
    ("get_user_tickets", {}, "User not authenticated"),
    ("get_watchlist", {}, "User not authenticated"),
    ("get_order_history", {}, "User not authenticated"),
    ("get_transaction_history", {}, "User not authenticated"),
    ("authenticate_twitter", {"username": "john", "password": "x"}, "Wrong name or password"),
    ("message_login", {"user_id": "USR999"}, "not found"),
    ("ticket_login", {"username": "", "password": ""}, "must not be empty"),
    ("logout", {}, "No user"),
    ("trading_logout", {}, "No user"),
    ("get_symbol_by_name", {"name": "Acme"}, "Stock not found"),
    ("add_to_watchlist", {"stock": "ACME"}, "unknown"),
    ("get_nearest_airport_by_city", {"location": "Atlantis"}, "unknown"),
    ("get_zipcode_based_on_city", {"city": "Atlantis"}, "unknown"),
    ("estimate_distance", {"cityA": "1", "cityB": "2"}, "not found"),
    ("divide", {"a": 1, "b": 0}, "zero"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), ERRORS)
def test_every_channel_of_failure_is_a_domain_error(
    everything: Task, name: str, arguments: dict[str, JSON], message: str
) -> None:
    result = do(world_of(everything), name, **arguments)
    assert kind(result) is ErrorKind.DOMAIN_ERROR
    assert result.error is not None
    assert message in result.error.message


def test_following_twice_and_unfollowing_a_stranger_fail(everything: Task) -> None:
    world = world_of(everything)
    assert do(world, "authenticate_twitter", username="john", password="john123").error is None
    assert do(world, "follow_user", username_to_follow="zoe").error is None
    assert kind(do(world, "follow_user", username_to_follow="zoe")) is ErrorKind.DOMAIN_ERROR
    assert kind(do(world, "unfollow_user", username_to_unfollow="yan")) is ErrorKind.DOMAIN_ERROR


def test_answers_that_say_no_are_not_errors(everything: Task) -> None:
    world = world_of(everything)
    for name in ("trading_get_login_status", "posting_get_login_status", "ticket_get_login_status"):
        assert do(world, name).error is None
    assert do(world, "trading_login", username="a", password="b").error is None
    assert do(world, "trading_login", username="a", password="b").error is None
    assert do(world, "estimate_drive_feasibility_by_mileage", distance=9e9).error is None
    assert do(world, "find", name="nothing").error is None
    traveller = {"first_name": "A", "last_name": "B", "date_of_birth": "1990-01-01", "passport_number": "US1"}
    assert do(world, "verify_traveler_information", **traveller).error is None
    traveller["date_of_birth"] = "January"
    assert do(world, "verify_traveler_information", **traveller).error is None  # another user: that comes first


def test_malformed_calls_are_answered_and_do_not_count(everything: Task) -> None:
    world = world_of(everything)
    broken = ToolCall(None, None, "mkdir(", 0, ParseError("it has no end", 6))
    results = world.execute([broken, call("pwd", {})])
    assert [kind(result) for result in results] == [ErrorKind.MALFORMED_CALL, None]
    assert [result.call_index for result in results] == [0, 1]
    assert len(world.snapshot()["calls"]) == 1
    world.reset(everything)
    world.execute([broken])
    assert world.judge(0).reason == "empty_turn_model_response"


# --- leaks between episodes ------------------------------------------------------------------------------------------


def state_of(world: BFCLWorld) -> Any:
    return public_state(world._session.instances)


def test_the_defaults_of_post_tweet_are_not_shared(everything: Task) -> None:
    world = world_of(everything)
    do(world, "authenticate_twitter", username="john", password="john123")
    do(world, "post_tweet", content="first")
    do(world, "mention", tweet_id=0, mentioned_usernames=["@zoe"])
    assert json.loads(do(world, "post_tweet", content="second").content)["mentions"] == []
    other = world_of(everything)
    do(other, "authenticate_twitter", username="john", password="john123")
    assert json.loads(do(other, "post_tweet", content="third").content)["mentions"] == []


def test_the_records_of_long_contexts_are_not_shared(tasks: dict[str, Task]) -> None:
    task = next(
        task for task in tasks.values() if "long_context" in task.id and "TravelAPI" in task.world.setup["classes"]
    )
    world, other = world_of(task), world_of(task)
    before, fingerprint = json.dumps(state_of(other)["TravelAPI"]["credit_card_list"]), other.fingerprint()
    for records in ("credit_card_list", "booking_record"):
        for record in state_of(world)["TravelAPI"][records].values():
            record["balance"] = record["travel_cost"] = -1
    for later in (other, world_of(task)):
        assert json.dumps(state_of(later)["TravelAPI"]["credit_card_list"]) == before
        assert later.fingerprint() == fingerprint


def test_nothing_that_an_episode_does_reaches_the_task_or_the_next_episode(tasks: dict[str, Task]) -> None:
    world, wanderer = BFCLWorld(), Wanderer.over(list(tasks.values()), seed=1)
    for task in list(tasks.values())[::17]:
        assert task.world is not None
        setup, fingerprint = json.dumps(task.world.setup), world_of(task).fingerprint()
        for _ in range(3):
            judged(task, wanderer.random_episode(task), world)
            judged(task, truth(task), world)
        assert json.dumps(task.world.setup) == setup
        assert world_of(task).fingerprint() == fingerprint


def test_arguments_are_copied_on_the_way_in(everything: Task) -> None:
    world = world_of(everything)
    do(world, "authenticate_twitter", username="john", password="john123")
    tags = ["#a"]
    posted = call("post_tweet", {"content": "x", "tags": tags})
    world.execute([posted])
    fingerprint, state = world.fingerprint(), world.snapshot()
    tags.append("#b")
    assert world.fingerprint() == fingerprint
    do(world, "mention", tweet_id=0, mentioned_usernames=["@zoe"])
    world.restore(state)
    assert world.fingerprint() == fingerprint


def test_the_precision_of_the_process_is_left_alone(everything: Task) -> None:
    import decimal

    import mpmath

    before = decimal.getcontext().prec, mpmath.mp.dps
    world = world_of(everything)
    assert "1.7320508" in do(world, "square_root", number=3, precision=50).content
    assert "mpf" in do(world, "logarithm", value=3, base=2, precision=77).content
    assert (decimal.getcontext().prec, mpmath.mp.dps) == before


def test_256_episodes_side_by_side_in_threads(tasks: dict[str, Task]) -> None:
    chosen = [task for task in tasks.values() for _ in range(2)][:: len(tasks) * 2 // 256][:256]

    def play(task: Task) -> tuple[bool, str]:
        return judged(task, truth(task), BFCLWorld())

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(play, chosen)) == [(True, "")] * 256


def test_256_episodes_step_by_step_in_turn(tasks: dict[str, Task]) -> None:
    chosen = list(tasks.values())[::3][:256]
    plays = [(task, world_of(task), truth(task)) for task in chosen]
    draw = random.Random(0)
    for turn in range(max(len(turns) for _, _, turns in plays)):
        draw.shuffle(plays)
        going = [(task, world, turns[turn]) for task, world, turns in plays if turn < len(turns)]
        rows = itertools.zip_longest(*([made for step in steps for made in step] for _, _, steps in going))
        for row in rows:  # one call of each episode
            for (_, world, _), made in zip(going, row, strict=True):
                world.execute([made] if made else [])
        for task, world, _ in going:
            assert world.judge(turn).valid, task.id


# --- snapshots -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 199))
def test_restoring_brings_back_state_results_and_verdicts(tasks: dict[str, Task], seed: int, index: int) -> None:
    every = list(tasks.values())
    task, wanderer = every[index * 4], Wanderer.over(every[:200], seed)
    world = world_of(task)
    turns = wanderer.wrong_episode(task) if seed % 2 else wanderer.random_episode(task)
    middle = wanderer.random.randrange(len(turns))
    for number, turn in enumerate(turns[:middle]):
        for step in turn:
            world.execute(step)
        world.judge(number)
    for step in turns[middle][:1]:
        world.execute(step)
    state, fingerprint = json.loads(json.dumps(world.snapshot())), world.fingerprint()

    def go_on(world: BFCLWorld) -> list[object]:
        left: list[object] = [world.execute(step) for step in turns[middle][1:]]
        left += [world.judge(middle), world.fingerprint()]
        for number in range(middle + 1, len(turns)):
            left += [world.execute(step) for step in turns[number]]
            left += [world.judge(number), world.fingerprint()]
        return left

    future = go_on(world)
    later = world.snapshot()
    for other in (world, world_of(task)):
        other.restore(state)
        assert other.fingerprint() == fingerprint
        assert other.snapshot() == state
        assert go_on(other) == future
        other.restore(state)
        other.restore(later)
        assert (other.fingerprint(), other.snapshot()) == (future[-1], later)
        assert other.judge(len(turns) - 1) == future[-2]


def test_the_same_calls_in_other_turns_are_another_state(tasks: dict[str, Task]) -> None:
    """The log of one branch may begin like that of another that ended its turn earlier."""
    task = tasks["multi_turn_base_0"]
    right, listing = truth(task)[0][0], call("ls", {})
    early, late = world_of(task), world_of(task)
    early.execute(right)
    assert early.judge(0).valid
    early.execute([listing])
    late.execute([*right, call("cd", {"folder": "temp"})])
    late.execute([listing])
    assert late.judge(0).valid
    ended_early, ended_late = early.snapshot(), late.snapshot()
    early.execute([listing])
    for world in (early, late):
        for state in (ended_early, ended_late, ended_early):
            world.restore(state)
            assert world.snapshot() == state
    going = world_of(task)
    going.execute([*right, listing])
    going.restore(ended_early)
    assert going.snapshot() == ended_early
    assert going.judge(1) == early.judge(1)


def test_a_snapshot_does_not_change_when_the_world_goes_on(everything: Task) -> None:
    world = world_of(everything)
    do(world, "pwd")
    state = world.snapshot()
    kept = json.dumps(state)
    do(world, "ls")
    world.judge(0)
    assert json.dumps(state) == kept


def test_values_that_are_equal_but_not_the_same_are_replayed_as_they_were(everything: Task) -> None:
    world = world_of(everything)
    first = do(world, "absolute_value", number=1)
    state = json.loads(json.dumps(world.snapshot()))
    world.reset(everything)
    second = do(world, "absolute_value", number=True)
    world.restore(state)
    assert (first.content, second.content) == ('{"result": 1}', '{"result": 1}')
    assert json.dumps(world.snapshot()) == json.dumps(state)


# --- the fingerprint -------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_the_public_state_only(everything: Task) -> None:
    world = world_of(everything)
    start = world.fingerprint()
    for name in ("pwd", "ls", "get_current_speed", "list_users"):
        do(world, name)
        assert world.fingerprint() == start
    do(world, "mkdir", dir_name="a")
    made = world.fingerprint()
    assert made != start
    do(world, "cd", folder="a")  # the official check does not look where one stands
    assert world.fingerprint() == made
    do(world, "cd", folder="..")
    do(world, "rmdir", dir_name="a")
    assert world.fingerprint() == start


def test_the_fingerprint_is_equal_exactly_when_the_official_comparison_is(tasks: dict[str, Task]) -> None:
    """Over the states of many wrong episodes of the same few tasks."""
    every = list(tasks.values())
    wanderer, compared = Wanderer.over(every, seed=5), Counter[bool]()
    for task in every[::40]:
        worlds = [world_of(task) for _ in range(12)]
        for world in worlds:
            for turn in wanderer.wrong_episode(task):
                for step in turn:
                    world.execute(step)
        for one in worlds:
            for other in worlds:
                equal = all(
                    left[name] == right[name] for left, right in [(state_of(one), state_of(other))] for name in left
                )
                assert (one.fingerprint() == other.fingerprint()) == equal
                compared[equal] += 1
    assert min(compared.values()) > 100


# --- the judge -------------------------------------------------------------------------------------------------------


def test_the_first_wrong_turn_decides_and_extra_calls_are_free(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    turns = [[made for step in turn for made in step] for turn in truth(task)]
    world = world_of(task)
    world.execute([*turns[0], call("ls", {}), call("no_such_tool", {})])
    assert world.judge(0).valid
    assert world.judge(1).reason == "empty_turn_model_response"
    world.execute(turns[1])
    assert world.judge(1).valid  # judged again in the same turn
    world.execute([call("ls", {})])
    assert world.judge(2).reason == "execution_response_mismatch"
    world.execute(turns[3])
    verdict = world.judge(3)
    assert verdict.reason == "execution_response_mismatch"  # still: turn 2 decides
    assert verdict.errors[0].kind is ErrorKind.MISSING_CALL
    world.reset(task)
    world.execute([*turns[0], call("touch", {"file_name": "new"})])
    verdict = world.judge(0)
    assert verdict.reason == "instance_state_mismatch"
    assert verdict.errors[0].kind is ErrorKind.WRONG_STATE


def test_results_count_as_often_as_they_were_given_in_any_turn_so_far(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_base_0"]
    turns = [[made for step in turn for made in step] for turn in truth(task)]
    world = world_of(task)
    world.execute([*turns[0], *turns[1], *turns[2]])  # all of it early; the state after turn 2 is that after turn 0
    assert world.judge(0).valid
    world.execute([call("ls", {})])
    assert world.judge(1).valid
    assert not world.judge(2).valid  # nothing was called in it
    world.execute([call("ls", {})])
    assert world.judge(2).valid


def test_turns_whose_truth_is_empty_are_not_judged(tasks: dict[str, Task]) -> None:
    task = tasks["multi_turn_miss_func_0"]
    turns = truth(task)
    world = world_of(task)
    for index in (0, 1):
        world.execute(turns[index][0])
        assert world.judge(index).valid
    world.execute([call("touch", {"file_name": "new"})])
    assert world.judge(2).valid
    world.execute(turns[3][0])
    assert world.judge(3).reason == "instance_state_mismatch"


# --- limits and hostile arguments ------------------------------------------------------------------------------------

HUGE = "9" * 60_000

EXPENSIVE: list[tuple[str, dict[str, JSON]]] = [
    ("power", {"base": 10, "exponent": 10**9}),
    ("power", {"base": 10**4000, "exponent": 400}),
    ("logarithm", {"value": 3, "base": 2, "precision": 10**8}),
    ("logarithm", {"value": "1e1000000000", "base": 2, "precision": 10}),
    ("logarithm", {"value": 2, "base": "1e1000000000+1e1j", "precision": 10}),
    ("square_root", {"number": 3, "precision": 10**8}),
    ("round_number", {"number": 7, "decimal_places": -(10**9)}),
    ("round_number", {"number": 7, "decimal_places": float("nan")}),
    ("echo", {"content": HUGE}),
    ("echo", {"content": "x", HUGE: 1}),
    ("display_log", {"messages": ["x"] * 20_000}),
    ("add", {"a": 10**6000, "b": 1}),
]


@pytest.mark.parametrize(("name", "arguments"), EXPENSIVE, ids=range(len(EXPENSIVE)))
def test_what_would_take_for_ever_is_refused_and_replayed_as_refused(
    everything: Task, name: str, arguments: dict[str, JSON]
) -> None:
    world = world_of(everything)
    result = do(world, name, **arguments)
    assert kind(result) is ErrorKind.TIMEOUT
    state = json.loads(json.dumps(world.snapshot()))
    assert len(json.dumps(state)) < 10_000
    other = world_of(everything)
    other.restore(state)
    assert json.dumps(other.snapshot()) == json.dumps(state)
    assert other.judge(0) == world.judge(0)


def test_deeply_nested_arguments_are_refused(everything: Task) -> None:
    nested: JSON = []
    for _ in range(100_000):
        nested = [nested]
    assert kind(do(world_of(everything), "display_log", messages=nested)) is ErrorKind.TIMEOUT


def test_ordinary_mathematics_is_not_refused(everything: Task) -> None:
    world = world_of(everything)
    assert json.loads(do(world, "power", base=2, exponent=1000).content) == {"result": 2**1000}
    assert json.loads(do(world, "power", base=1, exponent=10**9).content) == {"result": 1}
    assert json.loads(do(world, "power", base=2.5, exponent=-3).content) == {"result": 2.5**-3}
    assert json.loads(do(world, "round_number", number=2.567, decimal_places=1).content) == {"result": 2.6}
    assert do(world, "logarithm", value="12", base=10, precision=30).error is None


def test_a_file_system_cannot_be_doubled_without_end(everything: Task) -> None:
    world = world_of(everything)
    kinds = Counter[ErrorKind | None]()
    do(world, "mkdir", dir_name="a")
    for number in range(60):
        kinds[kind(do(world, "cp", source="a", destination="b"))] += 1
        do(world, "mkdir", dir_name=f"n{number}")
        for name in ("a", "b"):
            kinds[kind(do(world, "mv", source=name, destination=f"n{number}"))] += 1
        kinds[kind(do(world, "mv", source=f"n{number}", destination="a"))] += 1
        world.fingerprint()
        assert len(do(world, "find").content) <= MAX_RESULT + len(CUT)
        do(world, "du")
    assert kinds[ErrorKind.TIMEOUT] > 40
    assert not world.judge(0).valid


def test_directories_that_would_hold_themselves(everything: Task) -> None:
    world = world_of(everything)
    do(world, "mkdir", dir_name="a")
    before = world.fingerprint()
    assert kind(do(world, "cp", source="a", destination="a")) is ErrorKind.TIMEOUT
    assert world.fingerprint() == before
    assert do(world, "mv", source="a", destination="a").error is None  # officially it vanishes
    assert json.loads(do(world, "ls").content) == {"current_directory_content": []}
    # two copies share what they hold, so a directory can come to lie beside its own subdirectory
    for name, arguments in [
        ("mkdir", {"dir_name": "d"}),
        ("cd", {"folder": "d"}),
        ("mkdir", {"dir_name": "q"}),
        ("cd", {"folder": ".."}),
        ("cp", {"source": "d", "destination": "e"}),
        ("cp", {"source": "d", "destination": "e"}),
        ("cd", {"folder": "e"}),
    ]:
        assert do(world, name, **arguments).error is None
    assert kind(do(world, "cp", source="d", destination="q")) is ErrorKind.TIMEOUT
    assert kind(do(world, "mv", source="d", destination="q")) is ErrorKind.TIMEOUT
    do(world, "cd", folder="/")
    assert json.loads(do(world, "find").content)["matches"] == ["./d", "./d/q", "./e", "./e/q", "./e/d", "./e/d/q"]


def test_very_deep_directories_end_in_errors_not_crashes(everything: Task) -> None:
    world = world_of(everything)
    for _ in range(1500):
        do(world, "mkdir", dir_name="d")
        do(world, "cd", folder="d")
    do(world, "cd", folder="/")
    assert kind(do(world, "find")) is ErrorKind.EXCEPTION
    assert kind(do(world, "du")) is ErrorKind.EXCEPTION
    assert do(world, "cp", source="d", destination="copy").error is None
    deep = world.fingerprint()
    do(world, "rm", file_name="copy")
    assert world.fingerprint() != deep
    assert world.judge(0).reason == "instance_state_mismatch"


numbers = st.integers(-(10**20), 10**20) | st.floats() | st.sampled_from([0, 1, -1, 10**4200, 1e308, True])
words = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["a", "..", ".", "/", "", "START", "economy", "SFO", "LAX", "2024-01-01", "USR001", "1e999999999", "\ud800", "d(x)"]
)
hostile = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", sorted(methods() if official_classes() else []))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_function_raises_or_breaks_the_world_on_any_arguments(
    everything: Task, name: str, data: st.DataObject
) -> None:
    world = world_of(everything)
    do(world, "authenticate_twitter", username="john", password="john123")
    do(world, "ticket_login", username="a", password="b")
    do(world, "message_login", user_id="USR001")
    do(world, "trading_login", username="a", password="b")
    do(world, "post_tweet", content="x")
    method = methods()[name]
    for _ in range(2):
        arguments = {
            argument: data.draw(hostile, argument)
            for argument in sorted(method.accepted)
            if argument in method.required or data.draw(st.booleans())
        }
        arguments |= data.draw(st.dictionaries(words, hostile, max_size=1))
        (result,) = world.execute([call(name, arguments)])
        assert isinstance(result.content, str)
    state = json.loads(json.dumps(world.snapshot()))
    fingerprint = world.fingerprint()
    world.judge(0)
    other = world_of(everything)
    other.restore(state)
    assert other.fingerprint() == fingerprint
