import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.calls import Attempt, ToolCall
from fissile.errors import DataError, ErrorKind, ToolError
from fissile.metrics import Episode, evaluate_episodes
from fissile.serial import from_json, to_json
from fissile.statistics import Ratio, mean, proportion


def attempt(name: str, *kinds: ErrorKind, calls: int = 1) -> Attempt:
    call = ToolCall(name, {}, name)
    return Attempt(name, (call,) * calls, tuple(ToolError(kind, "wrong") for kind in kinds))


RIGHT = attempt("right")
VALUE = attempt("a", ErrorKind.WRONG_VALUE)
VALUE_AND_TYPE = attempt("b", ErrorKind.WRONG_VALUE, ErrorKind.WRONG_TYPE)
SILENT_REPLY = Attempt("no idea", (), (ToolError(ErrorKind.MISSING_CALL, "no tool was called"),))

EPISODES = (
    Episode("t1", (RIGHT,)),
    Episode("t2", (VALUE, RIGHT), "service"),
    Episode("t3", (VALUE, VALUE, VALUE_AND_TYPE), "service"),
    Episode("t4", (SILENT_REPLY, SILENT_REPLY), "service"),
    Episode("t5", (VALUE_AND_TYPE,)),
)


def counts(ratio: Ratio) -> tuple[int, int]:
    return ratio.num, ratio.den


def test_every_metric_on_hand_counted_episodes():
    report = evaluate_episodes(EPISODES)
    assert report.n_tasks == 5
    assert counts(report.first_attempt_accuracy) == (1, 5)
    assert counts(report.final_accuracy) == (2, 5)
    assert counts(report.recovery_rate) == (1, 4)
    assert counts(report.next_attempt_recovery_rate) == (1, 4)
    assert counts(report.repeat_rate) == (2, 4)
    assert counts(report.calls_per_task) == (7, 5)
    assert report.recovery_rate.rate == 0.25


def test_error_kinds_count_an_attempt_once_under_each_of_its_kinds():
    kinds = evaluate_episodes(EPISODES).error_kinds
    assert {kind: (row.first_attempts, row.attempts) for kind, row in kinds.items()} == {
        ErrorKind.WRONG_VALUE: (3, 5),
        ErrorKind.WRONG_TYPE: (1, 2),
        ErrorKind.MISSING_CALL: (1, 2),
    }
    assert counts(kinds[ErrorKind.WRONG_VALUE].next_attempt_recovery_rate) == (1, 3)
    assert counts(kinds[ErrorKind.WRONG_VALUE].repeat_rate) == (1, 3)
    assert counts(kinds[ErrorKind.WRONG_TYPE].repeat_rate) == (0, 0)
    assert counts(kinds[ErrorKind.MISSING_CALL].repeat_rate) == (1, 1)
    assert next(iter(kinds)) is ErrorKind.WRONG_VALUE


def test_several_episodes_of_a_task_are_one_task():
    report = evaluate_episodes([Episode("t", (RIGHT,)), Episode("t", (VALUE,)), Episode("u", (VALUE,))])
    assert report.n_tasks == 2
    assert counts(report.final_accuracy) == (1, 3)


def test_the_report_is_json_with_exactly_these_keys():
    report = json.loads(json.dumps(to_json(evaluate_episodes(EPISODES))))
    ratios = {
        "first_attempt_accuracy",
        "final_accuracy",
        "recovery_rate",
        "next_attempt_recovery_rate",
        "repeat_rate",
        "calls_per_task",
    }
    assert set(report) == ratios | {"n_tasks", "error_kinds"}
    for name in ratios:
        assert set(report[name]) == {"num", "den", "rate", "low", "high"}
    assert set(report["error_kinds"]) == {"wrong_value", "wrong_type", "missing_call"}


def test_nothing_to_divide_gives_no_rate():
    report = evaluate_episodes([])
    assert report.recovery_rate == Ratio(0, 0, None, None, None)
    assert report.calls_per_task == Ratio(0, 0, None, None, None)
    assert evaluate_episodes([Episode("t", (RIGHT,))]).recovery_rate.rate is None


def test_an_episode_without_attempts_is_refused():
    with pytest.raises(DataError, match="holds no attempt"):
        Episode("t", ())


