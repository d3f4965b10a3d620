"""The supervised cold start: what its examples show, and where their loss lies."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fissile.config import ColdStartConfig
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.sampler import Sampler
from fissile.feedback import Diagnoser, Failure
from fissile.tasks import ExpectedCall, Task
from fissile.training.cold_start import Shown, demonstrations
from tiny import AREA, tiny_tokenizer

CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())


class Counting:
    """Counts what it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        self.asked += len(failures)
        return ["Look again."] * len(failures)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("side", [3, "three"])  # the schema of the tool refuses the latter: the judge finds it wrong
def test_the_truth_is_shown_whatever_the_judge_says_of_it(side: object, share: float) -> None:
    task = Task(
        "t", ({"role": "user", "content": "A square?"},), (AREA,), (ExpectedCall.exactly("area", {"side": side}),)
    )
    source, shown = Counting(), Shown()
    config = ColdStartConfig(recovery_share=share)
    (example,) = demonstrations([task], Sampler(CHAT), config, 0, Diagnoser(source), shown=shown)
    truth = CHAT.completion_ids(CHAT.dialect.render_calls(task.oracle_calls()))
    labels = [label for label in example["labels"] if label != -100]
    assert tuple(labels) == truth == tuple(example["input_ids"][-len(truth) :])
    assert (source.asked, shown.recoveries) == (share, share)
