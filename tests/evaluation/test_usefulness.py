"""Usefulness of feedback with scripted policies whose figures are known beforehand."""

from collections.abc import Sequence

from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.injection import InjectionSettings, Injector
from fissile.engines.sampler import Sampler
from fissile.evaluation.usefulness import advantage, failed_first_attempts, next_attempts, usefulness_report
from fissile.faults import Fault
from fissile.feedback import Diagnoser, FixedMessage, get_source
from fissile.metrics import Episode
from tiny import squares, tiny_tokenizer

DIALECT = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), DIALECT)
SAMPLER = Sampler(CHAT)
TASKS = squares(6)


def reader(prompt: Sequence[int], sample: int) -> tuple[int, ...]:
    """Right as soon as it is told the argument's name; otherwise it repeats itself, and task 0 it knows."""
    text = CHAT.tokenizer.decode(prompt)
    side = text.count("!")
    told = "'side'" in text.rpartition("<|im_start|>assistant")[0].rpartition("<tool_call>")[2]
    wrong = side if told or side == 0 else 99
    return CHAT.completion_ids(f'<tool_call>\n{{"name": "area", "arguments": {{"side": {wrong}}}}}\n</tool_call>')


def episodes(source: object, samples: int = 3) -> list[Episode]:
    engine = ScriptedEngine(reader)
    failed = failed_first_attempts(engine, SAMPLER, TASKS, Sampling(), samples=2)
    assert [step.context.task.id for step in failed] == ["t1", "t2", "t3", "t4", "t5"]
    return next_attempts(engine, SAMPLER, failed, Diagnoser(source), Sampling(), samples)  # type: ignore[arg-type]


def test_a_source_that_helps_is_told_from_one_that_does_not() -> None:
    made = {"fixed": episodes(FixedMessage()), "rules": episodes(get_source("rules"))}
    report = usefulness_report(made)
    rules, fixed = (report[name]["own"] for name in ("rules", "fixed"))
    assert (rules["next_attempt_recovery_rate"]["num"], len(made["rules"])) == (15, 15)
    assert fixed["next_attempt_recovery_rate"]["num"] == 0
    assert fixed["repeat_rate"]["rate"] == 1
    assert rules["over_fixed"] == {"difference": 1.0, "low": 1.0, "high": 1.0, "ratio": None}
    assert "over_fixed" not in fixed
    assert report["rules"]["injected"]["next_attempt_recovery_rate"]["den"] == 0


def test_injected_failures_are_told_apart_from_the_policys_own() -> None:
    engine, settings = ScriptedEngine(reader), InjectionSettings(rate=1.0, faults=(Fault.WRONG_TYPE,))
    make, diagnoser = SAMPLER.make_environment, Diagnoser(FixedMessage())
    injector = Injector(settings, DIALECT, SAMPLER.writer, make, diagnoser=diagnoser)
    forced = injector.failures([SAMPLER.context(task) for task in TASKS])
    diagnoser = Diagnoser(get_source("rules"))
    made = next_attempts(engine, SAMPLER, forced, diagnoser, Sampling(), 2, injected=True)
    report = usefulness_report({"rules": [*made, *episodes(get_source("rules"), 1)]})["rules"]
    assert len(forced) == len(TASKS)
    assert report["injected"]["next_attempt_recovery_rate"]["den"] == 2 * len(TASKS)
    assert report["injected"]["next_attempt_recovery_rate"]["rate"] == 1
    assert report["own"]["next_attempt_recovery_rate"]["den"] == 5


def test_an_advantage_that_is_none_has_an_interval_around_zero() -> None:
    same = episodes(FixedMessage())
    found = advantage(same, same)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_the_interval_is_over_tasks() -> None:
    right, wrong = episodes(get_source("rules"), 1), episodes(FixedMessage(), 1)
    mixed = [*right[:2], *wrong[2:]]
    found = advantage(mixed, wrong)
    assert found.difference == 0.4
    assert found.low <= 0.2
    assert found.high >= 0.6