def test_episodes_round_trip_through_json():
    assert tuple(from_json(Episode, json.loads(json.dumps(to_json(one)))) for one in EPISODES) == EPISODES


def textbook_wilson(num: int, den: int) -> tuple[float, float]:
    """Wilson 1927, unclustered."""
    z, p = 1.96, num / den
    root = z * math.sqrt(p * (1 - p) / den + z**2 / (4 * den**2))
    return (p + z**2 / (2 * den) - root) / (1 + z**2 / den), (p + z**2 / (2 * den) + root) / (1 + z**2 / den)


@given(st.integers(1, 300).flatmap(lambda den: st.tuples(st.integers(0, den), st.just(den))))
def test_one_observation_for_each_task_gives_the_textbook_wilson_interval(counts):
    num, den = counts
    ratio = proportion((str(index), index < num, 1) for index in range(den))
    assert (ratio.low, ratio.high) == pytest.approx(textbook_wilson(num, den), abs=1e-4)


def clustered_sample(rng: random.Random, tasks: int, a: float = 0.6, b: float = 1.4) -> list[tuple[str, int, int]]:
    """Each task has its own rate, of mean a / (a + b), and its own number of observations."""
    sample = []
    for task in range(tasks):
        rate, size = rng.betavariate(a, b), rng.randint(1, 8)
        sample += [(str(task), int(rng.random() < rate), 1) for _ in range(size)]
    return sample


def cluster_bootstrap(sample, rng: random.Random, draws: int = 2000) -> tuple[float, float]:
    """The slow obvious interval: draw whole tasks with replacement, take the percentiles of the ratio."""
    tasks: dict[str, tuple[int, int]] = {}
    for task, num, den in sample:
        before = tasks.get(task, (0, 0))
        tasks[task] = (before[0] + num, before[1] + den)
    sums, rates = list(tasks.values()), []
    for _ in range(draws):
        drawn = rng.choices(sums, k=len(sums))
        rates.append(sum(num for num, _ in drawn) / sum(den for _, den in drawn))
    rates.sort()
    return rates[int(0.025 * draws)], rates[int(0.975 * draws)]


@pytest.mark.parametrize("seed", range(3))
def test_the_clustered_interval_agrees_with_the_cluster_bootstrap(seed):
    rng = random.Random(seed)
    sample = clustered_sample(rng, tasks=150)
    low, high = cluster_bootstrap(sample, rng)
    ratio = proportion(sample)
    assert (ratio.low, ratio.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    average = mean(sample)
    assert (average.low, average.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    naive_low, naive_high = textbook_wilson(ratio.num, ratio.den)
    assert ratio.high - ratio.low > 1.1 * (naive_high - naive_low)


def test_the_interval_covers_the_true_rate_about_95_times_in_100():
    rng = random.Random(0)
    covered = 0
    for _ in range(600):
        ratio = proportion(clustered_sample(rng, tasks=60))
        covered += ratio.low <= 0.3 <= ratio.high
    assert 0.92 <= covered / 600 <= 0.98


def test_degenerate_variance_falls_back_to_the_number_of_tasks():
    never = proportion((str(index % 10), 0, 1) for index in range(80))
    assert (never.rate, never.low) == (0, 0)
    assert never.high == pytest.approx(textbook_wilson(0, 10)[1], abs=1e-4)
    always = proportion((str(index % 10), 1, 1) for index in range(80))
    assert (always.rate, always.high) == (1, 1)
    assert always.low == pytest.approx(textbook_wilson(10, 10)[0], abs=1e-4)
    one_task = proportion(("t", index % 2, 1) for index in range(80))
    assert (one_task.low, one_task.high) == pytest.approx(
        textbook_wilson(1, 2) if False else (0.0546, 0.9454), abs=1e-3
    )


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1), st.just(1)), min_size=1))
def test_the_interval_always_holds_the_rate(observations):
    ratio = proportion(observations)
    assert 0 <= ratio.low <= ratio.rate <= ratio.high <= 1
    assert ratio.low < ratio.high


# --- live worlds -------------------------------------------------------------------------------------------------


