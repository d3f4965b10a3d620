"""A world of records for tasks that are made by chance (`fissile.tasks.procedural`)."""

from fissile.environments.procedural.procedural_world import ProceduralWorld
from fissile.tasks.procedural import SOURCE as WORLD

__all__ = ["WORLD", "ProceduralWorld"]
