"""The loop between policy and world, and the record that it leaves."""

from fissile.rollouts.loop import CLOSING, Limits, OpenRollout, Writer
from fissile.rollouts.record import Completion, End, Response, Rollout, Step, StopReason

__all__ = [
    "CLOSING",
    "Completion",
    "End",
    "Limits",
    "OpenRollout",
    "Response",
    "Rollout",
    "Step",
    "StopReason",
    "Writer",
]
