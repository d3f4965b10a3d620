"""`ChatServer`: one request at a time to an OpenAI-compatible server, until it is answered, refused or given up.

What is tried again: no connection, a time-out, a cut or unreadable answer, and the statuses 408, 409, 429 and 5xx.
What ends the run at once: a refused key (401, 403) and an unknown address or model (404). Any other refusal concerns
one context. When context after context has failed, the server is gone, and that ends the run too.
"""

from __future__ import annotations

import email.utils
import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fissile.calls import JSON
from fissile.engines.endpoint_settings import NO_KEY, EndpointSettings
from fissile.engines.openai_messages import Answer
from fissile.errors import InfrastructureError, InputError

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 16 * 2**20
"""Longest answer that is read: far above what any limit of tokens allows."""

BUDGET = "budget"
"""Reason of an `EndpointError`: no request is left."""

TIMEOUT = "timeout"
"""Reason of an `InfrastructureError`: the last try took longer than `timeout_seconds`."""

DEADLINE = "deadline"
"""Reason of an `InfrastructureError`: the answer was not there when it was wanted."""

_PASSING_STATUSES = frozenset({408, 409, 429})
_TOO_LONG = {"code": "context_length_exceeded", "param": "input_tokens", "type": "exceed_context_size_error"}
"""Fields of an error by which servers say that a context is too long: OpenAI and vLLM, vLLM, llama.cpp."""


class EndpointError(InputError):
    """The server is gone, refuses the key, or knows no such model; or the budget of requests is spent.

    `reason` is a short key for counting: "gone", "status 401", "status 403", "status 404" or `BUDGET`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ContextTooLongError(Exception):
    """The context leaves no room for an answer in the model's window."""


