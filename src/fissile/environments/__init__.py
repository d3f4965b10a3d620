"""Worlds that judge calls: single-step comparison with the truth, and the official checkers of benchmarks."""

from fissile.environments.matching import CallPairing, argument_f1, match_calls, values_match
from fissile.environments.single_step import OfficialVerdict, SingleStep, judge

__all__ = ["CallPairing", "OfficialVerdict", "SingleStep", "argument_f1", "judge", "match_calls", "values_match"]
