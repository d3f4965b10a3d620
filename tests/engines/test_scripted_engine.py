"""The scripted engine answers in the engine's order and keeps its limits."""

from fissile.engines import Sampling, ScriptedEngine
from fissile.rollouts import Completion, StopReason


def test_order_limit_and_record() -> None:
    engine = ScriptedEngine(lambda prompt, sample: [prompt[0], sample, 9][: prompt[0]])
    sampling = Sampling(max_new_tokens=2)
    assert engine.generate([(2, 5), (3,)], sampling, samples=2) == [
        Completion((2, 0)),
        Completion((2, 1)),
        Completion((3, 0), stop=StopReason.LENGTH),
        Completion((3, 1), stop=StopReason.LENGTH),
    ]
    assert engine.calls == [([(2, 5), (3,)], sampling, 2)]