def live(*attempts: Attempt, turns: tuple[int, ...], correct: bool, silent: tuple[int, ...] = (), **fields) -> Episode:
    return Episode(fields.pop("task_id", "t"), attempts, "environment", correct, turns, silent, **fields)


def test_the_judge_decides_whether_an_episode_ends_right():
    episodes = [
        live(VALUE, RIGHT, turns=(0, 0), correct=True),
        live(VALUE, RIGHT, turns=(0, 0), correct=False),  # the last attempt is right, the world is not
        live(RIGHT, VALUE, turns=(0, 0), correct=True),  # the last attempt failed, the world is right
    ]
    report = evaluate_episodes(episodes)
    assert counts(report.recovery_rate) == (2, 3)
    assert counts(report.final_accuracy) == (2, 3)
    assert counts(report.first_attempt_accuracy) == (1, 3)


def test_an_attempt_follows_another_only_within_a_turn():
    report = evaluate_episodes([live(VALUE, VALUE, RIGHT, VALUE, turns=(0, 1, 1, 2), correct=True)])
    assert counts(report.next_attempt_recovery_rate) == (1, 1)
    assert counts(report.repeat_rate) == (0, 1)
    assert report.error_kinds[ErrorKind.WRONG_VALUE].attempts == 3


def test_silent_failures_are_counted_among_the_attempts_without_an_error():
    episodes = [
        live(RIGHT, VALUE, RIGHT, turns=(0, 0, 0), correct=False, silent=(2,)),
        live(RIGHT, turns=(0,), correct=False, silent=(0,), task_id="u"),
    ]
    report = evaluate_episodes(episodes)
    assert report.silent_failure_rate is not None
    assert counts(report.silent_failure_rate) == (2, 3)
    assert counts(report.first_attempt_accuracy) == (1, 2)  # a blamed attempt is not right
    assert "silent_failure_rate" in to_json(report)
    assert evaluate_episodes(EPISODES).silent_failure_rate is None


SORRY = Attempt("Sorry, I cannot do that.")


NOTHING = Ratio(0, 0, None, None, None)


def gave_up(task_id: str, blamed: bool) -> Episode:
    return live(VALUE, SORRY, turns=(0, 0), correct=False, silent=(1,) if blamed else (), task_id=task_id)


@pytest.mark.parametrize("blamed", [True, False])
def test_who_gives_up_after_a_failure_has_not_recovered(blamed: bool):
    report = evaluate_episodes([gave_up(f"t{n}", blamed) for n in range(10)])
    assert counts(report.next_attempt_recovery_rate) == (0, 10)
    assert counts(report.error_kinds[ErrorKind.WRONG_VALUE].next_attempt_recovery_rate) == (0, 10)
    assert counts(report.recovery_rate) == counts(report.final_accuracy) == (0, 10)
    assert report.give_up_rate is not None
    assert report.silent_failure_rate is not None
    assert counts(report.give_up_rate) == (10, 10)
    assert counts(report.silent_failure_rate) == (0, 0)  # the failure before it was told


def test_an_attempt_that_the_judge_blames_is_no_recovery():
    report = evaluate_episodes([live(VALUE, RIGHT, turns=(0, 0), correct=False, silent=(1,))])
    assert counts(report.next_attempt_recovery_rate) == (0, 1)
    assert counts(report.silent_failure_rate or NOTHING) == (1, 1)
    assert counts(report.give_up_rate or NOTHING) == (0, 1)  # it called


def test_injected_failures_count_who_gives_up_and_who_is_blamed():
    episodes = [
        live(VALUE, SORRY, turns=(0, 0), correct=False, injected=(0,), task_id="t1"),
        live(VALUE, RIGHT, turns=(0, 0), correct=False, silent=(1,), injected=(0,), task_id="t2"),
        live(VALUE, RIGHT, turns=(0, 0), correct=True, injected=(0,), task_id="t3"),
        live(VALUE, RIGHT, turns=(0, 1), correct=False, injected=(0,), task_id="t4"),  # not answered in its turn
    ]
    injected = evaluate_episodes(episodes).injected
    assert injected is not None
    assert counts(injected.next_attempt_recovery_rate) == (1, 3)
    assert counts(injected.answered_rate) == (2, 4)


