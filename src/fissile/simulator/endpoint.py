"""The source `endpoint`: diagnoses by a model behind any OpenAI-compatible server, which may fail in every way.

Nothing that the server does ends or holds up whom it diagnoses for. A failure without an answer is `NoDiagnosis`, with
one of these reasons, and somebody else diagnoses it (`fissile.feedback.Diagnoser`):

- "deadline": the answer was not there when it was wanted; "timeout": one request took too long, in every try;
- "connection", "unreadable", "status 500" and the like: what the last try ended with;
- "status 401", "status 403", "status 404": the server refuses the key, or knows no such model;
- "dns", "tls", "status 402", "status 405", "status 407": it cannot be had like this, as the warning says;
- "content_filter": a filter of the provider's stood between; its words are in the log;
- "gone": nobody was asked, since the server kept failing; one probe after a cool-down finds out whether it is back;
- "budget": `max_calls` requests were sent; "context_too_long"; "truncated": a reply that reached its limit of tokens;
  "empty", "no_fields", "no_sentence", "fields_in_sentence": one that is no diagnosis (`fissile.simulator.reply`).

A batch of failures takes `deadline_seconds` at most where it holds no more than `server.concurrency` distinct ones; a
larger one may take so long for each `server.concurrency` of them, but ends as soon as no answer came for
`deadline_seconds`. A probe that finds the server back comes before that. A server that hangs therefore costs the
deadline once a batch, and nothing after `VAIN_BATCHES` of them, but for the probes.
"""

from __future__ import annotations

import logging
import math
import queue
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fissile.calls import JSON
from fissile.engines.endpoint_refusals import FILTERED
from fissile.engines.endpoint_server import BUDGET, DEADLINE, ChatServer, ContextTooLongError, EndpointError
from fissile.errors import InfrastructureError
from fissile.feedback import Failure, NoDiagnosis
from fissile.simulator.answer_cache import AnswerCache, key
from fissile.simulator.breaker import Breaker
from fissile.simulator.prompt import SimulatorPrompt, put
from fissile.simulator.reply import Said, said_in
from fissile.simulator.settings import ServedSettings

__all__ = ["EndpointSource"]

logger = logging.getLogger(__name__)

TOO_LONG = "context_too_long"
"""Reason: the server finds the question longer than what its model reads."""

TRUNCATED = "truncated"
"""Reason: the reply reached its limit of tokens, so that it ends in the middle of a word or of a thought."""

NO_FAULT = frozenset({BUDGET, TOO_LONG, TRUNCATED, FILTERED})
"""Reasons that say nothing against the server."""

Request = dict[str, JSON]
"""The fields of a chat completion, without the model."""


@dataclass
class _Batch:
    """Requests that threads work off, until nobody waits for them any more.

    Attributes:
        patience: seconds without any answer after which it ends.
        end: of the monotonic clock, at the latest.
        todo: the requests, by key.
        done: key and reply of each that is through, as they come.
    """

    patience: float
    end: float
    todo: queue.SimpleQueue[tuple[str, Request]] = field(default_factory=queue.SimpleQueue)
    done: queue.SimpleQueue[tuple[str, str | NoDiagnosis]] = field(default_factory=queue.SimpleQueue)
    latest: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """How long it is still waited for; 0 or less at the end."""
        return min(self.end, self.latest + self.patience) - time.monotonic()


