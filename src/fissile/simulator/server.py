"""`SimulatorServer`: a model in this process behind the chat completions of OpenAI's API. Imports no torch.

Requests of many clients are answered together: one worker takes whatever waits with equal sampling settings and asks
the engine once. It knows POST /v1/chat/completions, GET /v1/models and GET /health. Refusals have OpenAI's form:

- 400: the request cannot be read or asks for what is not offered; code "context_length_exceeded" where it is too long;
- 401: the key is missing or wrong; 404: no such path or model; 411: no length; 413: too many bytes;
- 500: the engine failed, and the server goes on; 503 with Retry-After: too many requests wait, or the server closes.

A request without a temperature is answered greedily, as a simulator is taught and judged; one that is sampled with a
seed of its own, alone, so that it has the same answer again; one whose client hangs up while it waits, not at all.
Source of the form: platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import errno
import hmac
import json
import logging
import re
import secrets
import select
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from fissile.calls import JSON
from fissile.dialects import ChatFormat
from fissile.engines.base import Engine, Sampling
from fissile.errors import ConfigError, InfrastructureError, ModelError
from fissile.rollouts import Completion, StopReason

logger = logging.getLogger(__name__)

GATHERING_SECONDS = 0.01
"""The engine is asked when no further request came for so long, or for ten times so long after the first."""

GRACE_SECONDS = 10.0
"""How long a closing server waits for the engine to end its call, and for the last answers to be sent."""

HARMLESS = frozenset({"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier"})
"""Fields of a request that say nothing about the answer."""

_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
_FINISH = {StopReason.END: "stop", StopReason.LENGTH: "length"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes on.

    Attributes:
        positions: tokens that the model reads at most, prompt and answer together.
        max_new_tokens: limit of an answer where a request names none.
        max_rows: requests that are answered by one call of the engine.
        max_waiting: requests that wait for the engine; further ones are refused.
        max_body_bytes: length of a request.
    """

    positions: int = 32768
    max_new_tokens: int = 80
    max_rows: int = 64
    max_waiting: int = 256
    max_body_bytes: int = 2**20