def test_a_word_instead_of_a_call_is_right_where_the_judge_accepts_it():
    report = evaluate_episodes([live(VALUE, SORRY, turns=(0, 0), correct=True)])
    assert counts(report.next_attempt_recovery_rate) == (1, 1)


def test_episodes_may_share_a_cluster():
    apart = [live(RIGHT, turns=(0,), correct=n < 10, task_id=f"t{n}") for n in range(40)]
    shared = [live(RIGHT, turns=(0,), correct=n < 10, task_id=f"t{n}", cluster=f"s{n // 5}") for n in range(40)]
    first, second = (evaluate_episodes(episodes) for episodes in (apart, shared))
    assert (first.n_tasks, second.n_tasks) == (40, 40)
    assert counts(first.final_accuracy) == counts(second.final_accuracy) == (10, 40)
    assert second.final_accuracy.low < first.final_accuracy.low - 0.05


def test_a_live_episode_survives_json():
    episode = live(VALUE, RIGHT, turns=(0, 2), correct=False, silent=(1,), cluster="17")
    assert from_json(Episode, json.loads(json.dumps(to_json(episode)))) == episode
    assert "correct" not in to_json(EPISODES[0])
    assert from_json(Episode, to_json(EPISODES[0])) == EPISODES[0]


# --- injected failures -------------------------------------------------------------------------------------------


def test_injected_failures_are_recovered_from_but_are_not_the_policy_s():
    episodes = [
        live(VALUE, RIGHT, RIGHT, turns=(0, 0, 1), correct=True, injected=(0,)),
        live(VALUE, VALUE, turns=(0, 0), correct=False, injected=(0,), task_id="u"),
        live(RIGHT, VALUE_AND_TYPE, turns=(0, 1), correct=False, injected=(1,), task_id="v"),  # given up
    ]
    report = evaluate_episodes(episodes)
    assert counts(report.first_attempt_accuracy) == (1, 1)
    assert counts(report.calls_per_task) == (4, 3)
    assert counts(report.recovery_rate) == (1, 3)
    assert counts(report.next_attempt_recovery_rate) == (1, 2)
    assert counts(report.repeat_rate) == (1, 2)
    assert report.injected is not None
    assert report.injected.failures == 3
    assert counts(report.injected.recovery_rate) == (1, 3)
    assert counts(report.injected.answered_rate) == (2, 3)
    assert counts(report.injected.next_attempt_recovery_rate) == (1, 2)
    assert counts(report.injected.repeat_rate) == (1, 2)
    rows = {kind: (row.first_attempts, row.attempts, row.injected) for kind, row in report.error_kinds.items()}
    assert rows == {ErrorKind.WRONG_VALUE: (0, 1, 3), ErrorKind.WRONG_TYPE: (0, 0, 1)}
    assert counts(report.error_kinds[ErrorKind.WRONG_VALUE].next_attempt_recovery_rate) == (1, 2)
    assert to_json(report)["injected"]["failures"] == 3


def test_of_a_succession_only_the_last_forced_failure_is_the_policy_s_to_answer():
    report = evaluate_episodes([Episode("t", (VALUE, VALUE, VALUE, RIGHT), injected=(0, 1))])
    assert report.injected is not None
    assert report.injected.failures == 2
    assert counts(report.injected.answered_rate) == (1, 1)
    assert counts(report.injected.next_attempt_recovery_rate) == (0, 1)
    assert counts(report.injected.repeat_rate) == (1, 1)
    assert counts(report.next_attempt_recovery_rate) == (1, 2)  # the policy's own failure is followed by a success


def test_a_forced_failure_does_not_answer_one_of_another_turn():
    report = evaluate_episodes([live(VALUE, VALUE, RIGHT, turns=(0, 1, 1), correct=True, injected=(0, 1))])
    assert report.injected is not None
    assert counts(report.injected.answered_rate) == (1, 2)


def test_an_injected_episode_survives_json_and_others_do_not_mention_it():
    for episode in (Episode("t", (VALUE, RIGHT), injected=(0,)), live(VALUE, turns=(0,), correct=False, injected=(0,))):
        assert from_json(Episode, json.loads(json.dumps(to_json(episode)))) == episode
    assert "injected" not in to_json(EPISODES[0])
    assert evaluate_episodes(EPISODES).injected is None
