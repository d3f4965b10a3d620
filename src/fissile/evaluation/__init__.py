"""How often a model is right, and how often it recovers when it is not."""

from fissile.evaluation.bfcl_report import bfcl_report
from fissile.evaluation.live import LiveEpisode, evaluate_live
from fissile.evaluation.recovery import evaluate_recovery

__all__ = ["LiveEpisode", "bfcl_report", "evaluate_live", "evaluate_recovery"]