class _Refusal(Exception):  # noqa: N818
    """A request that gets no answer, as OpenAI's API says so."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.answer: JSON = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _Message(BaseModel, extra="forbid"):
    role: Literal["system", "user", "assistant"]
    content: str


class _TextFormat(BaseModel, extra="forbid"):
    type: Literal["text"]


class _NotOffered(BaseModel):
    """Fields that would change the answer, with the values that ask for nothing."""

    stream: Literal[False] | None = None
    n: Literal[1] | None = None
    stop: Literal[""] | None = None
    tools: tuple[()] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    logprobs: Literal[False] | None = None
    top_k: Literal[0, -1] | None = None
    min_p: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    response_format: _TextFormat | None = None


class _Request(_NotOffered, strict=True, extra="forbid"):
    """The fields that are read. `HARMLESS` ones are passed over, as is whatever is null; any other is refused."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise ValueError("max_tokens and max_completion_tokens are one limit under two names. Send one of them")
        return self

    @classmethod
    def read(cls, body: bytes) -> _Request:
        try:
            return cls.model_validate_json(_without_what_asks_for_nothing(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise _Refusal(400, f"{name} is not offered by this server: leave it out.", param=name)
        if name.partition(".")[0] in _NotOffered.model_fields:
            raise _Refusal(400, f"{name} is not offered by this server: {first['msg']}, or leave it out.", param=name)
        raise _Refusal(400, f"{name or 'The body'}: {first['msg']}.", param=name or None)

    def sampling(self, prompt_tokens: int, limits: Limits) -> Sampling:
        """How the answer is drawn, its length limited by what the prompt leaves of the model's positions."""
        room = limits.positions - prompt_tokens
        wanted = self.max_completion_tokens or self.max_tokens or max(1, min(limits.max_new_tokens, room))
        if wanted > room:
            message = (
                f"{prompt_tokens} tokens of context and max_tokens = {wanted} exceed the {limits.positions} positions"
            )
            message += " of the model. Shorten the messages, or lower max_tokens."
            raise _Refusal(400, message, "context_length_exceeded", "messages")
        if not self.temperature:
            return Sampling(wanted, temperature=0.0)
        return Sampling(wanted, self.temperature, top_p=self.top_p or 1.0, seed=self.seed or 0)


def _without_what_asks_for_nothing(body: bytes) -> bytes:
    """The body of a request without the fields that are null or `HARMLESS`; what cannot be read stays as it is."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(fields, dict):
        return body
    kept = {name: value for name, value in fields.items() if value is not None and name not in HARMLESS}
    return json.dumps(kept).encode()


@dataclass(frozen=True, eq=False)
class _Question:
    """A request in tokens, which waits for the engine. The seed counts only where it is `seeded`, by the client."""

    prompt: tuple[int, ...]
    sampling: Sampling
    seeded: bool
    connection: socket.socket
    answer: Future[Completion] = field(default_factory=Future)

    def goes_with(self, other: _Question) -> bool:
        """True where one call of the engine can answer both."""
        return self is other or (self.sampling == other.sampling and not self.seeded and not other.seeded)

    def refuse(self, status: int, message: str, code: str | None = None) -> None:
        if not self.answer.done():
            self.answer.set_exception(_Refusal(status, message, code))

    @property
    def abandoned(self) -> bool:
        """True where the client has hung up; False where nobody can tell."""
        try:
            has_news = bool(select.select([self.connection], [], [], 0)[0])
            return has_news and not self.connection.recv(1, socket.MSG_PEEK)
        except ValueError:  # a number of a socket that is too high for select
            return False
        except OSError:
            return True


class _Worker(threading.Thread):
    """The one thread that asks the engine. Whoever waits longest decides who else is answered with it."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        super().__init__(name="fissile-simulator", daemon=True)
        self._engine = engine
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: list[_Question] = []
        self._closed = False

    def ask(self, question: _Question) -> Completion:
        """The completion of a question, when it is there."""
        with self._changed:
            if self._closed:
                raise _Refusal(503, "The server is closing.", "closing")
            if len(self._waiting) >= self._limits.max_waiting:
                raise _Refusal(503, f"{len(self._waiting)} requests are waiting. Try again later.", "overloaded")
            self._waiting.append(question)
            self._changed.notify_all()
        return question.answer.result()

    def close(self) -> None:
        """Refuse who waits, and let the engine end its call."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.pop().refuse(503, "The server is closing.", "closing")
            self._changed.notify_all()
        self.join(GRACE_SECONDS)

    def run(self) -> None:
        while not self._closed:
            if batch := self._next():
                self._answer(batch)

    def _next(self) -> list[_Question]:
        """The questions of the next call of the engine; none where all hung up, or the server closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            end = time.monotonic() + 10 * GATHERING_SECONDS
            while len(self._waiting) < self._limits.max_rows and time.monotonic() < end and not self._closed:
                if not self._changed.wait(GATHERING_SECONDS):
                    break
            for question in (gone := [question for question in self._waiting if question.abandoned]):
                question.refuse(400, "The client has hung up.")
            here = [question for question in self._waiting if question not in gone]
            batch = [question for question in here if question.goes_with(here[0])][: self._limits.max_rows]
            self._waiting = [question for question in here if question not in batch]
            return batch

    def _answer(self, batch: Sequence[_Question]) -> None:
        first = batch[0]
        sampling = first.sampling if first.seeded else replace(first.sampling, seed=secrets.randbits(63))
        try:
            completions = self._engine.generate([question.prompt for question in batch], sampling)
            for question, completion in zip(batch, completions, strict=True):
                question.answer.set_result(completion)
        except Exception as error:  # whatever it is, it concerns these requests, and the next may be answered
            logger.warning("The engine failed at %d requests: %r", len(batch), error)
            reason = error.reason if isinstance(error, InfrastructureError) else type(error).__name__
            for question in batch:
                question.refuse(500, f"The engine failed ({reason}).", "engine_failure")


class SimulatorServer(ThreadingTCPServer):
    """See the docstring of the module. It answers between `with` and the end of its block.

    It is no `HTTPServer`, which asks the name service for the name of its host: that may take seconds.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        engine: Engine,
        chat: ChatFormat,
        name: str,
        limits: Limits | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        key: str | None = None,
    ) -> None:
        """Take the port. Nothing is answered yet.

        Args:
            engine: samples from the model; only ever asked by one thread.
            chat: its chat format.
            name: what requests call the model.
            limits: what the server takes on.
            host: name or address of the interface.
            port: 0 takes any that is free.
            key: what clients must send as a bearer token; None serves everybody who reaches the port.

        Raises:
            ConfigError: the port cannot be had.
        """
        self.name, self.key, self.limits = name, key, limits or Limits()
        self._chat = chat
        self._tokenizing = threading.Lock()  # fast tokenizers do not like to be shared
        self._worker = _Worker(engine, self.limits)
        self.at_work: set[_Handler] = set()
        self.created = int(time.time())
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be taken ({error.strerror})"
            raise ConfigError(f"Port {port} of {host} {reason}. Choose another --port, or --host.") from None

    @property
    def url(self) -> str:
        """Where the API begins, for a client on this machine."""
        host, port = self.server_address[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    def __enter__(self) -> Self:
        self._worker.start()
        threading.Thread(target=self.serve_forever, args=(0.05,), name="fissile-accept", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Accept nothing more, refuse what waits, and let what is being answered end within `GRACE_SECONDS`."""
        self.shutdown()
        self.server_close()
        self._worker.close()
        end = time.monotonic() + GRACE_SECONDS
        while self.at_work and time.monotonic() < end:
            time.sleep(0.01)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no error."""
        logger.debug("A connection ended.", exc_info=True)

    def complete(self, body: bytes, connection: socket.socket) -> JSON:
        """The chat completion that the body of a request asks for."""
        request = _Request.read(body)
        if request.model != self.name:
            raise _Refusal(404, f"The model '{request.model}' does not exist.", "model_not_found", "model")
        try:
            with self._tokenizing:
                prompt = self._chat.prompt_ids([message.model_dump() for message in request.messages], ())
        except ModelError as error:  # of the chat template
            raise _Refusal(400, str(error), param="messages") from None
        sampling = request.sampling(len(prompt), self.limits)
        seeded = sampling.temperature > 0 and request.seed is not None
        completion = self._worker.ask(_Question(prompt, sampling, seeded, connection))
        if completion.stop not in _FINISH:
            raise _Refusal(500, f"The engine failed ({completion.stop}).", "engine_failure")
        with self._tokenizing:
            message = {"role": "assistant", "content": self._chat.decode(completion.ids)}
        asked, said = len(prompt), len(completion.ids)
        return {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.name,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[completion.stop]}],
            "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fissile", ""
    timeout = 60.0
    disable_nagle_algorithm = True
    server: SimulatorServer

    def do_GET(self) -> None:
        self.server.at_work.add(self)
        try:
            self._send(*self._outcome())
        finally:
            self.server.at_work.discard(self)

    do_POST = do_GET  # noqa: N815

    def _outcome(self) -> tuple[int, JSON]:
        try:
            return 200, self._answer(self._body())
        except _Refusal as refusal:
            return refusal.status, refusal.answer
        except OSError:  # the client is gone, or too slow
            raise
        except Exception as error:
            logger.exception("A request failed.")
            return 500, _Refusal(500, f"The server failed ({type(error).__name__}).").answer

    def _body(self) -> bytes:
        """The body of the request; where that cannot be had, the connection is of no use any more."""
        length, limit = self.headers.get("Content-Length", "0"), self.server.limits.max_body_bytes
        if re.fullmatch(r"[0-9]{1,15}", length) and "Transfer-Encoding" not in self.headers:
            if int(length) <= limit:
                return self.rfile.read(int(length))
            self.rfile.read(min(int(length), 2**24))  # most clients read no refusal before they have sent all
            self.close_connection = True
            raise _Refusal(413, f"The body has {length} bytes; at most {limit} are taken.", "body_too_large")
        self.close_connection = True
        raise _Refusal(411, "Send the length of the body as Content-Length, and no Transfer-Encoding.")

    def _answer(self, body: bytes) -> JSON:
        server, route = self.server, f"{self.command} {self.path.partition('?')[0]}"
        if route == "GET /health":
            return {"status": "ok"}
        sent = self.headers.get("Authorization", "")
        if server.key is not None and not hmac.compare_digest(sent.encode(), f"Bearer {server.key}".encode()):
            raise _Refusal(401, "The key is missing or wrong. Send it as a bearer token.", "invalid_api_key")
        if route == "GET /v1/models":
            model = {"id": server.name, "object": "model", "created": server.created, "owned_by": "fissile"}
            return {"object": "list", "data": [{**model, "max_model_len": server.limits.positions}]}
        if route == "POST /v1/chat/completions":
            return server.complete(body, self.connection)
        raise _Refusal(404, f"There is no {route}.", "unknown_url")

    def _send(self, status: int, answer: JSON) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **_HEADERS.get(status, {})}
        for name, value in (headers | ({"Connection": "close"} if self.close_connection else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no proper HTTP."""
        self.close_connection = True
        self._send(code, _Refusal(code, message or "This is no request that can be read.").answer)

    def log_message(self, format: str, *args: Any) -> None:
        """One line a request, for whoever wants to see them."""
        logger.info("%a", format % args)
