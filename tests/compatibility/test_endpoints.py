"""Which servers and which of their answers an endpoint policy gets along with: real requests to a real server."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from compatibility.page import Row, assert_section
from fault_server import Act, completion, cuts, free_port, refuses, says, sends, serving
from fissile.calls import Attempt
from fissile.contexts import Context, Exchange
from fissile.dialects import HermesDialect, get_dialect
from fissile.engines.base import Sampling
from fissile.engines.endpoint_client import proxy_for
from fissile.engines.endpoint_policy import EndpointError, EndpointPolicy, EndpointSettings
from fissile.errors import ConfigError
from fissile.rollouts import Response, StopReason
from fissile.serial import from_json, to_json
from fissile.tasks import Task
from fissile.tools import Tool

AREA = Tool("shape.area", "Area.", {"type": "object", "properties": {"side": {"type": "integer"}}})
CONTEXT = Context(Task("t", ({"role": "user", "content": "A square of 3?"},), (AREA,), ()), ())
SAMPLING = Sampling(max_new_tokens=7, seed=3)
CALL = {"id": "call_7", "type": "function", "function": {"name": "shape_area", "arguments": '{"side":3}'}}
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These proxies and no others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def policy(url: str, dialect: str | None = None, **settings: Any) -> EndpointPolicy:
    patience = {"timeout_seconds": 5.0, "retries": 0, "backoff_seconds": 0.01, **settings}
    with environment():
        chosen = EndpointSettings(base_url=url, model="m", **patience)
        return EndpointPolicy(chosen, None if dialect is None else get_dialect(dialect))


def answered(act: Act, dialect: str | None = None, **settings: Any) -> Response:
    """The response to one context."""
    with serving(act) as server:
        (response,) = policy(server.url, dialect, **settings).respond([CONTEXT], SAMPLING)
    return response


def message(**fields: Any) -> Act:
    """An answer with this message, whatever it holds."""
    return sends(200, json.dumps({"choices": [{"message": {"role": "assistant", **fields}}]}))


def sent_back(act: Act, dialect: str | None = None, **settings: Any) -> dict[str, Any]:
    """The assistant's message of the second request of a conversation, through a file and back."""
    with serving(act) as server:
        asked = policy(server.url, dialect, **settings)
        (response,) = asked.respond([CONTEXT], SAMPLING)
        said = Attempt(response.text, response.parsed.calls)
        exchange = Exchange(said, ("9",) * len(said.calls), provider=response.provider)
        kept = from_json(Exchange, json.loads(json.dumps(to_json(exchange))))
        asked.respond([replace(CONTEXT, dialogue=(kept,))], SAMPLING)
        (found,) = [said for said in server.bodies[-1]["messages"] if said["role"] == "assistant"]
    return found


def goes_back(**fields: Any) -> Callable[[], None]:
    """Fields of a message with a call come back as they were."""

    def check() -> None:
        found = sent_back(message(content="", tool_calls=[CALL], **fields))
        assert {name: found[name] for name in fields} == fields
        assert set(found) == {"role", "content", "tool_calls", *fields}

    return check


def call_goes_back(**fields: Any) -> Callable[[], None]:
    """Fields of a call come back as they were."""

    def check() -> None:
        call = {**CALL, **fields}
        assert sent_back(message(content=None, tool_calls=[call]))["tool_calls"] == [call]

    return check


def nothing_is_invented() -> None:
    empty = {"reasoning_content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None}
    found = sent_back(message(content=None, tool_calls=[{**CALL, "index": 0}], **empty))
    assert found == {"role": "assistant", "content": "", "tool_calls": [CALL]}


def omitted() -> None:
    found = sent_back(message(content="", tool_calls=[CALL], reasoning_content="Hm."), omit=("provider_fields",))
    assert set(found) == {"role", "content", "tool_calls"}
    assert found["tool_calls"][0]["id"] == "call00000"


def signed_parts() -> None:
    parts = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "So."}]
    assert sent_back(message(content=parts, tool_calls=[CALL]))["content"] == parts
    assert answered(message(content=parts)).parsed.content == "So."


