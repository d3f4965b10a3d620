"""The recovery evaluation with scripted policies whose metrics are known beforehand."""

from collections.abc import Sequence

import pytest

from fissile.dialects import ChatFormat, get_dialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.attempts import Attempter
from fissile.environments import SingleStep
from fissile.evaluation import evaluate_recovery
from fissile.feedback import Diagnoser, Failure, NoDiagnosis, get_source
from fissile.metrics import Episode, RecoveryReport, evaluate_episodes
from fissile.rollouts import Completion
from fissile.serial import from_json, to_json
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool
from tiny import tiny_tokenizer

AREA = Tool("area", "", {"type": "object", "properties": {"side": {"type": "integer"}}, "required": ["side"]})
TASKS = [
    Task(
        f"t{n}",
        ({"role": "user", "content": f"Square of side {n}?"},),
        (AREA,),
        (ExpectedCall.exactly("area", {"side": n}),),
    )
    for n in range(6)
]
RIGHT = '<tool_call>\n{{"name": "area", "arguments": {{"side": {n}}}}}\n</tool_call>'
WRONG = '<tool_call>\n{"name": "area", "arguments": {"side": "none"}}\n</tool_call>'


def attempter() -> Attempter:
    dialect = get_dialect("hermes")
    return Attempter(ChatFormat(tiny_tokenizer(), dialect), SingleStep(dialect))


def policy(chat: ChatFormat, *, first: bool, second: bool, third: bool) -> ScriptedEngine:
    """Right or wrong at its first, second and third attempt, told from the number of diagnoses in its context."""
    right_at = (first, second, third)

    def script(prompt: Sequence[int], sample: int) -> tuple[int, ...]:
        text = chat.tokenizer.decode(prompt)
        n = text.split("Square of side ")[1][0]
        attempt = text.count('"code"')
        return chat.completion_ids(RIGHT.format(n=n) if right_at[attempt] else WRONG)

    return ScriptedEngine(script)


def measure(*, first: bool, second: bool, third: bool, retries: int = 2, samples: int = 1) -> RecoveryReport:
    made = attempter()
    engine = policy(made.chat, first=first, second=second, third=third)
    episodes = evaluate_recovery(engine, made, TASKS, get_source("service"), Sampling(), retries, samples)
    assert len(episodes) == len(TASKS) * samples
    return evaluate_episodes(episodes)


def test_an_oracle_has_nothing_to_recover_from() -> None:
    report = measure(first=True, second=True, third=True)
    assert report.first_attempt_accuracy.rate == 1
    assert (report.recovery_rate.den, report.recovery_rate.rate) == (0, None)


def test_a_corrupted_oracle_recovers_everything_at_once() -> None:
    report = measure(first=False, second=True, third=True)
    assert (report.first_attempt_accuracy.num, report.final_accuracy.num) == (0, 6)
    assert (report.recovery_rate.num, report.recovery_rate.den) == (6, 6)
    assert (report.next_attempt_recovery_rate.num, report.next_attempt_recovery_rate.den) == (6, 6)
    assert report.repeat_rate.num == 0


def test_a_stubborn_policy_repeats_everything() -> None:
    report = measure(first=False, second=False, third=False)
    assert report.recovery_rate.rate == 0
    assert (report.repeat_rate.num, report.repeat_rate.den) == (12, 12)


def test_a_slow_policy_recovers_at_its_second_chance() -> None:
    report = measure(first=False, second=False, third=True)
    assert report.recovery_rate.rate == 1
    assert (report.next_attempt_recovery_rate.num, report.next_attempt_recovery_rate.den) == (6, 12)


@pytest.mark.parametrize("retries", [0, 1])
def test_no_more_retries_than_asked_for(retries: int) -> None:
    report = measure(first=False, second=False, third=True, retries=retries)
    assert report.final_accuracy.num == 0
    assert report.repeat_rate.den == 6 * retries


def test_samples_are_episodes_of_one_cluster() -> None:
    single = measure(first=False, second=True, third=True)
    triple = measure(first=False, second=True, third=True, samples=3)
    assert triple.recovery_rate.den == 3 * single.recovery_rate.den
    assert triple.recovery_rate.low == pytest.approx(single.recovery_rate.low)  # no more tasks, no more certainty


def test_an_episode_whose_retry_is_lost_counts_in_no_rate_of_how_episodes_end() -> None:
    made = attempter()
    lost: list[str] = []
    right = policy(made.chat, first=False, second=True, third=True)

    class LosesOne:
        calls = 0

        def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
            self.calls += 1
            done = right.generate(prompts, sampling, samples)
            return [Completion.of_failure("timeout", "gone"), *done[1:]] if self.calls == 2 else done

    episodes = evaluate_recovery(LosesOne(), made, TASKS, get_source("service"), Sampling(), 2, lost=lost)
    report = evaluate_episodes([from_json(Episode, to_json(episode)) for episode in episodes])
    assert lost == ["timeout: gone"]
    assert report.first_attempt_accuracy.den == 6
    assert (report.recovery_rate.num, report.recovery_rate.den, report.final_accuracy.den) == (5, 5, 5)


class Asked:
    """Counts how often it is asked, and has nothing to say."""

    name = "asked"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def diagnose(self, failures: Sequence[Failure]) -> list[NoDiagnosis]:
        self.batches.append(len(failures))
        return [NoDiagnosis("tired") for _ in failures]


def test_the_source_is_asked_once_a_round_and_may_fail() -> None:
    made, source = attempter(), Asked()
    engine = policy(made.chat, first=False, second=False, third=False)
    diagnoser = Diagnoser(source, get_source("service"))
    episodes = evaluate_recovery(engine, made, TASKS, diagnoser, Sampling(), retries=2)
    assert source.batches == [6, 6]
    assert diagnoser.report() == {"source": "asked", "diagnosed": 12, "leaks": {}, "fallbacks": {"tired": 12}}
    assert {episode.feedback for episode in episodes} == {"asked"}
    assert [len(episode.attempts) for episode in episodes] == [3] * 6
