"""The learning methods: one small class and one settings class each. GRPO, and Fission-GRPO over it."""

from fissile.methods.base import Method, Phase, Plan, Scored
from fissile.methods.fission_grpo import FissionGRPO, FissionSettings
from fissile.methods.grpo import GRPO

__all__ = ["GRPO", "FissionGRPO", "FissionSettings", "Method", "Phase", "Plan", "Scored"]