def in_a_text_dialect() -> None:
    text = HermesDialect().render_calls([answered(message(tool_calls=[CALL])).parsed.calls[0]])
    found = sent_back(message(content=text, reasoning_content="Hm."), "hermes")
    assert found == {"role": "assistant", "content": text, "reasoning_content": "Hm."}


def reads(arguments: Any, expected: Any) -> Callable[[], None]:
    """Arguments of a native call, and what they are read as; None for a malformed call."""

    def check() -> None:
        function = {"name": "shape_area", **({} if arguments is ... else {"arguments": arguments})}
        (call,) = answered(message(content=None, tool_calls=[{"function": function}])).parsed.calls
        assert call.arguments == expected

    return check


def malformed(*functions: Any) -> Callable[[], None]:
    """Native calls that leave malformed calls."""

    def check() -> None:
        calls = answered(message(content=None, tool_calls=[{"function": one} for one in functions])).parsed.calls
        assert len(calls) == len(functions)
        assert not any(call.is_well_formed for call in calls)

    return check


def older_field() -> None:
    (call,) = answered(message(content=None, function_call=CALL["function"])).parsed.calls
    assert (call.name, call.arguments) == ("shape.area", {"side": 3})


def lost(act: Act, *words: str, reason: str = "") -> Callable[[], None]:
    """An answer that is none, and the words that are told."""

    def check() -> None:
        found = answered(act)
        assert found.failed
        assert found.completion.lost.startswith(reason)
        assert all(word in found.completion.lost for word in words), found.completion.lost

    return check


def ends(act: Act, *words: str, url: str = "{url}", **settings: Any) -> Callable[[], None]:
    """What ends the run at once, and the words that are told."""

    def check() -> None:
        with serving(act) as server, pytest.raises(EndpointError) as caught:
            policy(url.format(url=server.url, root=server.url.removesuffix("/v1")), **settings).respond(
                [CONTEXT], SAMPLING
            )
        assert all(word in str(caught.value) for word in words), caught.value

    return check


def no_room(act: Act) -> Callable[[], None]:
    def check() -> None:
        assert answered(act).completion.stop is StopReason.NO_ROOM

    return check


def sends_parameters(wanted: dict[str, Any], unwanted: Sequence[str] = (), **settings: Any) -> Callable[[], None]:
    def check() -> None:
        with serving(says("Hi.")) as server:
            policy(server.url, **settings).respond([CONTEXT], SAMPLING)
        (body,) = server.bodies
        assert {name: body[name] for name in wanted} == wanted
        assert not set(unwanted) & set(body)

    return check


def retried(fault: Act, **settings: Any) -> Callable[[], None]:
    def check() -> None:
        with serving(fault, says("Hi.")) as server:
            (response,) = policy(server.url, retries=1, **settings).respond([CONTEXT], SAMPLING)
        assert (response.text, len(server.bodies)) == ("Hi.", 2)

    return check


def remarked(act: Act, dialect: str | None, told: str) -> Callable[[], None]:
    """Calls that stand where they are not read."""

    def check() -> None:
        with serving(act) as server:
            asked = policy(server.url, dialect)
            asked.respond([CONTEXT] * 4, SAMPLING)
        assert "4 of 4 answers" in asked.remark
        assert told in asked.remark

    return check


def refused_proxy(told: str, url: str = "http://example.com/v1", **variables: str) -> Callable[[], None]:
    def check() -> None:
        with environment(**variables), pytest.raises(ConfigError) as caught:
            EndpointPolicy(EndpointSettings(base_url=url, model="m"))
        assert all(word in str(caught.value) for word in (told, *variables))
        assert "secret" not in str(caught.value)

    return check


def through_a_proxy() -> None:
    with serving(says("Hi.")) as server:
        proxy = server.url.removesuffix("/v1")
        with environment(HTTP_PROXY=proxy, ALL_PROXY="socks5://127.0.0.1:1"):
            settings = EndpointSettings(base_url="http://models.example/v1", model="m", retries=0)
            (response,) = EndpointPolicy(settings).respond([CONTEXT], SAMPLING)
    assert response.text == "Hi."


