"""A real HTTP server on a loopback socket that answers chat completions, or misbehaves on demand."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler"], None]
"""What the server does with one request."""


class FaultServer(ThreadingHTTPServer):
    """Performs its acts in order, one a request; the last one is repeated.

    Attributes:
        bodies: the JSON body of every request so far.
        keys: the Authorization header of every request so far.
        arrived: the time of every request so far, in seconds of the monotonic clock.
        busiest: most requests that were answered at once.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, acts: Sequence[Act]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.acts = acts
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.arrived: list[float] = []
        self.busiest = 0
        self.busy = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no error here."""

    def stop(self) -> None:
        """Refuse every further connection."""
        if not self.closing.is_set():
            self.closing.set()
            self.shutdown()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: FaultServer
    body: dict[str, Any]

    def do_POST(self) -> None:
        server = self.server
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(self.body)
            server.keys.append(self.headers["Authorization"])
            server.arrived.append(time.monotonic())
            act = server.acts[min(len(server.bodies), len(server.acts)) - 1]
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        with suppress(OSError):
            act(self)
        with server.lock:
            server.busy -= 1

    def send(self, status: int, body: str, headers: Mapping[str, str] | None = None, promised: int = 0) -> None:
        """Send a response that promises `promised` bytes more than it has."""
        payload = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload) + promised))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@contextmanager
def serving(*acts: Act) -> Iterator[FaultServer]:
    """A running server."""
    server = FaultServer(acts)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def completion(content: str | None = "", calls: Sequence[tuple[Any, Any]] = (), **fields: Any) -> str:
    """The body of a chat completion. `fields` are those of the choice's message, and "finish_reason"."""
    finish = fields.pop("finish_reason", "stop")
    message: dict[str, Any] = {"role": "assistant", "content": content, **fields}
    if calls:
        functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
        message["tool_calls"] = [{"id": f"c{n}", "type": "function", "function": f} for n, f in enumerate(functions)]
    return json.dumps(
        {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    )


def says(content: str | None = "", calls: Sequence[tuple[Any, Any]] = (), **fields: Any) -> Act:
    """A good answer."""
    return sends(200, completion(content, calls, **fields))


def sends(status: int, body: str, headers: Mapping[str, str] | None = None) -> Act:
    """Any response."""
    return lambda handler: handler.send(status, body, headers)


def refuses(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **fields: Any) -> Act:
    """An error in the API's form."""
    return sends(status, json.dumps({"error": {"message": message, **fields}}), headers)


def cuts(body: str) -> Act:
    """A body that ends before its announced length."""
    return lambda handler: handler.send(200, body, promised=100)


def after(seconds: float, act: Act) -> Act:
    """Another act, late."""

    def wait(handler: Handler) -> None:
        handler.server.closing.wait(seconds)
        act(handler)

    return wait


def drips(seconds: float) -> Act:
    """White space without end, a little every now and then."""

    def drip(handler: Handler) -> None:
        handler.send(200, "", promised=10_000)
        while not handler.server.closing.wait(seconds):
            handler.wfile.write(b" ")

    return drip


def hangs_up(handler: Handler) -> None:
    """No answer at all."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def dies(handler: Handler) -> None:
    """No answer, and no server any more."""
    handler.server.stop()
    hangs_up(handler)
