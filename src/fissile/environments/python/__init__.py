"""The Python world: a user's own functions, or a class of theirs, as tools that really run.

    tools = PythonTools.from_file("my_tools.py")
    world = PythonWorld(tools, CallLimits(seconds=2))

One module an idea: `origins` finds the code, `toolbox` makes tools of it, `worker` runs the calls in a process of its
own, `worker_pool` keeps those processes, `calling` types what came of a call, `truth` replays the ground truth, `state`
compares, and `python_world` is the environment.
"""

from fissile.environments.python.call_limits import CallLimits
from fissile.environments.python.python_world import PythonWorld
from fissile.environments.python.toolbox import PythonTools
from fissile.environments.python.worker_pool import stop_workers
from fissile.functions import DomainError

__all__ = ["CallLimits", "DomainError", "PythonTools", "PythonWorld", "stop_workers"]
