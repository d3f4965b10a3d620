"""A world of records for tasks that are made by chance (`fissile.tasks.procedural`)."""

from fissile.environments.procedural.world import WORLD, ProceduralWorld

__all__ = ["WORLD", "ProceduralWorld"]
