"""A feedback source behind a server of a test, and failures to ask it about."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fault_server import FaultServer, after, says
from fissile.calls import Attempt, ToolCall
from fissile.errors import ErrorKind, ToolError
from fissile.feedback import Failure, NoDiagnosis
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.settings import ServedSettings
from fissile.tasks import ExpectedCall, Task
from tiny import AREA

SAID = "TypeError: 'side' must be an integer."
HANGS = after(30, says(SAID))
PATIENCE = {"timeout_seconds": 5.0, "retries": 1, "backoff_seconds": 0.01, "concurrency": 4}


def failure(number: int = 0, text: str = "") -> Failure:
    request = {"role": "user", "content": f"A square of {number}? {text}"}
    task = Task(f"t{number}", (request,), (AREA,), (ExpectedCall.exactly("area", {"side": number}),))
    error = ToolError(ErrorKind.WRONG_TYPE, "wrong", 0, "area", "side")
    return Failure(task, Attempt("my try", (ToolCall("area", {"side": "x"}, "{...}"),), (error,)))


def failures(count: int, first: int = 0) -> list[Failure]:
    return [failure(first + number) for number in range(count)]


def source(server: FaultServer | str, cache: Path | None = None, **changes: Any) -> EndpointSource:
    """A source with the patience of a test; changes of `EndpointSettings` are told from those of `ServedSettings`."""
    url = server if isinstance(server, str) else server.url
    own = {name: value for name, value in changes.items() if name in ServedSettings.model_fields}
    rest = {name: value for name, value in changes.items() if name not in own}
    served = {"base_url": url, "model": "m", **PATIENCE, **rest}
    return EndpointSource(ServedSettings(**{"deadline_seconds": 3.0, **own, "server": served}), cache)


def reasons(said: list[str | NoDiagnosis]) -> Counter[str]:
    return Counter(one.reason if isinstance(one, NoDiagnosis) else "" for one in said)
