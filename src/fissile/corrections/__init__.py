"""Failures become training contexts: the corrective context, the buffer and its trigger. Torch-free."""

from fissile.corrections.buffer import CorrectionBuffer, Order
from fissile.corrections.context import Context, Exchange
from fissile.corrections.correction import Correction
from fissile.corrections.pool import CorrectionPool
from fissile.corrections.store import CorrectionStore, Decision
from fissile.corrections.trigger import Trigger

__all__ = [
    "Context",
    "Correction",
    "CorrectionBuffer",
    "CorrectionPool",
    "CorrectionStore",
    "Decision",
    "Exchange",
    "Order",
    "Trigger",
]
