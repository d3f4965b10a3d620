"""A procedural tool world: generated tools with typed schemas, and tasks of one to four calls, without end."""

from fissile.tasks.procedural.dials import ProceduralSettings
from fissile.tasks.procedural.requests import SOURCE, procedural_split

__all__ = ["SOURCE", "ProceduralSettings", "procedural_split"]
