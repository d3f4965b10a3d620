"""The single-step recovery evaluation on forced failures: the same for every policy, and none of its doing."""

from __future__ import annotations

from collections.abc import Sequence

from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.sampler import Sampler
from fissile.engines.token_policy import TokenPolicy
from fissile.evaluation import EpisodeRecord, evaluate
from fissile.feedback import Diagnoser, get_source
from fissile.metrics import Episode, evaluate_episodes
from fissile.rollouts import Completion, Limits, StopReason
from fissile.tasks import ExpectedCall, Task
from tiny import AREA, tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
TASKS = [
    Task(
        f"t{n}",
        ({"role": "user", "content": f"Square of side {n}?"},),
        (AREA,),
        (ExpectedCall.exactly("area", {"side": n}),),
    )
    for n in range(20)
]
WRONG = '<tool_call>\n{"name": "area", "arguments": {}}\n</tool_call>'


def right(prompt: Sequence[int], sample: int = 0) -> tuple[int, ...]:
    n = CHAT.tokenizer.decode(prompt).split("Square of side ")[1].partition("?")[0]
    return CHAT.completion_ids(WRONG.replace("{}", f'{{"side": {n}}}'))


def wrong(prompt: Sequence[int], sample: int = 0) -> tuple[int, ...]:
    return CHAT.completion_ids(WRONG)


def evaluated(
    engine: ScriptedEngine, asked: InjectionSettings | None, retries: int = 1, samples: int = 1
) -> list[Episode]:
    sampler, diagnoser = Sampler(CHAT, limits=Limits(retries=retries)), Diagnoser(get_source("service"))
    make = sampler.make_environment
    injector = Injector(asked or InjectionSettings(), HERMES, sampler.writer, make, sampler.limits, diagnoser)
    records: list[EpisodeRecord] = []
    evaluate(
        TokenPolicy(CHAT, engine),
        TASKS,
        make,
        Sampling(),
        records.append,
        sampler.limits,
        samples=samples,
        inject=injector.begin_turn if asked else lambda rollout: None,
        diagnoser=diagnoser,
    )
    records.sort(key=lambda record: int(record.task_id[1:]))
    episodes = [record.episode("service") for record in records]
    return [episode for episode in episodes if episode is not None]


def test_the_oracle_recovers_from_every_forced_failure_and_the_stubborn_from_none() -> None:
    for script, recovered in ((right, 20), (wrong, 0)):
        episodes = evaluated(ScriptedEngine(script), InjectionSettings(rate=1.0))
        assert [episode.injected for episode in episodes] == [(0,)] * 20
        assert all(len(episode.attempts) == 2 for episode in episodes)  # the forced one stands for the first
        report = evaluate_episodes(episodes)
        assert report.injected is not None
        for ratio in (report.injected.next_attempt_recovery_rate, report.recovery_rate, report.final_accuracy):
            assert (ratio.num, ratio.den) == (recovered, 20)
        assert report.first_attempt_accuracy.den == 0
        assert (report.calls_per_task.num, report.calls_per_task.den) == (20, 20)


def test_every_policy_meets_the_same_failures_at_any_number_of_samples() -> None:
    asked = InjectionSettings(rate=0.5, seed=2)

    def forced(episodes: list[Episode]) -> dict[str, str]:
        return {episode.task_id: episode.attempts[0].text for episode in episodes if episode.injected}

    made = evaluated(ScriptedEngine(right), asked, samples=3)
    assert [episode.task_id for episode in made] == [task.id for task in TASKS for _ in range(3)]
    assert 3 < len(forced(made)) < 17
    assert forced(made) == forced(evaluated(ScriptedEngine(wrong), asked))
    assert {len(episode.attempts) for episode in made} == {1, 2}
    retried = evaluated(ScriptedEngine(wrong), asked, retries=2)
    assert {len(list(episode.own)) for episode in retried if episode.injected} == {2}
    assert {len(list(episode.own)) for episode in retried if not episode.injected} == {3}


def test_several_in_a_row_leave_the_retries_to_the_policy() -> None:
    episodes = evaluated(ScriptedEngine(right), InjectionSettings(rate=1.0, in_a_row=2))
    assert {(episode.injected, len(episode.attempts)) for episode in episodes} == {((0, 1), 3)}


def test_without_injection_nothing_changes() -> None:
    assert evaluated(ScriptedEngine(wrong), InjectionSettings()) == evaluated(ScriptedEngine(wrong), None)


def test_a_forced_failure_that_nobody_could_answer_is_no_episode() -> None:
    class Gone:
        def generate(self, prompts: Sequence[Sequence[int]], *_: object) -> list[Completion]:
            return [Completion((), stop=StopReason.INFRASTRUCTURE)] * len(prompts)

    assert evaluated(Gone(), InjectionSettings(rate=1.0)) == []  # type: ignore[arg-type]


def test_the_order_of_draws_is_pinned() -> None:
    """Round r samples with seed + r, rows in task-major order; what was forced joins in round 0."""
    asked, engine = InjectionSettings(rate=0.5, seed=2), ScriptedEngine(wrong)
    made = evaluated(engine, asked, retries=2, samples=2)
    forced = {episode.task_id for episode in made if episode.injected}
    assert 0 < len(forced) < len(TASKS)
    rows = [task.id for task in TASKS for _ in range(2)]
    asked_for = [[CHAT.tokenizer.decode(prompt) for prompt in prompts] for prompts, _, _ in engine.calls]
    names = [["t" + text.split("Square of side ")[1].partition("?")[0] for text in texts] for texts in asked_for]
    assert [(sampling.seed, samples) for _, sampling, samples in engine.calls] == [(0, 1), (1, 1), (2, 1)]
    assert names == [rows, rows, [name for name in rows if name not in forced]]
    told = [name for name, text in zip(names[0], asked_for[0], strict=True) if '"code"' in text]
    assert told == [name for name in rows if name in forced]
