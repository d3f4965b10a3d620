"""The endpoint policy against a real server on a real socket: right answers, wrong ones, and none."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from fault_server import (
    FaultServer,
    after,
    completion,
    cuts,
    dies,
    drips,
    free_port,
    hangs_up,
    refuses,
    says,
    sends,
    serving,
)
from fissile.calls import ToolCall
from fissile.corrections.context import Context, Exchange
from fissile.dialects import HermesDialect
from fissile.engines.base import Sampling
from fissile.engines.endpoint_policy import EndpointError, EndpointPolicy, EndpointSettings
from fissile.engines.live import roll_out
from fissile.errors import ConfigError
from fissile.rollouts import End, LiveRollout, Rollout, StopReason
from fissile.tasks import Task
from fissile.tools import Tool
from tally_world import LIVE, Tally

AREA = Tool("shape.area", "Area.", {"type": "object", "properties": {"side": {"type": "integer"}}})
QUESTION = {"role": "user", "content": "A square of 3?"}
TASK = Task("t", (QUESTION,), (AREA,), ())
CONTEXT = Context(TASK, ())
SAMPLING = Sampling(max_new_tokens=7, temperature=0.5, top_k=20, top_p=0.9, seed=3)
HERMES = HermesDialect()
KEY = "sk-very-secret-4711"
RIGHT = '<tool_call>\n{"name": "shape.area", "arguments": {"side": 3}}\n</tool_call>'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")


def policy(server: FaultServer | str, dialect: HermesDialect | None = None, **settings: Any) -> EndpointPolicy:
    url = server if isinstance(server, str) else server.url
    patience = {"timeout_seconds": 5.0, "retries": 2, "backoff_seconds": 0.01, **settings}
    return EndpointPolicy(EndpointSettings(base_url=url, model="m", **patience), dialect)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_native_calls() -> None:
    calls = [("shape_area", '{"side": 3}'), ("shape_area", '{"side": }'), ("shape.area", None), (None, "{}")]
    with serving(says("Let me see.", calls, reasoning_content="Hm.")) as server:
        (response,) = policy(server).respond([CONTEXT], SAMPLING)
    first, second, third, fourth = response.parsed.calls
    assert (first.name, first.arguments) == ("shape.area", {"side": 3})
    assert not second.is_well_formed
    assert (third.name, third.arguments) == ("shape.area", {})
    assert not fourth.is_well_formed
    assert (response.parsed.content, response.parsed.reasoning) == ("Let me see.", "Hm.")
    assert response.text.startswith(f"Let me see.\n{RIGHT}")
    for read in response.parsed.calls:
        assert response.text[read.position :].startswith(read.text)
    assert response.completion.stop is StopReason.END
    (body,) = server.bodies
    assert body["model"] == "m"
    assert body["messages"] == [QUESTION]
    assert body["tools"][0]["function"]["name"] == "shape_area"
    wanted = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": 3, "max_tokens": 7}
    assert {name: body[name] for name in wanted} == wanted
    assert server.keys == [f"Bearer {KEY}"]


def test_text_dialect() -> None:
    with serving(says(f"<think>Hm.</think>{RIGHT}", finish_reason="length")) as server:
        (response,) = policy(server, HERMES).respond([CONTEXT], SAMPLING)
    assert [read.arguments for read in response.parsed.calls] == [{"side": 3}]
    assert response.parsed.reasoning == "Hm."
    assert response.completion.stop is StopReason.LENGTH
    (body,) = server.bodies
    assert "tools" not in body
    assert body["messages"] == HERMES.instruct(TASK.messages, TASK.tools)


def test_parameters_are_omitted_renamed_and_added() -> None:
    with serving(says("Hi.")) as server:
        asked = policy(
            server,
            omit=("temperature", "top_k", "seed"),
            length_parameter="max_completion_tokens",
            extra_body={"chat_template_kwargs": {"enable_thinking": False}},
        )
        asked.respond([CONTEXT], SAMPLING)
    (body,) = server.bodies
    assert not {"temperature", "top_k", "seed", "max_tokens"} & set(body)
    assert body["max_completion_tokens"] == 7
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_what_only_some_servers_take_is_sent_where_it_is_set() -> None:
    wanted = replace(SAMPLING, min_p=0.1, repetition_penalty=1.2)
    with serving(says("Hi.")) as server:
        policy(server).respond([CONTEXT], SAMPLING)
        policy(server).respond([CONTEXT], wanted)
        policy(server, omit=("min_p",)).respond([CONTEXT], wanted)
    names = ("min_p", "repetition_penalty")
    sent = [{name: body[name] for name in names if name in body} for body in server.bodies]
    assert sent == [{}, {"min_p": 0.1, "repetition_penalty": 1.2}, {"repetition_penalty": 1.2}]


def test_retries_are_counted_and_said_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    with serving(refuses(503), refuses(503), refuses(429), says("Hi.")) as server:
        asked = policy(server, retries=3)
        (response,) = asked.respond([CONTEXT], SAMPLING)
    assert response.text == "Hi."
    assert asked.facts["retried"] == {"status 503": 2, "status 429": 1}
    assert "are tried again (status 503: 1)" in caplog.text
    assert caplog.text.count("are tried again") == 1


def test_requests_run_at_once_and_answers_stay_in_order() -> None:
    contexts = [Context(replace(TASK, messages=({"role": "user", "content": str(n)},)), ()) for n in range(8)]
    four_are_here = threading.Barrier(4)

    def echo(handler: Any) -> None:
        said = handler.body["messages"][0]["content"]
        four_are_here.wait(timeout=30)
        handler.server.closing.wait(0.05 * (3 - int(said) % 4))  # the first answers come last
        handler.send(200, completion(said))

    with serving(echo) as server:
        began = time.monotonic()
        responses = policy(server, concurrency=4).respond(contexts, SAMPLING)
        seconds = time.monotonic() - began
    assert server.busiest == 4
    assert 0.3 <= seconds < 1.4
    assert [response.text for response in responses] == [str(n) for n in range(8)]


def test_no_key_is_sent_as_local_servers_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(says("Hi.")) as server:
        policy(server).respond([CONTEXT], SAMPLING)
    assert server.keys == ["Bearer EMPTY"]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        refuses(500),
        refuses(503),
        refuses(408),
        refuses(409),
        refuses(429),
        cuts(completion("Hi.")),
        cuts(""),
        hangs_up,
        sends(200, "<html>Bad gateway</html>"),
        sends(200, ""),
        sends(200, "null"),
        sends(200, '{"choices": []}'),
        sends(200, '{"choices": [{"message": null}]}'),
        sends(200, '{"choices": [{"message": {"tool_calls": [7]}}]}'),
        sends(200, "[" * 200_000),
        sends(200, '{"error": {"message": "overloaded"}}'),
    ],
)
def test_passing_faults_are_tried_again(fault: Any) -> None:
    with serving(fault, fault, says("Hi.")) as server:
        (response,) = policy(server).respond([CONTEXT], SAMPLING)
    assert response.text == "Hi."
    assert len(server.bodies) == 3


@pytest.mark.parametrize("fault", [after(30, says("Late.")), drips(0.02)])
def test_timeouts_are_tried_again(fault: Any) -> None:
    with serving(fault, says("Hi.")) as server:
        began = time.monotonic()
        (response,) = policy(server, timeout_seconds=0.3).respond([CONTEXT], SAMPLING)
        assert time.monotonic() - began < 3
    assert response.text == "Hi."


def test_retry_after_is_honoured_up_to_the_longest_wait() -> None:
    with serving(refuses(429, headers={"Retry-After": "0.5"}), says("Hi.")) as server:
        policy(server).respond([CONTEXT], SAMPLING)
    first, second = server.arrived
    assert 0.5 <= second - first < 1.5
    with serving(refuses(429, headers={"Retry-After": "3600"}), says("Hi.")) as server:
        policy(server, max_wait_seconds=0.1).respond([CONTEXT], SAMPLING)
    first, second = server.arrived
    assert 0.1 <= second - first < 1.0


def test_one_failed_context_is_infrastructure_and_the_others_go_on() -> None:
    with serving(*[refuses(500)] * 3, says("Hi.")) as server:
        asked = policy(server)
        (failed,) = asked.respond([CONTEXT], SAMPLING)
        (good,) = asked.respond([CONTEXT], SAMPLING)
    assert failed.failed
    assert not failed.parsed.calls
    assert good.text == "Hi."


@pytest.mark.parametrize(
    "refusal",
    [
        refuses(400, "too long", code="context_length_exceeded"),
        refuses(400, "too long", code=400, param="input_tokens"),
        refuses(400, "too long", code=400, type="exceed_context_size_error"),
        refuses(400, "This model's maximum context length is 10 tokens.", code=400),
        refuses(413),
    ],
)
def test_too_long_a_context_is_an_empty_response_and_never_ends_the_run(refusal: Any) -> None:
    with serving(refusal) as server:
        asked = policy(server, max_failures=1)
        (response,) = asked.respond([CONTEXT], SAMPLING)
    assert response.completion.stop is StopReason.NO_ROOM
    assert response.text == ""
    assert len(server.bodies) == 1


def test_other_refusals_are_not_tried_again() -> None:
    with serving(refuses(400, "Unknown parameter: top_k"), says("Hi.")) as server:
        (response,) = policy(server).respond([CONTEXT], SAMPLING)
    assert response.failed
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "named"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "Correct model, or base_url")]
)
def test_what_no_retry_mends_ends_the_run(status: int, named: str) -> None:
    with serving(refuses(status)) as server:
        asked = policy(server)
        with pytest.raises(EndpointError, match=named):
            asked.respond([CONTEXT], SAMPLING)
        with pytest.raises(EndpointError, match=named):
            asked.respond([CONTEXT], SAMPLING)
    assert len(server.bodies) == 1


def test_refused_connections_end_the_run_after_some_contexts() -> None:
    asked = policy(f"http://127.0.0.1:{free_port()}/v1", max_failures=3)
    assert [asked.respond([CONTEXT], SAMPLING)[0].failed for _ in range(2)] == [True, True]
    with pytest.raises(EndpointError, match=r"3 contexts in a row.*start the command again"):
        asked.respond([CONTEXT], SAMPLING)


def test_a_server_that_dies_leaves_what_it_answered() -> None:
    with serving(says("one"), says("two"), dies) as server:
        asked = policy(server, max_failures=2)
        responses = [asked.respond([CONTEXT], SAMPLING)[0] for _ in range(3)]
        with pytest.raises(EndpointError, match="2 contexts in a row"):
            asked.respond([CONTEXT], SAMPLING)
    assert [response.text for response in responses] == ["one", "two", ""]
    assert responses[2].failed


def test_an_answer_between_failures_resets_their_count() -> None:
    with serving(*[refuses(400), says("Hi.")] * 4) as server:
        asked = policy(server, max_failures=2)
        assert [asked.respond([CONTEXT], SAMPLING)[0].failed for _ in range(8)] == [True, False] * 4


def test_the_end_wakes_whoever_waits_for_a_retry() -> None:
    with serving(refuses(500), refuses(401)) as server:
        asked = policy(server, concurrency=2, backoff_seconds=60.0)
        began = time.monotonic()
        with pytest.raises(EndpointError, match="OPENAI_API_KEY"):
            asked.respond([CONTEXT, CONTEXT], SAMPLING)
        assert time.monotonic() - began < 5


def test_the_budget_counts_every_request() -> None:
    with serving(refuses(500), says("Hi.")) as server:
        asked = policy(server, max_requests=2)
        assert asked.respond([CONTEXT], SAMPLING)[0].text == "Hi."
        with pytest.raises(EndpointError, match="max_requests"):
            asked.respond([CONTEXT], SAMPLING)
    assert len(server.bodies) == 2


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 500])
def test_the_key_is_never_shown(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(refuses(status, f"Incorrect API key provided: {KEY}")) as server:
        asked = policy(server, max_failures=1)
        with pytest.raises(EndpointError) as caught:
            asked.respond([CONTEXT], SAMPLING)
    shown = [caplog.text, str(caught.value), repr(caught.value), repr(asked), repr(asked.settings), str(vars(asked))]
    assert "Incorrect API key provided: ***" in shown[1]
    assert not any(KEY in text for text in shown)
    assert server.keys[0] == f"Bearer {KEY}"


def test_a_key_that_cannot_be_sent_is_refused_unshown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-two\nlines")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        policy("http://127.0.0.1:1/v1")
    assert "sk-two" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"key_variable": KEY}, {"base_url": f"http://me:{KEY}@host/v1"}])
def test_a_key_in_the_settings_is_refused_unshown(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        EndpointSettings(model="m", **fields)
    assert KEY not in str(caught.value)


# --- whole rollouts --------------------------------------------------------------------------------------------------

RIGHT_CALLS = [
    [("add", {"n": 1}), ("add", {"n": 2}), ("add", {"n": 1})],
    [],
    [],
    [("double", {}), ("add", {"n": 5})],
    [],
]


@pytest.mark.parametrize("dialect", [None, HERMES])
def test_a_whole_conversation_in_a_live_world(dialect: HermesDialect | None) -> None:
    responses = [[ToolCall(name, arguments, "") for name, arguments in calls] for calls in RIGHT_CALLS]
    texts = [HERMES.render_calls(calls) or "Done." for calls in responses]
    natively = [[(name, json.dumps(arguments)) for name, arguments in calls] for calls in RIGHT_CALLS]
    acts = [says(text) for text in texts] if dialect else [says("" if calls else "Done.", calls) for calls in natively]
    with serving(*acts) as server:
        asked = policy(server, dialect)
        rollout = LiveRollout(Tally(), asked)
        rollout.begin(LIVE)
        roll_out(asked, [rollout], SAMPLING)
    assert rollout.record().correct
    *_, announcement = [body["messages"][-1] for body in server.bodies[:4]]
    assert announcement["role"] == "user"
    assert ("double" in announcement["content"]) == (dialect is not None)
    assert len(server.bodies[-1]["messages"]) == (12 if dialect is None else 10)
    assert [body["seed"] for body in server.bodies] == [3, 4, 5, 6, 7]


def test_finished_rollouts_are_kept_when_the_server_dies() -> None:
    with serving(*[says("Done.")] * 12, dies) as server:
        asked = policy(server, concurrency=2, max_failures=2)
        waiting = [LiveRollout(Tally(), asked) for _ in range(8)]
        for rollout in waiting:
            rollout.begin(LIVE)
        finished: list[Rollout] = []
        with pytest.raises(EndpointError, match="2 contexts in a row"):
            roll_out(asked, waiting, SAMPLING, finished.append)
    assert sum(rollout.end is End.DONE for rollout in finished) >= 3


def test_the_client_is_imported_only_for_a_policy() -> None:
    heavy = ("openai", "httpx2", "torch")
    lazy = f"import sys, fissile.engines.endpoint_policy; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", lazy]).returncode == 0


# --- hostile answers -------------------------------------------------------------------------------------------------

HOSTILE = [
    "__import__('os').system('true')",
    "<tool_call>" * 2000,
    RIGHT + "\x00\x1b[2J",
    "{" * 5000,
    '{"side": ' + "9" * 5000 + "}",
    '{"side": NaN, "side": 1}',
    "\ud800</tool_call></think><|im_end|>",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("dialect", [None, HERMES])
def test_hostile_answers_are_read_and_can_be_sent_back(text: str, dialect: HermesDialect | None) -> None:
    with serving(says(text, [("shape_area", text), (text, '{"side": 1}')]), says("Hi.")) as server:
        asked = policy(server, dialect)
        (response,) = asked.respond([CONTEXT], SAMPLING)
        calls = response.parsed.calls
        exchange = Exchange(response.text, calls, ("no",) * len(calls), (QUESTION,))
        (second,) = asked.respond([replace(CONTEXT, dialogue=(exchange,))], SAMPLING)
    assert not response.failed
    assert second.text == "Hi."
    if dialect is None:
        assert not calls[0].is_well_formed
        assert calls[1].name == text