class EndpointSource:
    """See `fissile.feedback.FeedbackSource` and the docstring of the module.

    Attributes:
        settings: which server, and how patient to be with it.
        prompt: how a failure is put to it.
        cache: what it answered before.
    """

    name: ClassVar[str] = "endpoint"

    def __init__(self, settings: ServedSettings, cache: Path | None = None) -> None:
        """Make the client, read prompt and cache. Nothing is sent.

        Args:
            settings: which server, and how patient to be with it.
            cache: the file of answers where the settings name none; None keeps them in memory.

        Raises:
            ConfigError: the prompt file cannot be used, or the key cannot stand in a header.
            RunError: the cache cannot be used.
        """
        server, budgets = settings.server, (settings.server.max_requests, settings.max_calls)
        self.settings = settings
        self.prompt = (
            SimulatorPrompt.named(self.name)
            if settings.prompt_file is None
            else SimulatorPrompt.from_file(settings.prompt_file)
        )
        self.cache = AnswerCache(cache if settings.cache is None else Path(settings.cache).expanduser())
        limit = min((budget for budget in budgets if budget is not None), default=None)
        never_gone = {"max_failures": sys.maxsize, "max_requests": limit}  # the breaker is the judge of that
        self._server = ChatServer(server.model_copy(update=never_gone))
        self._breaker = Breaker(server.max_failures, settings.cool_down_seconds)

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        """One text for each failure, in order: the sentence of what `explain` gives."""
        return [said if isinstance(said, NoDiagnosis) else said.sentence for said in self.explain(failures)]

    def explain(self, failures: Sequence[Failure]) -> list[Said | NoDiagnosis]:
        """A sentence for each failure, in order, with fields where the server wrote them.

        `NoDiagnosis` is given where there is none. Equal questions are asked once.
        """
        asked = [self._request(failure) for failure in failures]
        replies = self._replies(dict(one for one in asked if not isinstance(one, NoDiagnosis)))
        said = [one if isinstance(one, NoDiagnosis) else replies[one[0]] for one in asked]
        return [reply if isinstance(reply, NoDiagnosis) else said_in(reply, needs_fields=False) for reply in said]

    def _request(self, failure: Failure) -> tuple[str, Request] | NoDiagnosis:
        """The request for a failure, with its key; a failure that cannot be put into words costs only itself."""
        server = self.settings.server
        messages = put(failure, self.prompt.messages)
        if isinstance(messages, NoDiagnosis):
            return messages
        request: Request = {
            "messages": [dict(message) for message in messages],
            server.length_parameter: self.settings.max_new_tokens,
            "extra_body": dict(server.extra_body),
            "temperature": self.settings.temperature,
        }
        for name in server.omit:
            request.pop(name, None)
        return key({"model": server.model, **request}), request

    def _replies(self, requests: dict[str, Request]) -> dict[str, str | NoDiagnosis]:
        """The reply to each request, from the cache or from the server."""
        known = {name: self.cache.get(name) for name in requests}
        replies: dict[str, str | NoDiagnosis] = {name: reply for name, reply in known.items() if reply is not None}
        unknown = [(name, request) for name, request in requests.items() if name not in replies]
        if unknown and self._breaker.may_probe:
            self._server.reopen()
            replies |= self._ask(unknown[:1])
            unknown = unknown[1:]
        if unknown and not self._breaker.reason:
            replies |= self._ask(unknown)
            unknown = []
        return replies | {name: NoDiagnosis(self._breaker.reason) for name, _ in unknown}

    # --- one batch -----------------------------------------------------------------------------------------------

    def _ask(self, requests: Sequence[tuple[str, Request]]) -> dict[str, str | NoDiagnosis]:
        """The server's reply to each request, as far as it comes in time."""
        patience, concurrency = self.settings.deadline_seconds, self.settings.server.concurrency
        batch = _Batch(patience, time.monotonic() + patience * -(-len(requests) // concurrency))
        for request in requests:
            batch.todo.put(request)
        is_probe = bool(self._breaker.reason)
        for _ in range(min(concurrency, len(requests))):
            # Daemons: a thread that hangs in a request must hold up neither the next batch nor the exit.
            threading.Thread(target=self._work, args=(batch, is_probe), name="fissile-endpoint", daemon=True).start()
        in_time = dict(self._awaited(batch, len(requests)))
        batch.end = -math.inf  # whoever is late begins nothing new
        replies = {name: in_time.get(name, NoDiagnosis(DEADLINE)) for name, _ in requests}
        if not any(isinstance(reply, str) or reply.reason in NO_FAULT for reply in replies.values()):
            note = self._breaker.fail_probe if is_probe else self._breaker.end_vain_batch
            note()
        return replies

    def _awaited(self, batch: _Batch, count: int) -> Iterable[tuple[str, str | NoDiagnosis]]:
        """What is done of a batch, until all is or nobody waits any more."""
        for _ in range(count):
            try:
                name, reply = batch.done.get(timeout=max(0.0, batch.seconds_left))
            except queue.Empty:
                return
            if isinstance(reply, str):
                batch.latest = time.monotonic()
            yield name, reply

    def _work(self, batch: _Batch, is_probe: bool) -> None:
        """Work off requests of a batch, one after the other."""
        while batch.seconds_left > 0:
            try:
                name, request = batch.todo.get_nowait()
            except queue.Empty:
                return
            stopped = self._breaker.reason and not is_probe
            batch.done.put((name, NoDiagnosis(self._breaker.reason) if stopped else self._reply(name, request, batch)))

    def _reply(self, name: str, request: Request, batch: _Batch) -> str | NoDiagnosis:
        """One reply of the server; it is kept, even where nobody waits for it any more."""
        try:
            answer = self._server.complete(request, until=min(batch.end, time.monotonic() + batch.patience))
        except ContextTooLongError as error:
            self._breaker.succeed()
            return NoDiagnosis(TOO_LONG, str(error))
        except EndpointError as error:
            if error.reason != BUDGET:
                logger.warning("The simulator's server cannot be used: %s", error)
                self._breaker.open(error.reason)
            return NoDiagnosis(error.reason, str(error))
        except InfrastructureError as error:
            if error.reason == FILTERED:
                self._breaker.succeed()
            elif error.reason != DEADLINE:  # that is a matter of the whole batch
                self._breaker.fail()
            return NoDiagnosis(error.reason, str(error))
        except Exception as error:  # of the client's own, in a thread where nobody would see it
            logger.warning("The client of the simulator's server failed: %r", error)
            self._breaker.fail()
            return NoDiagnosis(type(error).__name__, str(error))
        self._breaker.succeed()
        if answer.truncated:
            return NoDiagnosis(TRUNCATED)
        if isinstance(said_in(answer.content, needs_fields=False), Said):
            self.cache.put(name, answer.content)
        return answer.content
