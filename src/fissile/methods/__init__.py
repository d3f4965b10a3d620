"""The learning methods: one small class and one settings class each. GRPO, and Fission-GRPO over it."""

from fissile.methods.base import Method, Phase, Plan, Scored
from fissile.methods.by_name import CORRECTIVE, make_method
from fissile.methods.fission_grpo import FissionGRPO, FissionSettings
from fissile.methods.grpo import GRPO
from fissile.methods.offline_grpo import OfflineGRPO, OfflineSettings

__all__ = [
    "CORRECTIVE",
    "GRPO",
    "FissionGRPO",
    "FissionSettings",
    "Method",
    "OfflineGRPO",
    "OfflineSettings",
    "Phase",
    "Plan",
    "Scored",
    "make_method",
]
