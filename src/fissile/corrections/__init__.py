"""Fission's one home: a failed step becomes a corrective context; the buffer, the trigger. Torch-free."""

from fissile.corrections.branch import Branching, Failed, corrective_context, failure_id, failure_of
from fissile.corrections.buffer import CorrectionBuffer, Order
from fissile.corrections.correction import Correction
from fissile.corrections.pool import CorrectionPool
from fissile.corrections.store import CorrectionStore, Decision
from fissile.corrections.trigger import Trigger

__all__ = [
    "Branching",
    "Correction",
    "CorrectionBuffer",
    "CorrectionPool",
    "CorrectionStore",
    "Decision",
    "Failed",
    "Order",
    "Trigger",
    "corrective_context",
    "failure_id",
    "failure_of",
]
