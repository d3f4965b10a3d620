"""`ChatServer`: one request at a time to an OpenAI-compatible server, until it is answered, refused or given up.

What is tried again: no connection, a time-out, a cut or unreadable answer, and the statuses 408, 409, 429 and 5xx.
What ends the run at once: a refused key (401, 403), an unknown address, host or model (404, DNS), a certificate that
cannot be verified, a proxy that wants to know who asks (407), and a quota that is spent (402). Any other refusal
concerns one context. When context after context has failed, the server is gone, and that ends the run too. An error
that stands in an answer with status 200 counts as what its code says.
"""

from __future__ import annotations

import email.utils
import logging
import math
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fissile.calls import JSON
from fissile.engines.endpoint_client import make_client, proxy_for
from fissile.engines.endpoint_refusals import FILTERED, Refusal, error_inside, read_refusal
from fissile.engines.endpoint_settings import NO_KEY, EndpointSettings
from fissile.engines.openai_messages import ChatAnswer, provider_names
from fissile.errors import InfrastructureError, InputError

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 16 * 2**20
"""Longest answer that is read: far above what any limit of tokens allows."""

BUDGET = "budget"
"""Reason of an `EndpointError`: no request is left."""

TIMEOUT = "timeout"
"""Reason of an `InfrastructureError`: the last try took longer than `timeout_seconds`."""

DEADLINE = "deadline"
"""Reason of an `InfrastructureError`: the answer was not there when it was wanted."""

_RETRIES_TOLD_SECONDS = 60.0
"""Shortest time between two warnings that requests are tried again."""

_PASSING_STATUSES = frozenset({408, 409, 429})

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
"""Reasons of an `ssl.SSLError` where the other side does not speak TLS."""


