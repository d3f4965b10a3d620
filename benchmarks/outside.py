"""The share of a step that is spent outside the model and the optimizer, and on what.

python -m benchmarks.outside --adapter runs/quickstart/cold_start/adapter

Two arms, both explore and fission in turn. In "signal" a reward drawn at random gives every group variance, so every
row has its forward and backward; in "plain" the rewards are those of training, where groups without variance cost no
update: less time in the model, and so a larger share outside. Completions end where the policy ends them, and the
prompts change from step to step, so that failures keep coming.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.arms import Channel, Reply
from benchmarks.cases import Case
from benchmarks.report import spread
from benchmarks.table import Table

if TYPE_CHECKING:
    from benchmarks.stopwatch import Stopwatch
    from fissile import FissionGRPOTrainer

MODEL = ("generate", "forward", "backward", "optimizer")
"""Parts that are the model's and the optimizer's; everything else is outside."""


def serve_signal(case: Case, channel: Channel) -> None:
    """With a drawn reward beside the composite one."""
    from benchmarks.trainers import drawn_reward

    _serve(case, channel, [drawn_reward])


def serve_plain(case: Case, channel: Channel) -> None:
    """The rewards of training."""
    _serve(case, channel, [])


def _serve(case: Case, channel: Channel, rewards: list[Callable[..., list[float]]]) -> None:
    from benchmarks.stopwatch import Stopwatch
    from benchmarks.trainers import Bench, StepTurns, phases

    bench, watch = Bench(case, steps=4), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = bench.fissile(folder, rewards, endless=False)
        phase = phases(trainer)
        trainer.add_callback(StepTurns(channel, lambda: {**phase(), "parts": watch.take()}, before=watch.take))
        _time_the_model(trainer, watch)
        _time_the_rest(trainer, watch)
        channel.ready(**bench.facts())
        trainer.train()


def _time_the_model(trainer: FissionGRPOTrainer, watch: Stopwatch) -> None:
    """Sampling, the forward of the wrapped policy (sampling calls the model inside it), backward and optimizer."""
    from transformers import TrainerCallback

    class OptimizerTime(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *arguments: Any, **state: Any) -> None:
            watch.enter("optimizer")

        def on_optimizer_step(self, *arguments: Any, **state: Any) -> None:
            watch.leave()

    trainer.engine.generate = watch.timed("generate", trainer.engine.generate)  # type: ignore[method-assign]
    trainer.model.register_forward_pre_hook(lambda *_: watch.enter("forward"))
    trainer.model.register_forward_hook(lambda *_: watch.leave())
    trainer.accelerator.backward = watch.timed("backward", trainer.accelerator.backward)
    trainer.accelerator.clip_grad_norm_ = watch.timed("optimizer", trainer.accelerator.clip_grad_norm_)
    trainer.add_callback(OptimizerTime())


def _time_the_rest(trainer: FissionGRPOTrainer, watch: Stopwatch) -> None:
    """What the project adds to a step. The rest of the time outside is TRL's: tensors, metrics, bookkeeping."""
    from fissile.engines.token_policy import TokenPolicy
    from fissile.feedback import get_source
    from fissile.feedback.base import Failure, NoDiagnosis
    from fissile.methods import FissionGRPO
    from fissile.rewards import rollout_reward
    from fissile.rollouts import OpenRollout
    from fissile.training import step_sampler

    source = get_source("rules")

    class TimedSource:
        name = source.name

        def diagnose(self, failures: Sequence[Failure]) -> Sequence[str | NoDiagnosis]:
            with watch.part("feedback"):
                return source.diagnose(failures)

    method = FissionGRPO()
    method.attach(replace(trainer.method.host, source=TimedSource()))
    method.diagnoser.diagnose = watch.timed("diagnosis", method.diagnoser.diagnose)  # type: ignore[method-assign]
    method.plan = watch.timed("plan", method.plan)  # type: ignore[method-assign]
    method.observe = watch.timed("observe, buffer", method.observe)  # type: ignore[method-assign]
    trainer.method = method

    TokenPolicy._read = watch.timed("parse", TokenPolicy._read)  # type: ignore[method-assign]
    OpenRollout.answer = watch.timed("judge", OpenRollout.answer)  # type: ignore[method-assign]
    vars(step_sampler)["rollout_reward"] = watch.timed("reward", rollout_reward)


def shares(case: Case, replies: Sequence[Reply]) -> Mapping[str, Any]:
    """Shares of a step in percent: all that is outside the model, and each part, what has no name as "TRL"."""
    names = list(dict.fromkeys(name for reply in replies for name in reply["parts"]))
    percents = [{name: 100 * reply["parts"].get(name, 0.0) / reply["seconds"] for name in names} for reply in replies]
    outside = [100 - sum(percent.get(name, 0.0) for name in MODEL) for percent in percents]
    rest = [100 - sum(percent.values()) for percent in percents]
    parts = {f"% {name}": spread([percent[name] for percent in percents]) for name in names}
    return {"% outside": spread(outside), **parts, "% TRL": spread(rest)}


KINDS = ("explore", "fission")

TABLE = Table(
    name="outside",
    about="The share of a step outside the model and the optimizer, and on what it is spent. The target is 2 %.",
    arms={"signal": serve_signal, "plain": serve_plain},
    kinds={"signal": KINDS, "plain": KINDS},
    derive=shares,
)

if __name__ == "__main__":
    TABLE.main()
