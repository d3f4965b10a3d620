"""`EndpointPolicy`: a model behind any OpenAI-compatible server, with native tool calls or with a text dialect."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fissile.calls import JSON, ParsedResponse
from fissile.contexts import Context
from fissile.dialects.base import Dialect
from fissile.engines.base import Sampling
from fissile.engines.endpoint_misfits import Misfits
from fissile.engines.endpoint_server import ChatServer, ContextTooLongError, EndpointError
from fissile.engines.endpoint_settings import EndpointSettings
from fissile.engines.openai_messages import NativeMessages, TextMessages, known_names
from fissile.engines.policy import MessageReader, Response
from fissile.errors import InfrastructureError
from fissile.rollouts import Completion, StopReason

__all__ = ["EndpointError", "EndpointPolicy", "EndpointSettings"]

logger = logging.getLogger(__name__)


class EndpointPolicy(MessageReader):
    """See `fissile.engines.policy.Policy`. Reads messages, so its contexts hold no tokens.

    A context that the server finds too long gets an empty response with `StopReason.NO_ROOM`, which ends its rollout:
    a failure of the policy's, as in BFCL, and not of the infrastructure. Equal contexts with an equal `Sampling.seed`
    get equal responses from a server that honours seeds: ask for several samples with several seeds.

    Attributes:
        settings: which server.
        messages: how contexts are written and answers are read: native calls, or the text of a dialect.
    """

    def __init__(self, settings: EndpointSettings, dialect: Dialect | None = None) -> None:
        """Make the client. Nothing is sent.

        Args:
            settings: which server.
            dialect: writes tools, calls and results as text; None leaves them to the server's native tool calling.

        Raises:
            ConfigError: the key cannot stand in a header, or the environment's proxy cannot be used.
        """
        self.settings = settings
        self.messages = NativeMessages() if dialect is None else TextMessages(dialect)
        self._server = ChatServer(settings)
        self._misfits = Misfits(dialect)
        self._warned: set[str] = set()

    @property
    def concurrency(self) -> int:
        """Requests that may run at once."""
        return self.settings.concurrency

    @property
    def remark(self) -> str:
        """What a report should say of the answers: that calls stand where they are not read; "" where all is well."""
        return self._misfits.remark

    @property
    def facts(self) -> dict[str, JSON]:
        """What of the requests was changed for the server's sake, and how often one was retried; a report says so."""
        asked = self.settings.model_dump(mode="json", include={"omit", "length_parameter", "extra_body"})
        return {**asked, **({"retried": dict(self._server.retried)} if self._server.retried else {})}

    def respond(self, contexts: Sequence[Context], sampling: Sampling) -> list[Response]:
        """One request for each context, as many at once as the settings allow.

        Raises:
            EndpointError: the server is gone, refuses the key or knows no such model, or the budget is spent.
        """
        if len(contexts) == 1:
            return [self._respond(contexts[0], sampling)]
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(lambda context: self._respond(context, sampling), contexts))

    def _respond(self, context: Context, sampling: Sampling) -> Response:
        request = self.messages.request(context) | self._parameters(sampling)
        try:
            answer = self._server.complete(request)
        except ContextTooLongError as error:
            logger.warning("The context of %s is too long: %s", context.task.id, error)
            return Response("", ParsedResponse(()), Completion((), stop=StopReason.NO_ROOM))
        except InfrastructureError as error:
            self._warn(context, error)
            return Response("", ParsedResponse(()), Completion.of_failure(error.reason, str(error)))
        self._misfits.look_at(answer, known_names(context))
        response = self.messages.read(answer, context)
        return replace(response, provider={}) if "provider_fields" in self.settings.omit else response

    def _warn(self, context: Context, error: InfrastructureError) -> None:
        """Tell why there is no response: once for each reason, since all are counted."""
        is_new = error.reason not in self._warned
        self._warned.add(error.reason)
        further = " (further ones are counted)" if is_new else ""
        level = logging.WARNING if is_new else logging.INFO
        logger.log(level, "No response to %s (%s): %s%s", context.task.id, error.reason, error, further)

    def _parameters(self, sampling: Sampling) -> dict[str, JSON]:
        """The sampling as fields of a request. What is no field of OpenAI's API is sent only where it is set.

        Such fields have the names of vLLM and SGLang. A server that knows none of them refuses the request or not: that
        is beyond what can be seen here.
        """
        omit = self.settings.omit
        known = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            self.settings.length_parameter: sampling.max_new_tokens,
        }
        beside = {"top_k": sampling.top_k, "min_p": sampling.min_p, "repetition_penalty": sampling.repetition_penalty}
        nothing = {"top_k": 0, "min_p": 0, "repetition_penalty": 1}
        chosen = {name: value for name, value in beside.items() if value != nothing[name] and name not in omit}
        return {
            **{name: value for name, value in known.items() if name not in omit},
            "extra_body": {**self.settings.extra_body, **chosen},
        }