class _PassingError(Exception):
    """A try that failed for a reason that may pass: a short key for counting, what happened, seconds asked for."""

    def __init__(self, reason: str, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.wait = wait


class ChatServer:
    """A server with the patience of its settings. Any number of threads may use it.

    The key lives in the client alone: it is struck out of everything that the server says before that is shown.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        """Read the key and make the client. Nothing is sent.

        Raises:
            ConfigError: the key cannot stand in a header.
        """
        import openai  # noqa: PLC0415

        key = settings.key()
        self.settings = settings
        self._secret = None if key == NO_KEY else key
        self._client = openai.OpenAI(
            api_key=key, base_url=settings.base_url, timeout=settings.timeout_seconds, max_retries=0
        )
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._verdict = ("", "")
        self._requests = 0
        self._failures = 0

    def reopen(self) -> None:
        """Forget that the server was gone or refused, so that it is asked again. A spent budget stays spent."""
        with self._lock:
            self._verdict = ("", "")
            self._failures = 0
            self._over.clear()

    def complete(self, request: Mapping[str, JSON], until: float = math.inf) -> Answer:
        """The answer to a request, tried as often as the settings say.

        Args:
            request: the fields of a chat completion, without the model. Lone surrogates, which a model can write and
                UTF-8 cannot hold, are sent as question marks.
            until: of the monotonic clock: no try goes on or begins after it.

        Raises:
            InfrastructureError: this request has no answer.
            ContextTooLongError: the server says that the context is too long.
            EndpointError: no request will have one; the message says what to change. So does every call from then on.
        """
        tries = self.settings.retries + 1
        request = encodable(dict(request))
        for attempt in range(tries):
            self._admit()
            try:
                answer = self._ask(request, until)
            except _PassingError as trouble:
                pause = self._pause(attempt, trouble.wait)
                in_time = time.monotonic() + pause < until
                if attempt + 1 < tries and in_time:
                    logger.info("Try %d of %d failed (%s); trying again.", attempt + 1, tries, trouble.message)
                    self._over.wait(pause)
                    continue
                message = f"no answer after {attempt + 1} tries: {trouble.message}"
                self._count_failure(message)
                late = trouble.reason == TIMEOUT and not in_time
                raise InfrastructureError(DEADLINE if late else trouble.reason, message) from None
            except ContextTooLongError:
                self._count_answer()
                raise
            except InfrastructureError as error:
                self._count_failure(str(error))
                raise
            self._count_answer()
            return answer
        raise AssertionError("the last try returns or raises")

    def _pause(self, attempt: int, wish: float) -> float:
        """Seconds before the next try: exponential with jitter, or what the server asked for if that is longer."""
        backoff = self.settings.backoff_seconds * 2.0**attempt * random.uniform(0.5, 1.0)
        return min(max(backoff, wish), self.settings.max_wait_seconds)

    # --- one try -------------------------------------------------------------------------------------------------

    def _ask(self, request: Mapping[str, JSON], until: float) -> Answer:
        import httpx2  # noqa: PLC0415
        import openai  # noqa: PLC0415

        seconds = max(min(self.settings.timeout_seconds, until - time.monotonic()), 0.001)
        try:
            body = self._body(request, seconds)
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            raise _too_slow(seconds) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ or error
            raise _PassingError("connection", self._plain(f"{type(cause).__name__}: {cause}")) from None
        try:
            return Answer.from_json(body)
        except ValueError as error:
            raise _PassingError("unreadable", self._plain(f"unreadable answer, {error}")) from None

    def _body(self, request: Mapping[str, JSON], seconds: float) -> str:
        """The body of an answer; the time limit is of the whole of it, however slowly it drips."""
        deadline = time.monotonic() + seconds
        create: Any = self._client.chat.completions.with_streaming_response.create
        body = bytearray()
        with create(model=self.settings.model, timeout=seconds, **request) as response:
            for piece in response.iter_bytes():
                body += piece
                if time.monotonic() > deadline:
                    raise _too_slow(seconds)
                if len(body) > MAX_ANSWER_BYTES:
                    raise _PassingError("unreadable", f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return body.decode("utf-8", "replace")

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        """What an error status means."""
        status = error.status_code
        said = self._plain(error.message)
        settings = self.settings
        if status in _PASSING_STATUSES or status >= 500:
            return _PassingError(f"status {status}", said, _retry_after(error.response.headers))
        if status in (401, 403):
            state = f"holds a key that {settings.base_url} refuses" if self._secret else "is not set"
            return self._end(
                f"status {status}",
                f"The environment variable {settings.key_variable} {state} (status {status}). Set it to a "
                f"valid key, or name another variable with key_variable. The server says: {said}",
            )
        if status == 404:
            return self._end(
                "status 404",
                f"{settings.base_url} has no chat completions of a model '{settings.model}' (status 404). "
                f"Correct model, or base_url, which usually ends in /v1. The server says: {said}",
            )
        if _is_too_long(error):
            return ContextTooLongError(said)
        return InfrastructureError(f"status {status}", f"the server refuses the request: {said}")

    def _plain(self, text: str, limit: int = 400) -> str:
        """What a server said, on one line, shortened, without the key."""
        text = text.replace(self._secret, "***") if self._secret else text
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return line if len(line) <= limit else f"{line[:limit]}..."

    # --- the state of the server ---------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Count a request, unless all is over."""
        with self._lock:
            limit = self.settings.max_requests
            if limit is not None and self._requests >= limit and not self._over.is_set():
                self._verdict = (BUDGET, f"The budget of {limit} requests is spent. Raise max_requests to go on.")
                self._over.set()
            if self._over.is_set():
                raise EndpointError(*self._verdict)
            self._requests += 1

    def _count_answer(self) -> None:
        with self._lock:
            self._failures = 0

    def _count_failure(self, message: str) -> None:
        with self._lock:
            self._failures += 1
            gone = self._failures >= self.settings.max_failures
        if gone:
            raise self._end(
                "gone",
                f"{self.settings.base_url} did not answer {self.settings.max_failures} contexts in a row; the last: "
                f"{message}. See that the server runs and takes such requests (parameters that it refuses go into "
                "omit), then start the command again: what is done is kept.",
            ) from None

    def _end(self, reason: str, message: str) -> EndpointError:
        """No request is sent any more, and whoever waits for a retry wakes up."""
        with self._lock:
            if not self._over.is_set():
                self._verdict = (reason, message)
            self._over.set()
            return EndpointError(*self._verdict)


def encodable(value: JSON) -> JSON:
    """`value` with every lone surrogate, which a model can write and UTF-8 cannot hold, as a question mark."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list() | tuple():
            return [encodable(item) for item in value]
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case _:
            return value


def _too_slow(seconds: float) -> _PassingError:
    return _PassingError(TIMEOUT, f"no whole answer within {seconds:g} s (timeout_seconds)")


def _is_too_long(error: openai.APIStatusError) -> bool:
    """By the error's fields; by its text only for servers that send none of them (older vLLM, SGLang)."""
    if error.status_code == 413 or any(getattr(error, name, None) == value for name, value in _TOO_LONG.items()):
        return True
    return error.status_code == 400 and error.code in (None, "400") and "context length" in error.message.lower()


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the header Retry-After asks for, as a number or a date; 0 without one."""
    wish = headers.get("retry-after", "")
    try:
        return max(0.0, float(wish))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(wish).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
