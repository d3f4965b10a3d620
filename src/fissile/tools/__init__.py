"""Tools: how they are spelled, the JSON Schema of their arguments, and the validation of what a model wrote."""

from fissile.tools.equality import json_equal
from fissile.tools.readable import part
from fissile.tools.tool import Tool
from fissile.tools.types import json_type

__all__ = ["Tool", "json_equal", "json_type", "part"]
