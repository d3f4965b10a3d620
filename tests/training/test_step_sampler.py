"""The rollouts of a training step and their rewards."""

from __future__ import annotations

from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.sampler import Sampler
from fissile.environments.base import Environment
from fissile.methods import Phase, Plan
from fissile.rewards import RewardConfig
from fissile.tasks import Task
from fissile.training.step_sampler import StepSampler
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())


def test_only_contexts_and_rollouts_have_worlds() -> None:
    made: list[str] = []

    def make(task: Task) -> Environment:
        made.append(task.id)
        return Tally()

    groups = StepSampler(Sampler(CHAT, make), {LIVE.id: LIVE}, RewardConfig())
    plan = Plan(Phase.EXPLORE, (groups.context(LIVE),), 3)
    engine = ScriptedEngine(lambda prompt, sample: CHAT.completion_ids("Done."))
    scored = groups.sample(engine, plan, Sampling(), 0.0)
    assert len(made) == 1 + len(scored) == 4
    assert len({entry.total for entry in scored}) == 1
