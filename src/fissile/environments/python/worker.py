"""The worker process: it runs the calls, so that whatever a tool does, the world goes on.

It reads requests from the pipe that it was started with and answers each with a reply. It holds nothing between two
requests but the imported tools: the state comes with a request and goes back, pickled, with its reply.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import psutil
from pydantic import ValidationError

from fissile.calls import JSON
from fissile.environments.python.answers import CountedOutput, WrongValueError, described, refused, run, told
from fissile.environments.python.call_limits import CallLimits
from fissile.environments.python.choosing import Toolbox
from fissile.environments.python.frames import Frame, read_frame, write_frame
from fissile.environments.python.state import fingerprint, hidden_attributes, same_state
from fissile.errors import DataError, ErrorKind
from fissile.functions.parameters import Parameters, parameters_of

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

ORPHAN_SECONDS = 5.0
"""How much longer than its limit a call may run when nobody is left to stop it."""


def main() -> None:
    """Serve requests until the pipe closes. The first one holds the source of the tools and the limits."""
    requests, replies = _private_pipes()
    first = read_frame(requests)
    if first is None:
        return
    source, limits = pickle.loads(first.parts[0])
    try:
        bench = Bench(source.load(), limits)
    except Exception as error:
        message = str(error) if isinstance(error, DataError) else told(described(error)[1])
        write_frame(replies, Frame({"failed": f"A worker cannot import the tools: {message}"}))
        return
    _limit_memory(limits.memory_mb)
    write_frame(replies, Frame({"ready": True}))
    while (request := read_frame(requests)) is not None:
        _end_if_orphaned(limits.seconds + ORPHAN_SECONDS)
        reply = bench.serve(request)
        _end_if_orphaned(0)
        write_frame(replies, reply)


@dataclass(frozen=True)
class Bench:
    """The imported tools, ready to run."""

    toolbox: Toolbox
    limits: CallLimits

    def serve(self, request: Frame) -> Frame:
        """The reply to a request. Whatever is raised is an answer too."""
        try:
            return _OPERATIONS[request.header["do"]](self, request)
        except BaseException as error:  # a tool may raise SystemExit, too
            return Frame(refused(*described(error)))

    def construct(self, request: Frame) -> Frame:
        """A fresh instance of the state's class."""
        assert self.toolbox.state is not None
        arguments = json.loads(request.header["arguments"])
        instance = self.toolbox.state(**_read(self._constructor, arguments))
        try:
            state = pickle.dumps(instance)
            again = pickle.loads(state)
            return Frame({"fingerprint": fingerprint(again), "hidden": hidden_attributes(again)}, (state,))
        except Exception as error:
            return Frame({"unstorable": told(described(error)[1])})

    def call(self, request: Frame) -> Frame:
        """One call. A state that a raising tool left behind is kept, as in any Python program."""
        name, arguments = request.header["tool"], json.loads(request.header["arguments"])
        values = _read(self._parameters[name], arguments)
        if self.toolbox.state is None:
            return Frame(run(self.toolbox.functions[name], values, self.limits.result_characters))
        instance = pickle.loads(request.parts[0])
        header = run(getattr(instance, name), values, self.limits.result_characters)
        try:
            state = pickle.dumps(instance)
            return Frame(header | {"fingerprint": fingerprint(instance)}, (state,))
        except Exception as error:
            message = f"the tool left a state that cannot be stored ({described(error)[1]})."
            return Frame(refused(ErrorKind.EXCEPTION, message))

    def compare(self, request: Frame) -> Frame:
        """Whether a state is as expected."""
        instance, expected = map(pickle.loads, request.parts)
        return Frame({"same": same_state(instance, expected)})

    @cached_property
    def _constructor(self) -> Parameters:
        assert self.toolbox.state is not None
        return parameters_of(self.toolbox.state)

    @cached_property
    def _parameters(self) -> dict[str, Parameters]:
        return {name: parameters_of(function, name) for name, function in self.toolbox.functions.items()}


_OPERATIONS: dict[str, Callable[[Bench, Frame], Frame]] = {
    "construct": Bench.construct,
    "call": Bench.call,
    "compare": Bench.compare,
}


def _read(parameters: Parameters, arguments: dict[str, JSON]) -> dict[str, Any]:
    """The values to call with.

    Raises:
        WrongValueError: an argument is none of its type.
    """
    try:
        return parameters.read(arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise WrongValueError(".".join(map(str, first["loc"])), first["msg"]) from None


# --- the process -------------------------------------------------------------------------------------------------


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes to the world, out of the tools' reach: what they print goes nowhere, and there is nothing to read."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.stdout = CountedOutput(sys.stdout.buffer, encoding="utf-8", errors="replace")
    return io.BufferedReader(io.FileIO(requests, "rb")), io.BufferedWriter(io.FileIO(replies, "wb"))


def _limit_memory(mebibytes: int | None) -> None:
    """Hold the address space to what is used now and `mebibytes` more, where the platform can; never dump core."""
    if resource is None:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if mebibytes is not None:
            limit = psutil.Process().memory_info().vms + mebibytes * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_if_orphaned(seconds: float) -> None:
    """Let the kernel end this process after so many seconds, in case that the world is no more; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
