"""Fission's one home: a failed step becomes a corrective context; the buffer, the trigger. Torch-free."""

from fissile.corrections.branch import Branching, Failed, corrective_context, failure_id, failure_of
from fissile.corrections.buffer import COUNTS, CorrectionBuffer, CorrectionPool, Decision, Order
from fissile.corrections.correction import Correction, fission_record
from fissile.corrections.interception import Interceptor, most_frequent
from fissile.corrections.trigger import Trigger

__all__ = [
    "COUNTS",
    "Branching",
    "Correction",
    "CorrectionBuffer",
    "CorrectionPool",
    "Decision",
    "Failed",
    "Interceptor",
    "Order",
    "Trigger",
    "corrective_context",
    "failure_id",
    "failure_of",
    "fission_record",
    "most_frequent",
]
