"""How often a model is right, and how often it recovers when it is not."""

from fissile.evaluation.recovery import evaluate_recovery

__all__ = ["evaluate_recovery"]
