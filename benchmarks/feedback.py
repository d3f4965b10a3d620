"""What diagnoses cost: the seconds of a feedback source against those of the steps that its diagnoses are for.

python -m benchmarks.feedback --adapter runs/quickstart/cold_start/adapter --prompt-tokens 300 --group-size 8 4 \
    --completion 64

`learned` is the adapter at `runs/simulator/adapter`, which `fissile simulate train recipes/simulator.toml` leaves. Both
arms take explore and fission steps in turn with the rewards of training; groups without variance cost no update, which
makes the steps short and the share of the feedback large. Failures are diagnosed when they are intercepted, in explore
steps, and are used in the fission step that follows: seconds of feedback are counted from fission to fission.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.arms import Channel, Reply
from benchmarks.cases import Case
from benchmarks.report import spread
from benchmarks.table import Table

if TYPE_CHECKING:
    from fissile.feedback import Diagnoser

ADAPTER = "runs/simulator/adapter"
"""Of the source `learned`."""


@dataclass
class Cycle:
    """What it took from fission to fission; the time between steps, when other arms have their turn, is left out.

    Attributes:
        diagnoser: counts diagnoses and their seconds, all of them since its beginning.
        seconds: of the steps of this cycle.
    """

    diagnoser: Diagnoser
    seconds: float = 0.0
    _begun: float = 0.0
    _before: tuple[float, int] = (0.0, 0)

    def begin_step(self) -> None:
        """Called when a step begins."""
        self._begun = time.perf_counter()

    def end_step(self, kind: str) -> dict[str, Any]:
        """What a report says of the step, and of the cycle so far; a fission step ends the cycle."""
        self.seconds += time.perf_counter() - self._begun
        diagnosing, diagnosed = self.diagnoser.seconds, self.diagnoser.diagnosed
        told = {
            "seconds": self.seconds,
            "diagnosing": diagnosing - self._before[0],
            "diagnosed": diagnosed - self._before[1],
        }
        if kind == "fission":
            self.seconds, self._before = 0.0, (diagnosing, diagnosed)
        return {"kind": kind, "cycle": told}


def serve_rules(case: Case, channel: Channel) -> None:
    """Diagnoses by rules."""
    _serve(case, channel, "rules")


def serve_learned(case: Case, channel: Channel) -> None:
    """Diagnoses by the embedded model with the adapter that was taught to."""
    _serve(case, channel, "learned")


def _serve(case: Case, channel: Channel, name: str) -> None:
    from benchmarks.trainers import Bench, StepTurns, phases
    from fissile.methods import FissionGRPO
    from fissile.simulator.settings import LearnedSettings, SimulatorSettings
    from fissile.simulator.sources import make_source
    from fissile.training.simulator_making import load_learned

    bench = Bench(case, steps=4)
    source = make_source(name, SimulatorSettings(learned=LearnedSettings(adapter=ADAPTER)), load_learned)
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.fissile(folder, [], endless=False, source=source)
        assert isinstance(trainer.method, FissionGRPO)
        cycle, phase = Cycle(trainer.method.diagnoser), phases(trainer)
        trainer.add_callback(StepTurns(channel, lambda: cycle.end_step(**phase()), before=cycle.begin_step))
        channel.ready(**bench.facts())
        trainer.train()


def shares(case: Case, replies: Sequence[Reply]) -> Mapping[str, Any]:
    """Of fission steps: feedback in percent of the step, of the whole cycle, and per diagnosis.

    A cycle is a fission step and the explore steps before it. One without a diagnosis is left out.
    """
    if replies[0]["kind"] != "fission":
        return {}
    cycles = [(reply["seconds"], reply["cycle"]) for reply in replies if reply["cycle"]["diagnosed"]]
    if not cycles:
        return {}
    return {
        "feedback, % of the fission step": spread([100 * cycle["diagnosing"] / step for step, cycle in cycles]),
        "feedback, % of the cycle": spread([100 * cycle["diagnosing"] / cycle["seconds"] for _, cycle in cycles]),
        "seconds a diagnosis": spread([cycle["diagnosing"] / cycle["diagnosed"] for _, cycle in cycles]),
        "diagnoses a cycle": spread([cycle["diagnosed"] for _, cycle in cycles]),
    }


KINDS = ("explore", "fission")

TABLE = Table(
    name="feedback",
    about="The seconds of diagnoses against those of the steps they are for. The target is 10 % with `learned`.",
    arms={"learned": serve_learned, "rules": serve_rules},
    kinds={"learned": KINDS, "rules": KINDS},
    derive=shares,
)

if __name__ == "__main__":
    TABLE.main()