def proxy_answers() -> None:
    page = "<html><head><title>503 Proxy</title></head><body>upstream is down</body></html>"
    with serving(sends(503, page, {"Content-Type": "text/html"})) as server:
        proxy = server.url.removesuffix("/v1")
        with environment(HTTP_PROXY=proxy.replace("//", "//me:secret@")):
            settings = EndpointSettings(base_url="http://models.example/v1", model="m", retries=0)
            (response,) = EndpointPolicy(settings).respond([CONTEXT], SAMPLING)
    told = response.completion.lost
    assert all(word in told for word in ("upstream is down", proxy, "HTTP_PROXY", "NO_PROXY=models.example"))
    assert "secret" not in told


def asked_directly() -> None:
    ways = {
        "http://10.1.2.3:8000/v1": "10.0.0.0/8",
        "http://models.example/v1": "other.example, .example",
        "http://a.models.example/v1": "*.models.example",
        "https://models.example:8443/v1": "models.example:8443",
        "http://anything/v1": "*",
    }
    for url, around in ways.items():
        with environment(HTTP_PROXY="http://p:1", HTTPS_PROXY="http://p:1", NO_PROXY=around):
            assert proxy_for(url) is None, url
        with environment(HTTP_PROXY="http://p:1", HTTPS_PROXY="http://p:1", NO_PROXY="elsewhere.example"):
            assert proxy_for(url) is not None, url


def on_this_machine() -> None:
    with serving(says("Hi.")) as server, environment(ALL_PROXY="socks5://127.0.0.1:1", HTTP_PROXY="http://p:1"):
        settings = EndpointSettings(base_url=server.url, model="m", retries=0)
        (response,) = EndpointPolicy(settings).respond([CONTEXT], SAMPLING)
    assert response.text == "Hi."


def no_tls() -> None:
    with serving(says("Hi.")) as server, pytest.raises(EndpointError, match="does not speak TLS"):
        policy(server.url.replace("http://", "https://")).respond([CONTEXT], SAMPLING)


def unknown_certificate() -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = "self-signed certificate"
    connection = ConnectionError("no")
    connection.__cause__ = error
    told = str(policy("https://models.example/v1")._server._unreachable(connection))
    assert "self-signed certificate" in told
    assert "SSL_CERT_FILE" in told


def unknown_host() -> None:
    with pytest.raises(EndpointError, match=r"The host of base_url http://no-such-host.invalid/v1 is not known"):
        policy("http://no-such-host.invalid/v1").respond([CONTEXT], SAMPLING)


def nobody_listens() -> None:
    (response,) = policy(f"http://127.0.0.1:{free_port()}/v1").respond([CONTEXT], SAMPLING)
    assert response.completion.lost.startswith("connection: ")


