"""How often a model is right, and how often it recovers when it is not."""

from fissile.evaluation.bfcl_report import bfcl_report
from fissile.evaluation.episodes import EpisodeRecord, StepRecord, evaluate

__all__ = ["EpisodeRecord", "StepRecord", "bfcl_report", "evaluate"]
