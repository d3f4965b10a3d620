"""The source `learned` with a scripted model: what costs one failure must not cost the others of its batch."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import ScriptedEngine
from fissile.environments import SingleStep
from fissile.feedback import Failure, NoDiagnosis
from fissile.simulator import learned
from fissile.simulator.learned import LearnedSource
from fissile.simulator.prompt import SimulatorPrompt
from fissile.simulator.reply import Said
from fissile.simulator.typed import read_fields
from tiny import squares, tiny_tokenizer

DIALECT = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), DIALECT)
PROMPT = SimulatorPrompt.named("learned")
TEXT = '<tool_call>\n{"name": "area", "arguments": {"side": "x"}}\n</tool_call>'
SAID = "TypeError: 'side' must be an integer."
LINE = "wrong_type | area | side | type integer"


def failures(count: int) -> list[Failure]:
    judge = SingleStep()
    return [Failure(task, judge.attempt(task, TEXT, DIALECT)) for task in squares(count)]


def say(prompt: tuple[int, ...], sample: int) -> Sequence[int]:
    return CHAT.completion_ids(f"{LINE}\n{SAID}")


def test_many_failures_are_diagnosed_in_batches_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counting(ScriptedEngine):
        def generate(self, prompts, *rest):  # type: ignore[no-untyped-def]
            sizes.append(len(prompts))
            return super().generate(prompts, *rest)

    monkeypatch.setattr(learned, "BATCH", 2)
    engine = Counting(
        lambda prompt, sample: CHAT.completion_ids(f"{LINE}\n{CHAT.tokenizer.decode(prompt).count('!')} is wrong")
    )
    said = LearnedSource(engine, CHAT, PROMPT).diagnose(failures(5))
    assert sizes == [2, 2, 1]
    assert len(set(said)) == 5
    assert said == [LearnedSource(engine, CHAT, PROMPT).diagnose([one])[0] for one in failures(5)]


def test_a_failure_that_cannot_be_put_into_words_costs_only_itself() -> None:
    good = failures(3)
    broken = replace(good[1], task=replace(good[1].task, messages=({"role": "user"},)))  # type: ignore[typeddict-item]
    said = LearnedSource(ScriptedEngine(say), CHAT, PROMPT).diagnose([good[0], broken, good[2]])
    assert said == [SAID, NoDiagnosis("KeyError"), SAID]


def test_the_fields_are_told_beside_the_sentence_and_a_text_without_them_is_none() -> None:
    answers = iter([f"{LINE}\n{SAID}", SAID, LINE])
    engine = ScriptedEngine(lambda prompt, sample: CHAT.completion_ids(next(answers)))
    whole, *others = LearnedSource(engine, CHAT, PROMPT).explain(failures(3))
    assert whole == Said(SAID, read_fields(LINE))
    assert others == [NoDiagnosis("no_fields"), NoDiagnosis("no_sentence")]


def test_a_prompt_without_room_and_a_text_without_end() -> None:
    asked = failures(2)
    assert (
        LearnedSource(ScriptedEngine(say), CHAT, PROMPT, room=10).diagnose(asked)
        == [NoDiagnosis("prompt_too_long")] * 2
    )
    cut = LearnedSource(ScriptedEngine(say), CHAT, PROMPT, max_new_tokens=8)
    assert cut.diagnose(asked) == [NoDiagnosis("truncated")] * 2
    assert cut.diagnose([]) == []