def wrong_url(url: str, told: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(ValueError, match=told):
            EndpointSettings(base_url=url, model="m")

    return check


HERMES_CALL = '<tool_call>\n{"name": "shape_area", "arguments": {"side": 3}}\n</tool_call>'
SIGNATURE = {"google": {"thought_signature": "c2lnbmF0dXJl"}}
PAGE = "<!doctype html><html><head><title>Welcome</title></head><body>Sign in</body></html>"
NOT_THERE = '{"detail": "Not Found"}'
GOOGLE = '[{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}]'
FIELDS_REFUSED = '{"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}'
NEW_NAME = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
ROWS = [
    Row(
        "`reasoning_content` (DeepSeek, SGLang, older vLLM)",
        "works",
        "goes back with the message in every later request, also from a file of contexts",
        goes_back(reasoning_content="Hm."),
    ),
    Row("`reasoning` (vLLM)", "works", "goes back as it came", goes_back(reasoning="Hm.")),
    Row(
        "`reasoning_details` (OpenRouter)",
        "works",
        "goes back as it came, encrypted parts included",
        goes_back(reasoning="Hm.", reasoning_details=[{"type": "reasoning.encrypted", "data": "x", "index": 0}]),
    ),
    Row(
        "`thinking_blocks` with signatures (Anthropic behind a gateway)",
        "works",
        "go back as they came",
        goes_back(thinking_blocks=[{"type": "thinking", "thinking": "Hm.", "signature": "x"}]),
    ),
    Row(
        "content parts with signed thoughts",
        "works",
        "the parts go back as they came; their text is the answer",
        signed_parts,
    ),
    Row(
        "`extra_content.google.thought_signature` of a call (Gemini)",
        "works",
        "goes back with its call",
        call_goes_back(extra_content=SIGNATURE),
    ),
    Row(
        "`provider_specific_fields` of a call, or a signature in its id (LiteLLM)",
        "works",
        "go back with the call; the server's own ids are kept",
        call_goes_back(provider_specific_fields={"thought_signature": "x"}, id="call_1__thought__x"),
    ),
    Row("reasoning beside calls in a text dialect", "works", "goes back beside the text", in_a_text_dialect),
    Row(
        "null and empty fields, `index`, `annotations`",
        "works",
        "are not sent back: only what the server said",
        nothing_is_invented,
    ),
    Row(
        "a server that refuses its own fields (DeepSeek R1)",
        "works",
        "with `omit = ['provider_fields']`, or `--omit provider_fields`",
        omitted,
    ),
    Row(
        "`max_completion_tokens` (OpenAI's own)",
        "works",
        "with `length_parameter`, or `--length-parameter`",
        sends_parameters({"max_completion_tokens": 7}, ["max_tokens"], length_parameter="max_completion_tokens"),
    ),
    Row(
        "a server that refuses a sampling parameter",
        "works",
        "with `omit`, or `--omit temperature`; `extra_body` adds fields",
        sends_parameters(
            {"reasoning_effort": "low"},
            ["temperature", "top_p", "seed", "max_tokens"],
            omit=("temperature", "top_p", "seed", "max_tokens"),
            extra_body={"reasoning_effort": "low"},
        ),
    ),
    Row("arguments as an object", "converted", "read like their JSON text", reads({"side": 3}, {"side": 3})),
    Row("arguments that are null", "converted", "no arguments", reads(None, {})),
    Row('arguments that are `""`', "converted", "no arguments", reads("", {})),
    Row("a call without arguments", "converted", "no arguments", reads(..., {})),
    Row("arguments that are no JSON", "works", "a malformed call of the model", reads('{"side": ', None)),
    Row(
        "a call whose name or function is null",
        "works",
        "a malformed call of the model",
        malformed({"name": None, "arguments": "{}"}, None),
    ),
    Row("`function_call`, the older field", "converted", "one native call", older_field),
    Row(
        "native calls left in the text (no tool parser)",
        "works",
        "said once and in the report, with the setting to change",
        remarked(says(HERMES_CALL), None, "--dialect hermes"),
    ),
    Row(
        "native calls left in the reasoning",
        "works",
        "said once and in the report",
        remarked(says("", reasoning_content=HERMES_CALL), None, "--tool-call-parser"),
    ),
    Row(
        "calls in another text dialect than the named one",
        "works",
        "said once and in the report",
        remarked(says(HERMES_CALL), "mistral", "--dialect hermes"),
    ),
    Row(
        "native calls where a text dialect is named",
        "works",
        "said once and in the report",
        remarked(message(content=None, tool_calls=[CALL]), "hermes", "--dialect native"),
    ),
    Row(
        "an error in an answer with status 200",
        "refused",
        "tried again; the server's words are told",
        lost(sends(200, '{"error": {"message": "No instances"}}'), "No instances", reason="unreadable"),
    ),
    Row(
        "an error inside a choice (OpenRouter)",
        "refused",
        "counts as what its code says",
        lost(sends(200, '{"choices": [{"error": {"code": 502, "message": "Provider is down"}}]}'), "Provider is down"),
    ),
    Row(
        "an error of the key with status 200",
        "refused",
        "ends the run, as status 401 does",
        ends(sends(200, '{"error": {"code": "invalid_api_key", "message": "bad key"}}'), "OPENAI_API_KEY", "bad key"),
    ),
    Row(
        "a web page instead of an answer",
        "refused",
        "told as such, with its words",
        lost(sends(200, PAGE, {"Content-Type": "text/html"}), "a web page: Welcome - Sign in", "base_url"),
    ),
    Row("no choices", "refused", "tried again; the answer is told", lost(sends(200, '{"choices": []}'), "choices")),
    Row(
        "`message: null`",
        "refused",
        "tried again; the answer is told",
        lost(sends(200, '{"choices": [{"message": null}]}')),
    ),
    Row("an answer that is cut", "refused", "tried again", retried(cuts(completion("Hi.")))),
    Row(
        "`finish_reason: content_filter`",
        "refused",
        "counted apart: it says nothing about the policy",
        lost(says("I", finish_reason="content_filter"), reason="content_filter"),
    ),
    Row("no `usage`, no ids", "works", "neither is needed", reads('{"side": 3}', {"side": 3})),
    Row(
        "429 with `Retry-After` or `retry-after-ms`",
        "works",
        "waited for, up to `max_wait_seconds`",
        retried(refuses(429, headers={"retry-after-ms": "20"})),
    ),
    Row(
        "429 because the quota is spent",
        "refused",
        "ends the run",
        ends(refuses(429, "You exceeded your quota", code="insufficient_quota"), "You exceeded your quota"),
    ),
    Row("401 and 403", "refused", "end the run and name `key_variable`", ends(refuses(401), "OPENAI_API_KEY")),
    Row(
        "404 of a path without `/v1`",
        "refused",
        "ends the run and names the likely address",
        ends(sends(404, NOT_THERE), "/v1", "Not Found", url="{root}"),
    ),
    Row(
        "a model that the server does not know",
        "refused",
        "ends the run and names the model",
        ends(refuses(404, "The model `m` does not exist."), "model 'm'", "does not exist"),
    ),
    Row(
        "a base URL that ends in `/chat/completions`",
        "refused",
        "before anything is sent",
        wrong_url("http://localhost/v1/chat/completions", "which is added"),
    ),
    Row(
        "400 on `max_tokens`",
        "refused",
        "the message names `--length-parameter max_completion_tokens`",
        lost(refuses(400, NEW_NAME, param="max_tokens"), "--length-parameter max_completion_tokens"),
    ),
    Row(
        "422 of a server that takes no further fields (FastAPI)",
        "refused",
        "its words are told, with the field",
        lost(sends(422, FIELDS_REFUSED), "body.top_k: Extra inputs are not permitted"),
    ),
    Row("an error in a list (Gemini)", "refused", "its words are told", lost(sends(400, GOOGLE), "API key not valid")),
    Row(
        "an error that is a plain text",
        "refused",
        "its words are told",
        lost(sends(400, "no such luck"), "no such luck"),
    ),
    Row(
        "a context that is too long",
        "works",
        "the episode ends there, as in BFCL; with status 200, too",
        no_room(sends(200, '{"error": {"code": "context_length_exceeded", "message": "too long"}}')),
    ),
    Row(
        "a filter that refuses the prompt (Azure)",
        "refused",
        "counted apart",
        lost(refuses(400, "filtered", code="content_filter"), reason="content_filter"),
    ),
    Row("`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`", "works", "the one for the address is used", through_a_proxy),
    Row("`NO_PROXY` with names, domains, ports, networks", "works", "the server is asked directly", asked_directly),
    Row("a server on this machine", "works", "is asked directly, whatever proxy there is", on_this_machine),
    Row(
        "a SOCKS proxy without the package `socksio`",
        "refused",
        "the message names the variable and the package",
        refused_proxy("socksio", ALL_PROXY="socks5://me:secret@127.0.0.1:1080"),
    ),
    Row(
        "a proxy of another kind, or that is no address",
        "refused",
        "the message names the variable",
        refused_proxy("http://", HTTP_PROXY="socks4://me:secret@127.0.0.1:1"),
    ),
    Row(
        "a proxy whose port is no number",
        "refused",
        "the message names the variable",
        refused_proxy("cannot be used", HTTP_PROXY="http://proxy:port"),
    ),
    Row("a proxy that answers itself", "refused", "told, with the proxy's address", proxy_answers),
    Row(
        "a certificate that cannot be verified",
        "refused",
        "ends the run and names `SSL_CERT_FILE`",
        unknown_certificate,
    ),
    Row("https where the server speaks http", "refused", "ends the run", no_tls),
    Row("a host that nobody knows", "refused", "ends the run", unknown_host),
    Row("nobody listens", "refused", "tried again; the run ends after `max_failures`", nobody_listens),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    row.check()


def test_the_page_says_so() -> None:
    assert_section("endpoints", ROWS)
