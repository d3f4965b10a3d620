"""BFCL's multi-turn world: the official classes from the pinned asset, with nothing shared between episodes."""

from fissile.environments.bfcl.bfcl_world import BFCLWorld
from fissile.environments.bfcl.instances import function_names
from fissile.environments.bfcl.reseeding import reseed

__all__ = ["BFCLWorld", "function_names", "reseed"]
