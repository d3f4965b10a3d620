"""The loop between policy and world, and the record that it leaves."""

from fissile.rollouts.branch import corrective_context, failure_of, remaining_goal
from fissile.rollouts.injection import InjectionSettings, LiveInjector, drawn_turns, told_injection
from fissile.rollouts.live import CLOSING, ErrorProtocol, Limits, LiveRollout, Writer
from fissile.rollouts.record import Completion, End, Response, Rollout, Step, StopReason
from fissile.rollouts.reward import rollout_reward

__all__ = [
    "CLOSING",
    "Completion",
    "End",
    "ErrorProtocol",
    "InjectionSettings",
    "Limits",
    "LiveInjector",
    "LiveRollout",
    "Response",
    "Rollout",
    "Step",
    "StopReason",
    "Writer",
    "corrective_context",
    "drawn_turns",
    "failure_of",
    "remaining_goal",
    "rollout_reward",
    "told_injection",
]