class EndpointError(InputError):
    """The server is gone or cannot be had, refuses the key, or knows no such model; or a budget is spent.

    `reason` is a short key for counting: "gone", "dns", "tls", "status 401" and the like, or `BUDGET`.
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

    Attributes:
        retried: why requests were tried again, to how often.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        """Read the key and make the client. Nothing is sent.

        Raises:
            ConfigError: the key cannot stand in a header, or the environment's proxy cannot be used.
        """
        key = settings.key()
        self.settings = settings
        self._secret = None if key == NO_KEY else key
        self._proxy = proxy_for(settings.base_url)
        self._client = make_client(settings, key, self._proxy)
        self.retried: Counter[str] = Counter()
        self._waits_told = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._verdict = ("", "")
        self._requests = 0
        self._failures = 0
        self._has_answered = False

    def reopen(self) -> None:
        """Forget that the server was gone or refused, so that it is asked again. A spent budget stays spent."""
        with self._lock:
            self._verdict = ("", "")
            self._failures = 0
            self._over.clear()

    def complete(self, request: Mapping[str, JSON], until: float = math.inf) -> ChatAnswer:
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
                    self._count_retry(trouble)
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
                if error.reason == FILTERED:  # it did answer
                    self._count_answer()
                else:
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

    def _ask(self, request: Mapping[str, JSON], until: float) -> ChatAnswer:
        import httpx2  # noqa: PLC0415
        import openai  # noqa: PLC0415

        seconds = max(min(self.settings.timeout_seconds, until - time.monotonic()), 0.001)
        try:
            body = self._body(request, seconds)
        except openai.APIStatusError as error:
            refusal = read_refusal(error.response.text)
            raise self._refusal(error.status_code, refusal, request, error.response.headers) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            raise _too_slow(seconds) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise self._unreachable(error) from None
        try:
            answer = ChatAnswer.from_json(body)
        except ValueError as error:
            if (said := error_inside(body)) is not None:
                raise self._refusal(said.status or 200, said, request, {}) from None
            told = f"unreadable answer ({error}): {body.strip()[:200] or 'nothing'}"
            raise _PassingError("unreadable", self._plain(told)) from None
        if answer.filtered:
            raise InfrastructureError(FILTERED, "a content filter of the provider's cut the answer")
        return answer

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

    def _refusal(
        self, status: int, refusal: Refusal, request: Mapping[str, JSON], headers: Mapping[str, str]
    ) -> Exception:
        """What an error means."""
        said = self._plain(refusal.words) or "nothing"
        said = said if said[-1] in ".!?" else f"{said}."
        through = f" (through {self._proxy})" if self._proxy else ""
        if refusal.is_too_long(status):
            return ContextTooLongError(said)
        if refusal.is_filtered:
            return InfrastructureError(FILTERED, f"a content filter of the provider's objects: {said}")
        if refusal.is_spent or status == 402:
            return self._end(f"status {status}", f"{self.settings.base_url} takes no more requests: {said}")
        if status in _PASSING_STATUSES or status >= 500 or status == 200:
            reason = "unreadable" if status == 200 else f"status {status}"
            where = "an error in an answer" if status == 200 else reason
            hint = f" Is base_url right? {self._wrong_path()}" if refusal.is_page and status == 200 else ""
            return _PassingError(reason, f"{where}: {said}{hint}{through}", _retry_after(headers))
        if status in (401, 403, 404, 405, 407):
            return self._end(f"status {status}", f"{self._lasting(status, refusal)}{through} The server says: {said}")
        advice = refusal.advice(request.keys() - {"messages"} | _extra(request), provider_names(request))
        message = " ".join(filter(None, (f"the server refuses the request: {said}", advice)))
        return InfrastructureError(f"status {status}", f"{message}{through}")

    def _lasting(self, status: int, refusal: Refusal) -> str:
        """What to change where no retry mends it."""
        settings = self.settings
        if status == 407 or (refusal.is_page and self._proxy):
            return f"Something on the way to {settings.base_url} refuses the request (status {status})."
        if status in (401, 403) and refusal.is_page:
            return f"{settings.base_url} answers with a web page (status {status}): is this the address of an API?"
        if status in (401, 403):
            state = f"holds a key that {settings.base_url} refuses" if self._secret else "is not set"
            return (
                f"The environment variable {settings.key_variable} {state} (status {status}). Set it to a "
                "valid key, or name another variable with key_variable."
            )
        return (
            f"{settings.base_url} has no chat completions of a model '{settings.model}' (status {status}). "
            f"Correct model, or base_url. {self._wrong_path()}"
        )

    def _wrong_path(self) -> str:
        """What may be wrong with the path of the address."""
        url = self.settings.base_url.rstrip("/")
        if not urlsplit(url).path:
            return f"Perhaps it is {url}/v1."
        return "The path is the part before /chat/completions." if url.endswith("/v1") else "It usually ends in /v1."

    def _unreachable(self, error: Exception) -> Exception:
        """What it means that there is no connection, or that it broke."""
        url = self.settings.base_url
        causes = list(_causes(error))
        said = self._plain(f"{type(causes[-1]).__name__}: {causes[-1]}")
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._end(
                    "tls",
                    f"The certificate of {url} cannot be verified: {cause.verify_message}. Name the file of your own "
                    "authority in the environment variable SSL_CERT_FILE, or correct base_url.",
                )
            if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
                return self._end("tls", f"{url} does not speak TLS ({said}). Perhaps base_url begins with http://.")
            if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN and not self._has_answered:
                of = f"base_url {url}" if self._proxy is None else f"a proxy ({self._proxy})"
                return self._end("dns", f"The host of {of} is not known ({said}). Correct it, or see to the network.")
        return _PassingError("connection", f"{said} (through {self._proxy})" if self._proxy else said)

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

    def _count_retry(self, trouble: _PassingError) -> None:
        """Count it, and tell now and then that there are any: a server that makes everybody wait looks like a hang."""
        with self._lock:
            self.retried[trouble.reason] += 1
            now = time.monotonic()
            silent = self.retried.total() > 1 and now - self._waits_told < _RETRIES_TOLD_SECONDS
            if silent:
                return
            self._waits_told = now
            counted = ", ".join(f"{reason}: {count}" for reason, count in self.retried.most_common())
        logger.warning(
            "Requests to %s wait and are tried again (%s); the last said: %s",
            self.settings.base_url,
            counted,
            trouble.message,
        )

    def _count_answer(self) -> None:
        with self._lock:
            self._failures = 0
            self._has_answered = True

    def _count_failure(self, message: str) -> None:
        with self._lock:
            self._failures += 1
            gone = self._failures >= self.settings.max_failures
        if gone:
            raise self._end(
                "gone",
                f"{self.settings.base_url} has no answer to {self.settings.max_failures} contexts in a row; the last: "
                f"{message.rstrip('.')}. See that the server runs and takes such requests (parameters that it refuses "
                "go into omit: --omit NAME), then start the command again: what is done is kept.",
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


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the first one last."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _extra(request: Mapping[str, JSON]) -> set[str]:
    """Names of the fields that go beside those of OpenAI's API."""
    extra = request.get("extra_body")
    return set(extra) if isinstance(extra, Mapping) else set()


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the header Retry-After asks for, as a number or a date; 0 without one."""
    try:
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    except ValueError:
        pass
    wish = headers.get("retry-after", "")
    try:
        return max(0.0, float(wish))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(wish).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
