"""Explore contexts with forced failures in them: single-step tasks, and turns of live ones."""

from __future__ import annotations

from collections.abc import Sequence

from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.sampler import Sampler
from fissile.feedback import FIXED_MESSAGE, Diagnoser, Failure, get_source
from fissile.tasks import Task, instances
from tally_world import LIVE, Tally
from tiny import squares, tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
SINGLE = Sampler(CHAT)
SAMPLER = Sampler(CHAT, lambda task: Tally())
ALWAYS = InjectionSettings(rate=1.0)
TASKS = squares(60)
EXPLORE = [SINGLE.context(task) for task in TASKS]


def injector(settings: InjectionSettings, sampler: Sampler, diagnoser: Diagnoser | None = None) -> Injector:
    return Injector(settings, HERMES, sampler.writer, sampler.make_environment, sampler.limits, diagnoser)


def single(settings: InjectionSettings) -> Injector:
    return injector(settings, SINGLE, Diagnoser(get_source("rules")))


def test_a_forced_failure_and_its_diagnosis_become_part_of_the_prompt() -> None:
    for explore, context in zip(EXPLORE, single(ALWAYS).inject(EXPLORE), strict=True):
        (turn,) = context.history
        assert turn.attempt.failed
        assert turn.feedback
        assert context.task is explore.task
        assert context.prompt_ids[: len(explore.prompt_ids)] == explore.prompt_ids
        added = CHAT.tokenizer.decode(context.prompt_ids[len(explore.prompt_ids) :])
        assert turn.attempt.text in added
        assert turn.feedback in added


def test_a_share_of_the_contexts_is_injected_and_the_others_come_back_as_they_are() -> None:
    half = InjectionSettings(rate=0.5)
    made = single(half).inject(EXPLORE, visit=3)
    assert 15 < sum(context.depth for context in made) < 45
    assert all(context is explore for explore, context in zip(EXPLORE, made, strict=True) if not context.depth)
    assert single(half).inject(EXPLORE[::-1], visit=3) == made[::-1]
    assert single(half).inject(EXPLORE, visit=4) != made
    assert single(InjectionSettings(rate=0.5, seed=1)).inject(EXPLORE, visit=3) != made
    assert single(InjectionSettings()).inject(EXPLORE) == EXPLORE


class Counting:
    """The fixed message, and how many failures each call was about."""

    name = "counting"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        self.batches.append(len(failures))
        return [FIXED_MESSAGE] * len(failures)


def test_several_in_a_row_are_diagnosed_together_round_by_round() -> None:
    source = Counting()
    settings = InjectionSettings(rate=1.0, in_a_row=2)
    made = injector(settings, SINGLE, Diagnoser(source)).inject(EXPLORE[:9])
    assert [context.depth for context in made] == [2] * 9
    assert source.batches == [9, 9]


def test_a_task_without_calls_cannot_be_corrupted() -> None:
    nothing = Task("n", ({"role": "user", "content": "Hello"},), TASKS[0].tools, ())
    context = SINGLE.context(nothing)
    assert single(ALWAYS).inject([context]) == [context]


def test_the_next_response_is_a_recovery_to_sampler_and_reward() -> None:
    (context,) = single(ALWAYS).inject(EXPLORE[:1])
    repeated = CHAT.completion_ids(context.history[0].attempt.text)
    engine = ScriptedEngine(lambda prompt, sample: repeated)
    (rollout,) = SINGLE.sample(engine, [context], Sampling())
    assert rollout.repeats
    assert rollout.completion_ids == repeated  # the forced tokens are in the prompt, outside every loss
    assert rollout.mask == (1,) * len(repeated)


def test_a_turn_of_a_live_task_begins_with_the_answer_of_its_world() -> None:
    explore = [SAMPLER.context(instance) for instance in instances(LIVE)]
    assert [context.turn for context in explore] == [0, 2]
    made = injector(ALWAYS, SAMPLER).inject(explore)
    for before, context in zip(explore, made, strict=True):
        (turn,) = context.history
        assert turn.attempt.failed
        assert (context.turn, context.state) == (before.turn, before.state)
        assert context.prompt_ids[: len(before.prompt_ids)] == before.prompt_ids
        assert context.dialogue[:-1] == before.dialogue
        assert turn.feedback in CHAT.tokenizer.decode(context.prompt_ids[len(before.prompt_ids) :])
    assert injector(InjectionSettings(), SAMPLER).inject(explore) == explore


def test_a_live_rollout_goes_on_from_there() -> None:
    (explore, _) = [SAMPLER.context(instance) for instance in instances(LIVE)]
    (context,) = injector(InjectionSettings(rate=1.0, in_a_row=2), SAMPLER).inject([explore])
    assert context.depth == 2
    said = iter([HERMES.render_calls(context.task.oracle_calls()), "Done."])
    (rollout,) = SAMPLER.sample(
        ScriptedEngine(lambda prompt, sample: CHAT.completion_ids(next(said))), [context], Sampling(max_new_tokens=400)
    )
    assert rollout.correct
    assert not any(step.injected for step in rollout.steps)
